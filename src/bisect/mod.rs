//! In: two builds as trunk commits and stacks. Out: the points between them, and the search for the first bad one
//! (`queues`, `search`), and its answer (`answer`). Never: a command that is run, a work tree, the terminal.
//!
//! Two builds differ in two directions: the trunk commit, and the queue. A point between them is a trunk commit and how
//! many of the queue's changes are made, and each has a tree: that of the queue's patches merged onto the commit, in
//! memory. The older build is the point (0, 0), the newer the last of both. Whether trunk or the queue is to blame is told
//! by the corner with the newer trunk and the older queue; then one direction is halved, with the other held still.

mod answer;
mod queues;
mod search;

pub use answer::{Bisected, Changed, Outcome, Patch, Probe, Upstream, left_out};
pub use queues::{Change, Layer, Point, Queues};
pub use search::{Found, Said, first_bad};
