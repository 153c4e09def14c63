//! A new `carry.toml`, with every key explained; and a further project in one that is there.

use super::config::{Config, ConfigError, Fault};

/// The text of a new `carry.toml`.
pub fn carry_toml(project: &str, upstream: &str, branch: &str, remote: Option<&str>) -> String {
    let name = quote_key(project);
    let remote = match remote {
        Some(remote) => format!("remote = {}", quote(remote)),
        None => "#remote = \"git@git.example.org:team/fork.git\"".to_owned(),
    };
    format!(
        "# What git carry follows, and how. Every key is here; those behind a # show their default or an example.\n\
        version = 1\n\n\
        # Who commits the stack; the author of each commit is the patch's.\n\
        #[identity]\n#name = \"git-carry\"\n#email = \"git-carry@localhost\"\n\n\
        # By which SSH key builds and promotions are signed, and who may sign. GIT_CARRY_SIGNING_KEY comes before key.\n\
        # [signing]\n\
        # key = \"~/.ssh/carry_ed25519\"\n\
        # allowed_signers = \"allowed_signers\"\n\
        # revoked = \"revoked_keys\"\n\n\
        # Who is told what changed since they were told last, of all projects or some. kind: webhook, slack, matrix,\n\
        # github-issue, commit-status or email. Secrets stand in the environment, and here only the name of the variable;\n\
        # nothing is written to but what 'allow' names. What stays so is told again after 'remind'. For instance:\n\
        # [[notify]]\n\
        # name = \"team\"\n\
        # kind = \"slack\"\n\
        # url_env = \"CARRY_SLACK_URL\"\n\
        # remind = \"7d\"\n\
        # allow = [\"hooks.slack.com\"]\n\n\
        # [[notify]]\n\
        # name = \"mail\"\n\
        # kind = \"email\"\n\
        # server = \"smtps://mail.example.org\"\n\
        # from = \"carry@example.org\"\n\
        # to = [\"team@example.org\"]\n\
        # owners = true\n\
        # allow = [\"@example.org\"]\n\n\
        # Projects whose builds go out together or not at all, by git carry fleet run; they deploy to one remote.\n\
        # [[set]]\n\
        # name = \"region\"\n\
        # projects = [\"nova\", \"neutron\"]\n\n\
        [project.{name}]\n\
        # Where the trunk comes from: https, ssh, a local path, file:// or a bundle. A relative path starts here.\n\
        upstream = {}\n\
        # The branch that is followed.\n\
        branch = {}\n\
        # A local clone whose objects may be used, so that nothing is downloaded twice.\n\
        #reference = \"/srv/mirrors/{project}.git\"\n\
        # A reason for which no night touches the project: git carry pause and resume set it.\n\
        #paused = \"\"\n\
        # The folder of the patches and their series.\n\
        #patches = \"patches/{project}\"\n\
        # Upstream work that each night looks ahead to: which of it, once merged, breaks which patch.\n\
        #forecast = []\n\n\
        [project.{name}.deploy]\n\
        # The branch that is published: the stack on the trunk tip.\n\
        #branch = \"deploy/{project}\"\n\
        # The repository it is pushed to. Without one it stays in the project's store.\n\
        {remote}\n\
        # rewrite: nothing but the stack, pushed with an exact lease.\n\
        # fast-forward: the same tree, behind a commit that joins the previous build, so that no one needs to force.\n\
        #history = \"rewrite\"\n\
        # Commits that others push on top of the last build: refuse (nothing is published until someone looks), or take (they\n\
        # become patches at the end of the queue).\n\
        #intake = \"refuse\"\n\n\
        [project.{name}.policy]\n\
        # Without which patches nothing is published: marked (those with a Carry-Required trailer) or all.\n\
        #required = \"marked\"\n\
        # What becomes of a patch that upstream has: drop (it leaves the queue) or keep.\n\
        #landed = \"drop\"\n\
        # How far a night goes: tip (patches that conflict there fall out of the stack), or furthest-clean (the newest\n\
        # trunk commit on which none falls out, so that deploys go on while people mend the rest).\n\
        #advance = \"tip\"\n\
        # What is asked of the queue, looked at each night; gate = true: nothing is published while it is not kept. Patches\n\
        # may name their last day as well, in a line Carry-Expires: 2027-01-31. For instance:\n\
        # max_hold_age = \"30d\"\n\
        # require_owner = true\n\
        # require_reason = true\n\
        # max_patches = 200\n\
        # gate = true\n\n\
        # Of how many builds the store keeps commits and manifest; what a stage runs stays in any case. remote = true: old ones\n\
        # go at the deploy remote as well. For instance:\n\
        # [project.{name}.history]\n\
        # keep = 90\n\n\
        # Files that a command makes: never merged, but made anew where a patch and trunk both changed them. The command runs\n\
        # in a work tree of its own. For instance:\n\
        # [[project.{name}.regenerate]]\n\
        # paths = [\"po/*.pot\"]\n\
        # run = [\"make\", \"pot\"]\n\n\
        # Commands that prove a build before it goes out, each in a work tree of its own; a patch that breaks one is left\n\
        # out. on: build, each-patch or each-stack; env: what is passed on besides PATH. For instance:\n\
        # [[project.{name}.check]]\n\
        # name = \"unit\"\n\
        # run = [\"make\", \"test\"]\n\
        # on = \"build\"\n\
        # timeout = \"1h\"\n\
        # required = true\n\
        # env = [\"HOME\"]\n\n\
        # Commands that run when something happens: before-night, after-night, conflict, landed, before-publish. Those before\n\
        # may stop it. For instance:\n\
        # [[project.{name}.hook]]\n\
        # on = \"before-publish\"\n\
        # run = [\"./hooks/freeze-calendar\"]\n\
        # timeout = \"10m\"\n\n\
        # By which rules a move from build to build is looked at; without packs, those that the files ask for.\n\
        # [project.{name}.risk]\n\
        # packs = [\"openstack\"]\n\
        # rules = [\"risk.toml\"]\n\n\
        # What each night leaves as files for those who deploy without git, of how many builds (without keep: of all), and\n\
        # where; a build that a stage runs is never taken away. For instance:\n\
        # [project.{name}.artifacts]\n\
        # kinds = [\"tarball\", \"bundle\"]\n\
        # folder = \"../builds\"\n\
        # keep = 30\n\n\
        # What counts how much when patches are ranked for upstream (git carry candidates --explain PATCH). For instance:\n\
        # [project.{name}.candidates]\n\
        # conflict = 3\n\
        # closure = 1.5\n\n\
        # Where builds go, and what one needs for that: it was in the stage before (after) for so long (soak), these checks\n\
        # have passed and it is signed (requires), the move is no worse than that (hold_on: stop, warn or never), and so\n\
        # many people have approved. Stages of one group share databases and messages, as the cells of a region do. For\n\
        # instance:\n\
        # [[project.{name}.stage]]\n\
        # name = \"preprod\"\n\n\
        # [[project.{name}.stage]]\n\
        # name = \"cell-1\"\n\
        # after = \"preprod\"\n\
        # requires = [\"unit\", \"signed\"]\n\
        # soak = \"2d\"\n\
        # hold_on = \"stop\"\n\
        # approvals = 1\n\
        # group = \"region-1\"\n\n\
        # How patches go upstream (git carry upstream PATCH): kind is github, gerrit or mail. Nothing is written to but what\n\
        # 'allow' names; tokens come from the environment, gh or git's credential helper, never from this file. For instance:\n\
        # [project.{name}.forge]\n\
        # kind = \"github\"\n\
        # repository = \"owner/name\"\n\
        # push = \"git@github.com:me/name.git\"\n\
        # allow = [\"https://github.com/owner/name\", \"git@github.com:me/name.git\"]\n",
        quote(upstream),
        quote(branch),
    )
}

/// `existing` with one more project; everything else stays to the byte.
pub fn add_project(
    existing: &str,
    project: &str,
    upstream: &str,
    branch: &str,
    remote: Option<&str>,
) -> Result<String, ConfigError> {
    let now = Config::parse("carry.toml", existing)?;
    if now.projects.contains_key(project) {
        let what = format!("project '{project}' is there already");
        let faults = vec![Fault { line: 1, what, hint: Some("name another with --project".into()) }];
        return Err(ConfigError { file: "carry.toml".into(), faults });
    }
    let fresh = carry_toml(project, upstream, branch, remote);
    let part = fresh.find("[project.").map_or("", |at| &fresh[at..]);
    let text = format!("{}\n\n{part}", existing.trim_end());
    Config::parse("carry.toml", &text)?;
    Ok(text)
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn quote_key(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        name.to_owned()
    } else {
        quote(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_reads_back_with_and_without_its_commented_defaults() {
        let text = carry_toml("nova.x", "https://h/\"nova", "master", None);
        let plain = Config::parse("carry.toml", &text).expect("it is right");
        assert_eq!(plain.projects["nova.x"].upstream, "https://h/\"nova");
        let mut all = String::new();
        for line in text.lines() {
            let example = line.starts_with("#reference") || line.starts_with("#remote");
            let key = line.strip_prefix('#').filter(|l| !example && !l.starts_with(' '));
            all.push_str(key.unwrap_or(line));
            all.push('\n');
        }
        assert_eq!(Config::parse("carry.toml", &all).expect("the defaults are right"), plain);
    }

    #[test]
    fn a_further_project_leaves_the_rest_alone() {
        let first = carry_toml("a", "x", "main", Some("r"));
        let both = add_project(&first, "b", "y", "main", None).expect("it fits");
        assert!(both.starts_with(first.trim_end()));
        assert!(add_project(&both, "b", "y", "main", None).is_err());
    }
}
