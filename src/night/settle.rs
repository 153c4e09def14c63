//! What settles a conflict in a replay: an answer that someone recorded, or a command that makes a file anew.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use bstr::{BString, ByteSlice};
use gix_hash::ObjectId;

use super::Site;
use crate::replay::Conflict;
use crate::replay::merge::attempt;
use crate::replay::sequence::{Settle, Step};
use crate::resolution::{RecordError, Resolution, Used, load};
use crate::store::{ObjectError, Objects, StoreError, WorkTree};
use crate::workspace::Regenerate;

/// The recorded answers of a project, and the commands that make files anew.
#[derive(Debug)]
pub struct Answers<'a> {
    site: &'a Site<'a>,
    /// What went wrong on the way, by patch.
    notes: RefCell<BTreeMap<String, String>>,
    /// All of them.
    pub recorded: Vec<Resolution>,
    /// What cannot be read.
    pub faults: Vec<RecordError>,
}

impl<'a> Answers<'a> {
    /// Those in the workspace.
    pub fn of(site: &'a Site<'a>) -> Self {
        let (recorded, faults) = load(&folder(site));
        Self { site, notes: RefCell::default(), recorded, faults }
    }

    /// What went wrong with a patch.
    pub fn note(&self, patch: &str) -> Option<String> {
        self.notes.borrow().get(patch).cloned()
    }

    /// The one with this id, as reports tell of it.
    pub fn used(&self, patch: &str, id: &str) -> Option<Used> {
        self.recorded.iter().find(|r| r.patch == patch && r.id() == id).map(Resolution::used)
    }
}

/// Where a project's resolutions are.
pub fn folder(site: &Site<'_>) -> PathBuf {
    site.workspace.resolutions(site.project)
}

/// The same, from the workspace's root.
pub fn place(site: &Site<'_>) -> String {
    site.project.resolutions()
}

impl Settle for Answers<'_> {
    fn settle(
        &self,
        objects: &dyn Objects,
        step: &Step,
        stack: &ObjectId,
        conflicts: &[Conflict],
    ) -> Result<Option<(ObjectId, String)>, ObjectError> {
        for resolution in self.recorded.iter().filter(|r| r.answers(&step.name, conflicts)) {
            let attempt = attempt(objects, &step.before, stack, &step.after)?;
            if let Some(tree) = resolution.finish(objects, &step.name, &attempt)? {
                return Ok(Some((tree, resolution.id())));
            }
        }
        Ok(None)
    }

    fn make_anew(
        &self,
        objects: &dyn Objects,
        step: &Step,
        merged: &ObjectId,
        paths: &[BString],
    ) -> Result<Option<(ObjectId, String)>, ObjectError> {
        objects.write_out()?;
        let failed = |e: StoreError| ObjectError { id: *merged, reason: e.to_string() };
        let mut commands: Vec<&[String]> = Vec::new();
        for path in paths {
            let of = |r: &&Regenerate| {
                let globs = r.paths.iter().filter_map(|p| globset::Glob::new(p).ok());
                globs.into_iter().any(|g| g.compile_matcher().is_match(path.to_path_lossy()))
            };
            if let Some(regenerate) = self.site.project.regenerate.iter().find(of)
                && !commands.contains(&regenerate.run.as_slice())
            {
                commands.push(&regenerate.run);
            }
        }
        let place = self.site.folder.join("work").join(format!("{}.regenerate", self.site.project.name));
        let tree = self.site.store.tree_commit(merged).map_err(failed)?;
        let work = WorkTree::add(&self.site.store, &place, &tree).map_err(failed)?;
        let made = make(&work, &commands, paths);
        work.remove(&self.site.store).map_err(failed)?;
        match made.map_err(failed)? {
            Ok(tree) => {
                let told: Vec<String> = commands.iter().map(|c| c.join(" ")).collect();
                Ok(Some((tree, told.join("; "))))
            }
            Err(why) => {
                self.notes.borrow_mut().insert(step.name.clone(), why);
                Ok(None)
            }
        }
    }
}

/// Runs the commands in a work tree, and takes what they made of `paths`. The inner error says what went wrong.
fn make(
    work: &WorkTree,
    commands: &[&[String]],
    paths: &[BString],
) -> Result<Result<ObjectId, String>, StoreError> {
    for command in commands {
        let Some((program, args)) = command.split_first() else { continue };
        let told = command.join(" ");
        // A program of the work tree itself is meant as it stands there.
        let program = if program.starts_with("./") { work.path().join(program) } else { program.into() };
        let out = std::process::Command::new(program).args(args).current_dir(work.path()).output();
        match out {
            Err(e) => return Ok(Err(format!("'{told}' cannot be run: {e}"))),
            Ok(out) if !out.status.success() => {
                let said = String::from_utf8_lossy(&out.stderr);
                let last = said.trim().lines().last().unwrap_or_default();
                return Ok(Err(format!("'{told}' ended with {}: {last}", out.status)));
            }
            Ok(_) => {}
        }
    }
    work.tree_of(paths).map(Ok)
}
