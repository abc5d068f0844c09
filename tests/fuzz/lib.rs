//! The targets of `tests/it/fuzz` and what they need of the tests' harness.

// The rest of those files is for the tests.
#![allow(dead_code)]

#[path = "../it/fuzz"]
mod fuzz {
    mod driver;
    pub mod outside;
    pub mod text;

    pub use driver::Target;
}

#[path = "../it/pattern"]
mod pattern {
    pub mod agree;
    pub mod generated;
    mod naive;
}

#[path = "../it/support"]
mod support {
    pub mod chance;
    pub mod runs;
    pub mod store;
    pub mod world;

    use std::path::Path;

    /// Returns the folder that holds the whole project.
    pub fn repository() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }
}

pub use fuzz::Target;

/// Returns the target of that name.
///
/// # Panics
///
/// If there is none.
pub fn target(name: &str) -> Target {
    match name {
        "config" => fuzz::text::config(),
        "event" => fuzz::text::event(),
        "pattern" => fuzz::text::pattern(),
        "calendar" => fuzz::text::calendar(),
        "row" => fuzz::text::row(),
        "template" => fuzz::outside::template(),
        "message" => fuzz::outside::message(),
        other => panic!("no target `{other}`"),
    }
}
