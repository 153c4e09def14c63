//! `[project.X.artifacts]`: what each night leaves for those who deploy without git's own protocol.

use std::path::PathBuf;

use super::reader::{Reader, Table};

/// What a build is packed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArtifactKind {
    /// The files, as `git archive` gives them.
    Tarball,
    /// The commits, as `git bundle` gives them: all that a clone of the build before lacks.
    Bundle,
}

impl ArtifactKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tarball, Self::Bundle];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tarball => "tarball",
            Self::Bundle => "bundle",
        }
    }
}

/// What each night leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// What is made of each build.
    pub kinds: Vec<ArtifactKind>,
    /// Where to; a relative path starts at the workspace. None: in the tool's own folder.
    pub folder: Option<PathBuf>,
    /// Of how many builds they are kept; none: of all.
    pub keep: Option<usize>,
}

/// Reads a project's artifacts; without the table, no night makes any.
pub(super) fn read(r: &mut Reader<'_>, place: &str, table: &Table<'_>) -> Option<Artifacts> {
    let (table, at) = r.table(table, "artifacts")?;
    r.keys(table, &format!("{place}.artifacts"), &["kinds", "folder", "keep"]);
    let mut kinds = Vec::new();
    for word in r.list(table, "kinds") {
        match ArtifactKind::ALL.into_iter().find(|k| k.word() == word) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => {
                let hint = Some("it is one of: tarball, bundle".into());
                r.fault(at, format!("'kinds' cannot hold '{}'", word.escape_debug()), hint);
            }
        }
    }
    if !table.contains_key("kinds") {
        kinds = ArtifactKind::ALL.to_vec();
    }
    kinds.sort();
    let folder = r.text(table, "folder");
    if folder.as_ref().is_some_and(|f| f.get_ref().trim().is_empty()) {
        r.fault(at, "'folder' is empty".into(), Some("write: folder = \"/srv/builds\"".into()));
    }
    let folder = folder.map(|f| PathBuf::from(f.into_inner()));
    Some(Artifacts { kinds, folder, keep: r.count(table, "keep") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Config;

    fn config(table: &str) -> String {
        format!("version = 1\n[project.p]\nupstream = \"x\"\nbranch = \"main\"\n{table}")
    }

    #[test]
    fn without_the_table_nothing_is_made_and_an_empty_one_makes_all() {
        let read = |table: &str| {
            Config::parse("carry.toml", &config(table)).map(|c| c.projects["p"].artifacts.clone())
        };
        assert_eq!(read(""), Ok(None));
        let all = Artifacts { kinds: ArtifactKind::ALL.to_vec(), folder: None, keep: None };
        assert_eq!(read("[project.p.artifacts]\n"), Ok(Some(all)));
        let some = "[project.p.artifacts]\nkinds = [\"bundle\"]\nfolder = \"../out\"\nkeep = 3\n";
        let some = read(some).expect("it is right").expect("it is there");
        assert_eq!((some.kinds, some.keep), (vec![ArtifactKind::Bundle], Some(3)));
    }

    #[test]
    fn what_cannot_be_is_told_with_its_line() {
        let wrong = "[project.p.artifacts]\nkinds = [\"zip\"]\nkeep = 0\n";
        let faults = Config::parse("carry.toml", &config(wrong)).expect_err("it has faults").faults;
        let told: Vec<&str> = faults.iter().map(|f| f.what.as_str()).collect();
        assert_eq!(told, ["'kinds' cannot hold 'zip'", "'keep' must be a whole number from 1"]);
    }
}
