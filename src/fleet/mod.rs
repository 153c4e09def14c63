//! In: a workspace. Out: its nights as units that any scheduler can hand to any number of workers, each done once; what came
//! of them. Never: a daemon, a database, a change of the workspace by a worker.
//!
//! A **unit** is a project, or projects that go together: patches tied by `Depends-On`, or a `[[set]]`. Its **key** says what a
//! night would start from: of each project the trunk commit at the upstream, the tree of its queue, the digest of its
//! settings, and the tool's version. All that workers know of each other stands in refs of the deploy remote:
//!
//! | ref | what it is |
//! | --- | --- |
//! | `refs/carry/claim/<unit>` | who is at it and until when (a blob); made only if it is not there, taken over by its exact id |
//! | `refs/carry/result/<unit>/<key>` | what came of it (a blob): a unit with a result is not done again |
//! | `refs/carry/queue/<project>` | the queue's own branch: the project's files of the workspace, and its part of the lock |
//!
//! A night writes the queue anew, and many workers cannot all push one workspace. So a worker leaves the workspace as it is,
//! and what the night would commit there goes to the queue's own branch. It has two lines: snapshots of what people had in
//! the workspace (`Carry-Workspace` names its commit), and nights on top; where both moved, git merges them. That needs no
//! common clone, and only the project's own files ever reach its deploy remote. `git carry fleet report --record` brings the
//! branches back to the workspace, whose lock says up to where; as long as nobody does, nights go on from the branches.
//!
//! One atomic push moves the deploy branch, the build's refs, the queue's branch and the result, and takes the claim
//! away, each only if it is what this worker saw. A worker that was held up until its claim was taken over has another
//! claim's id in its hand, so its push moves nothing. A claim is renewed while its worker lives; a killed one leaves a
//! claim that ends by itself. The result is written under the key that the night leaves behind as well: planned again with
//! no news, there is nothing to do.

mod claim;
mod depart;
mod error;
pub mod forms;
mod hold;
mod join;
mod look;
mod mirror;
mod news;
mod overview;
mod plan;
mod queue;
mod records;
mod run;
mod take_in;
mod unit;

pub use error::FleetError;
pub use news::news;
pub use overview::{Overview, Standing, overview, seen_from_refs};
pub use plan::{Ceiling, Due, Plan, Why, plan};
pub use records::{Claim, Record, Told, worse};
pub use run::{Fate, Holder, How, run_unit};
pub use take_in::{TakenIn, take_in};
pub use unit::{LeftOut, Shard, Unit, units};
