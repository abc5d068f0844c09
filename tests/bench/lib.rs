//! The program's event patterns, for the measurement beside another crate.

#[path = "../../src/domain"]
pub mod domain {
    pub mod pattern;
}
