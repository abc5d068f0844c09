//! Fuzzing: bytes that nobody meant, given to everything that reads what others wrote. Nothing may panic, hang or take
//! memory without bound, and what was read must be what was written.
//!
//! An ordinary test is a short run of the driver here, the same in every run. `tests/fuzz` has the same targets for
//! cargo-fuzz, which follows the coverage. What is found is kept in `tests/fuzz/corpus`, which every run begins with.

mod driver;
mod outside;
mod text;

pub use driver::Target;

#[test]
fn config_is_read_or_refused() {
    driver::fuzz(text::config());
}

#[test]
fn event_is_read_or_refused() {
    driver::fuzz(text::event());
}

#[test]
fn pattern_agrees_with_the_naive_matcher_or_is_refused() {
    driver::fuzz(text::pattern());
}

#[test]
fn calendar_is_read_or_refused() {
    driver::fuzz(text::calendar());
}

#[test]
fn row_is_read_or_refused_and_written_as_it_was_read() {
    driver::fuzz(text::row());
}

#[test]
fn template_is_read_or_refused() {
    driver::fuzz(outside::template());
}

/// A message is recorded, or put aside with a reason: it is never refused by the store and never lost.
#[test]
fn message_is_recorded_or_put_aside() {
    driver::fuzz(outside::message());
}
