//! What settles a conflict in a replay: an answer that someone recorded.

use std::path::PathBuf;

use gix_hash::ObjectId;

use super::Site;
use crate::replay::Conflict;
use crate::replay::merge::attempt;
use crate::replay::sequence::{Settle, Step};
use crate::resolution::{RecordError, Resolution, Used, load};
use crate::store::{ObjectError, Objects};

/// The recorded answers of a project.
#[derive(Debug, Default)]
pub struct Answers {
    /// All of them.
    pub recorded: Vec<Resolution>,
    /// What cannot be read.
    pub faults: Vec<RecordError>,
}

impl Answers {
    /// Those in the workspace.
    pub fn of(site: &Site<'_>) -> Self {
        let (recorded, faults) = load(&folder(site));
        Self { recorded, faults }
    }

    /// The one with this id, as reports tell of it.
    pub fn used(&self, patch: &str, id: &str) -> Option<Used> {
        self.recorded.iter().find(|r| r.patch == patch && r.id() == id).map(Resolution::used)
    }
}

/// Where a project's resolutions are.
pub fn folder(site: &Site<'_>) -> PathBuf {
    site.workspace.root.join(place(site))
}

/// The same, from the workspace's root.
pub fn place(site: &Site<'_>) -> String {
    format!("resolutions/{}", site.project.name)
}

impl Settle for Answers {
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
}
