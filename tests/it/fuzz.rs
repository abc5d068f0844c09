//! Fuzzing: bytes that nobody meant, given to everything that reads what others wrote. Nothing may panic, hang or take
//! memory without bound, and what was read must be what was written.
//!
//! An ordinary test is a short run, the same in every run. `tests/fuzz/run` runs a target for as long as one likes; what it
//! finds is kept in `tests/fuzz/corpus`, which every run begins with.

mod driver;
mod outside;
mod text;

pub use driver::{Target, fuzz};
