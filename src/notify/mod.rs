//! In: what a night found, and what each listener was told last. Out: what is to be told to whom, in the form that each
//! takes. Never: the network, the clock, the store; what patches, commits and servers say as anything but text.

mod form;
mod ledger;
mod owners;
mod trouble;

pub use form::{document, issue_body, markdown, matrix, plain_text, short_line, slack, subject};
pub use ledger::{Failure, Ledger, News, Told};
pub use owners::{CODEOWNERS, CodeOwners, addresses};
pub use trouble::{Ended, Kind, Seen, Trouble};
