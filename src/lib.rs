//! git-carry carries a queue of local patches on an upstream trunk that never stops moving.
//!
//! The modules stand in the order of the flow of a night; an import goes down this list or to
//! [`store`], never up.

pub mod bisect;
pub mod build;
pub mod candidate;
pub mod check;
pub mod cli;
pub mod culprit;
pub mod fleet;
pub mod forecast;
pub mod forge;
pub mod fork;
pub mod graph;
pub mod landed;
pub mod night;
pub mod notify;
pub mod queue;
pub mod replay;
pub mod report;
pub mod resolution;
pub mod risk;
pub mod stage;
pub mod store;
pub mod trunk;
pub mod workspace;
