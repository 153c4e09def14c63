//! In: the upstream's address and branch. Out: its newest commit, what lies between two of its commits, and what
//! differs between their trees. Never: a patch.

mod churn;
pub mod compare;
pub mod delta;
pub mod differences;
mod fetch;
mod lines;
mod range;

pub use churn::churn;
pub use fetch::{FetchError, Fetched, TIP, fetch, fetch_refs, fetched_refs, full_name, known};
pub use lines::LineCounts;
pub use range::{Range, Upstream, read as read_range};
