//! The program's event patterns, for the fuzzer and the measurement beside it.

#[path = "../../src/domain"]
pub mod domain {
    pub mod pattern;
}
