//! All integration tests, as one program: it is linked once, and its tests share both cores. `cargo test --test all night::`
//! runs those of one file.

mod artifacts;
mod attributes;
mod bisect;
mod candidates;
mod check;
mod compare;
mod demo;
mod doctor;
mod edit;
mod exports;
mod faults;
mod fetch;
mod formats;
mod help;
mod hostile;
mod import;
mod intake;
mod kill;
mod landed;
mod lines;
mod merge;
mod night;
mod ort;
mod parsers;
mod patch_id;
mod replay;
mod report;
mod resolve;
mod risk;
mod schedule;
mod stage;
mod support;
mod upstream;
mod upstreaming;
mod why;
