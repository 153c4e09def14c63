//! `[[project.X.stage]]`: where a build may go, and what it needs for that.

use std::time::Duration;

use super::checks::Check;
use super::reader::{Reader, Table, nearest};

/// A place that builds are promoted to. The stages of a project are trees: each comes after at most one other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// The stage that a build must have been in before.
    pub after: Option<String>,
    /// The checks that must have passed on the build, by name, and [`SIGNED`].
    pub requires: Vec<String>,
    /// How long the build must have run in the stage before.
    pub soak: Duration,
    /// From which risk of the move on a build is held.
    pub hold_on: HoldOn,
    /// How many different people must have approved.
    pub approvals: usize,
    /// What it shares databases and messages with: the cells of a region name the same one. Alone it is none.
    pub group: Option<String>,
}

/// From which risk on a move is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOn {
    /// What is a `stop`: no move without a person's word.
    Stop,
    /// What is to be looked at, too.
    Warn,
    /// Nothing.
    Never,
}

/// What a stage requires besides checks: that the build's manifest is signed by one who may.
pub const SIGNED: &str = "signed";
/// What the last build is called where a build is named; no stage can be called so.
pub const LATEST: &str = "latest";

const KEYS: [&str; 7] = ["name", "after", "requires", "soak", "hold_on", "approvals", "group"];

/// Reads a project's stages; `checks` are those that they may require.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>, checks: &[Check]) -> Vec<Stage> {
    let place = format!("{place}.stage");
    let mut all: Vec<(Stage, usize)> = Vec::new();
    for (table, at) in r.tables(table, "stage", &place) {
        r.keys(table, &place, &KEYS);
        let name = r.checked(table, "name", super::rules::project);
        let Some(name) = name.map(toml::Spanned::into_inner) else {
            if !table.contains_key("name") {
                let hint = Some("write: name = \"preprod\"".into());
                r.fault(at, format!("'name' is missing in [[{place}]]"), hint);
            }
            continue;
        };
        if name == LATEST {
            r.fault(at, format!("a stage cannot be called '{LATEST}': the last build is"), None);
        }
        if all.iter().any(|(s, _)| s.name == name) {
            r.fault(at, format!("two stages are called '{name}'"), None);
        }
        let requires = r.list(table, "requires");
        let known: Vec<&str> = checks.iter().map(|c| c.name.as_str()).chain([SIGNED]).collect();
        for wanted in requires.iter().filter(|w| !known.contains(&w.as_str())) {
            let hint = nearest(wanted, &known).map(|k| format!("did you mean '{k}'?"));
            let hint = hint.or(Some(format!("there are: {}", known.join(", "))));
            let at = table.get("requires").map_or(at, |v| v.span().start);
            r.fault(at, format!("the stage '{name}' requires '{wanted}', which is no check"), hint);
        }
        let stage = Stage {
            name,
            after: r.text(table, "after").map(toml::Spanned::into_inner),
            requires,
            soak: r.duration(table, "soak", Duration::ZERO),
            hold_on: r.choice(
                table,
                "hold_on",
                &[("stop", HoldOn::Stop), ("warn", HoldOn::Warn), ("never", HoldOn::Never)],
            ),
            approvals: r.count(table, "approvals").unwrap_or(0),
            group: r.checked(table, "group", super::rules::project).map(toml::Spanned::into_inner),
        };
        if stage.after.is_none() && !stage.soak.is_zero() {
            let what = format!("'soak' of the stage '{}' says nothing, as it has no 'after'", stage.name);
            r.fault(at, what, Some("name the stage in which a build is to run before".into()));
        }
        let at = table.get("after").map_or(at, |v| v.span().start);
        all.push((stage, at));
    }
    order(r, &all);
    all.into_iter().map(|(stage, _)| stage).collect()
}

/// Refuses stages that come after one that is not there, and after themselves.
fn order(r: &mut Reader<'_>, all: &[(Stage, usize)]) {
    let names: Vec<&str> = all.iter().map(|(s, _)| s.name.as_str()).collect();
    let before = |name: &str| all.iter().find(|(s, _)| s.name == name).and_then(|(s, _)| s.after.as_deref());
    for (stage, at) in all {
        let Some(after) = stage.after.as_deref() else { continue };
        if !names.contains(&after) {
            let hint = nearest(after, &names).map(|k| format!("did you mean '{k}'?"));
            let hint = hint.or(Some(format!("there are: {}", names.join(", "))));
            r.fault(*at, format!("the stage '{}' comes after '{after}', which is none", stage.name), hint);
            continue;
        }
        let mut seen = vec![stage.name.as_str()];
        let mut next = Some(after);
        while let Some(name) = next {
            if name == stage.name {
                seen.push(name);
                let what = format!("the stage '{}' comes after itself: {}", stage.name, seen.join(" after "));
                r.fault(*at, what, Some("one of them has to be the first, without 'after'".into()));
                break;
            }
            // A circle further on is told of those that are in it.
            if seen.contains(&name) {
                break;
            }
            seen.push(name);
            next = before(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Config;
    use super::HoldOn;

    const HEAD: &str = "version = 1\n[project.p]\nupstream = \"u\"\nbranch = \"main\"\n\
        [[project.p.check]]\nname = \"unit\"\nrun = [\"true\"]\n";

    fn faults(stages: &str) -> Vec<(usize, String, Option<String>)> {
        let faults = match Config::parse("carry.toml", &format!("{HEAD}{stages}")) {
            Ok(_) => Vec::new(),
            Err(e) => e.faults,
        };
        faults.into_iter().map(|f| (f.line, f.what, f.hint)).collect()
    }

    #[test]
    fn stages_are_read_with_their_defaults() {
        let text = format!(
            "{HEAD}[[project.p.stage]]\nname = \"test\"\n[[project.p.stage]]\nname = \"cell-1\"\nafter = \"test\"\n\
             requires = [\"unit\", \"signed\"]\nsoak = \"2d\"\nhold_on = \"warn\"\napprovals = 2\ngroup = \"region\"\n"
        );
        let config = Config::parse("carry.toml", &text).expect("it is right");
        let [test, cell] = &config.projects["p"].stages[..] else { panic!("two stages") };
        assert_eq!((test.after.as_deref(), test.hold_on, test.approvals), (None, HoldOn::Stop, 0));
        assert_eq!((cell.after.as_deref(), cell.group.as_deref()), (Some("test"), Some("region")));
        assert_eq!((cell.soak, cell.hold_on), (Duration::from_secs(2 * 24 * 3600), HoldOn::Warn));
        assert_eq!((cell.requires.len(), cell.approvals), (2, 2));
    }

    #[test]
    fn unknown_names_are_faults_with_their_line_and_the_nearest_right_one() {
        let found = faults(
            "[[project.p.stage]]\nname = \"preprod\"\nrequires = [\"unti\"]\n\
             [[project.p.stage]]\nname = \"cell\"\nafter = \"preprd\"\napprovals = -1\nsoaks = \"1h\"\n",
        );
        let expected: [(usize, &str, Option<&str>); 4] = [
            (10, "the stage 'preprod' requires 'unti', which is no check", Some("did you mean 'unit'?")),
            (13, "the stage 'cell' comes after 'preprd', which is none", Some("did you mean 'preprod'?")),
            (14, "'approvals' must be a whole number from 1", None),
            (15, "unknown key 'soaks' in [project.p.stage]", Some("did you mean 'soak'?")),
        ];
        let expected = expected.map(|(l, w, h)| (l, w.to_owned(), h.map(str::to_owned)));
        assert_eq!(found, expected);
    }

    #[test]
    fn stages_in_a_circle_and_of_one_name_are_faults() {
        let one = |name: &str, after: &str| {
            format!("[[project.p.stage]]\nname = \"{name}\"\nafter = \"{after}\"\n")
        };
        let found = faults(&[one("a", "b"), one("b", "c"), one("c", "b"), one("c", "a")].concat());
        let words: Vec<&str> = found.iter().map(|(_, what, _)| what.as_str()).collect();
        assert!(words.contains(&"the stage 'b' comes after itself: b after c after b"), "{words:?}");
        assert!(words.contains(&"two stages are called 'c'"), "{words:?}");
        assert!(!words.iter().any(|w| w.starts_with("the stage 'a' comes after itself")), "{words:?}");
        assert!(faults("[[project.p.stage]]\nname = \"latest\"\n")[0].1.contains("cannot be called"));
        assert!(faults("[[project.p.stage]]\nname = \"x\"\nsoak = \"1h\"\n")[0].1.contains("no 'after'"));
    }
}
