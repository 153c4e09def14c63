//! `[[set]]`: projects whose builds go out together, or none of them.

use std::collections::BTreeMap;

use super::config::Project;
use super::reader::{Reader, Table, nearest};

/// Projects whose builds go out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its projects: two or more, which deploy to one remote.
    pub projects: Vec<String>,
}

/// Reads the sets of a workspace.
pub(super) fn read(r: &mut Reader<'_>, root: &Table<'_>, projects: &BTreeMap<String, Project>) -> Vec<Set> {
    let known: Vec<&str> = projects.keys().map(String::as_str).collect();
    let mut all: Vec<Set> = Vec::new();
    for (table, at) in r.tables(root, "set", "set") {
        r.keys(table, "set", &["name", "projects"]);
        let name = r.checked(table, "name", super::rules::project).map(toml::Spanned::into_inner);
        let members = r.list(table, "projects");
        let Some(name) = name else {
            if !table.contains_key("name") {
                r.fault(at, "'name' is missing in [[set]]".into(), Some("write: name = \"region\"".into()));
            }
            continue;
        };
        if all.iter().any(|set| set.name == name) {
            r.fault(at, format!("two sets are called '{name}'"), None);
        }
        if projects.contains_key(&name) {
            r.fault(at, format!("a set cannot be called as a project is: '{name}'"), None);
        }
        let mut own: Vec<String> = Vec::new();
        for member in members {
            if own.contains(&member) {
                r.fault(at, format!("the set '{name}' names '{member}' twice"), None);
            } else if let Some(other) = all.iter().find(|set| set.projects.contains(&member)) {
                r.fault(at, format!("'{member}' is in the sets '{}' and '{name}'", other.name), None);
            } else if projects.contains_key(&member) {
                own.push(member);
            } else {
                let hint = nearest(&member, &known).map(|k| format!("did you mean '{k}'?"));
                r.fault(at, format!("the set '{name}' names '{member}', which is no project"), hint);
            }
        }
        let remotes = own.iter().filter_map(|m| projects.get(m)).map(|p| &p.deploy.remote);
        let remotes: Vec<&Option<String>> = remotes.collect();
        if own.len() < 2 {
            let hint = Some("write: projects = [\"nova\", \"neutron\"]".into());
            r.fault(at, format!("the set '{name}' has fewer than two projects"), hint);
        } else if remotes.iter().any(|remote| remote.is_none() || *remote != remotes[0]) {
            let hint = "give all of them one 'remote' in their [deploy]: only one repository can be pushed to at one moment";
            r.fault(
                at,
                format!("the projects of the set '{name}' do not deploy to one remote"),
                Some(hint.into()),
            );
        }
        own.sort();
        all.push(Set { name, projects: own });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn config(sets: &str) -> String {
        let project = |name: &str, remote: &str| {
            format!(
                "[project.{name}]\nupstream = \"u\"\nbranch = \"main\"\n[project.{name}.deploy]\nremote = \"{remote}\"\n"
            )
        };
        let projects = [project("a", "r"), project("b", "r"), project("c", "other")].concat();
        format!("version = 1\n{projects}{sets}")
    }

    fn faults(sets: &str) -> Vec<String> {
        let err = Config::parse("carry.toml", &config(sets)).expect_err("it has faults");
        err.faults.into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn a_set_names_projects_that_deploy_to_one_remote() {
        let text = config("[[set]]\nname = \"region\"\nprojects = [\"b\", \"a\"]\n");
        let config = Config::parse("carry.toml", &text).expect("it is right");
        assert_eq!(
            (config.sets[0].name.as_str(), config.sets[0].projects.join(" ")),
            ("region", "a b".into())
        );
        let one = |projects: &str| format!("[[set]]\nname = \"s\"\nprojects = [{projects}]\n");
        assert!(faults(&one("\"a\", \"c\""))[0].contains("do not deploy to one remote"));
        assert!(faults(&one("\"a\""))[0].contains("fewer than two"));
        assert!(faults(&one("\"a\", \"b\", \"x\""))[0].contains("'x', which is no project"));
        assert!(faults(&one("\"a\", \"b\", \"a\""))[0].contains("names 'a' twice"));
        assert!(faults("[[set]]\nprojects = [\"a\", \"b\"]\n")[0].contains("'name' is missing"));
        assert!(faults("[[set]]\nname = \"a\"\nprojects = [\"a\", \"b\"]\n")[0].contains("as a project is"));
        let two = format!("{}{}", one("\"a\", \"b\""), one("\"a\", \"b\"").replace("\"s\"", "\"t\""));
        assert!(faults(&two).iter().any(|f| f.contains("is in the sets 's' and 't'")));
    }
}
