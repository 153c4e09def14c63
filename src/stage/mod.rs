//! In: what stages ran and run, what a build is, and what a move asks. Out: whether a build may go further (`gate`),
//! what stages of one group mean to each other while they run different builds (`skew`), and the records of both
//! (`record`). Never: the store, a decision about a patch, the terminal.

pub mod gate;
pub mod record;
pub mod skew;

pub use gate::{BuildFacts, Checked, Gate, GateKind, Signed, of_build};
pub use record::{Action, Approval, Contract, Promotion, VERSION, Waiting};
pub use skew::{Live, Skew, skew};
