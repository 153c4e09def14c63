//! The commits of a build. The same patches on the same trunk give the same ids on every machine.

use gix_hash::ObjectId;

use crate::queue::{self, Header};
use crate::store::{Commit, ObjectError, Odb, Signature};
use crate::workspace::Identity;

/// One patch of the stack.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// Author, date and message.
    pub header: &'a Header,
    /// The stack's tree with it.
    pub tree: ObjectId,
}

/// Makes the stack's commits on `tip`: the author is the patch's; the committer is `identity`, at the later of the
/// author's date and the trunk tip's, in UTC. With `join`, a first commit joins that previous deploy tip with
/// trunk's own tree, so that the new tip descends from it. Returns the first commit's base and one id a layer.
pub fn stack(
    odb: &Odb,
    identity: &Identity,
    project: &str,
    tip: &ObjectId,
    join: Option<&ObjectId>,
    layers: &[Layer<'_>],
) -> Result<(ObjectId, Vec<ObjectId>), ObjectError> {
    let trunk = odb.commit(tip)?;
    let when = trunk.committer.seconds;
    let committer = |seconds: i64| Signature {
        name: identity.name.as_str().into(),
        email: identity.email.as_str().into(),
        seconds,
        offset_minutes: 0,
    };
    let bottom = match join {
        None => *tip,
        Some(previous) => odb.put_commit(&Commit {
            tree: trunk.tree,
            parents: vec![*tip, *previous],
            author: committer(when),
            committer: committer(when),
            message: join_message(project, tip, previous).into(),
        })?,
    };
    let mut parent = bottom;
    let mut ids = Vec::with_capacity(layers.len());
    for layer in layers {
        let queue::Header { author, date, message } = layer.header;
        parent = odb.put_commit(&Commit {
            tree: layer.tree,
            parents: vec![parent],
            author: Signature {
                name: author.name.clone(),
                email: author.email.clone(),
                seconds: date.seconds,
                offset_minutes: date.offset_minutes,
            },
            committer: committer(when.max(date.seconds)),
            message: message.clone(),
        })?;
        ids.push(parent);
    }
    Ok((bottom, ids))
}

/// The message of the commit that joins a previous deploy tip.
pub fn join_message(project: &str, tip: &ObjectId, previous: &ObjectId) -> String {
    format!(
        "Start the {project} stack on {}\n\nThe tree is that of the first parent, the trunk tip {tip}.\n\
        The second parent is the previous build {previous}, so that this branch only moves forward.\n",
        tip.to_hex_with_len(12),
    )
}
