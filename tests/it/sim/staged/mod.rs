//! Worlds that no seed draws: one thing is tried at every step of it, in great numbers, or over a month.

mod month;
pub mod standing;
mod storm;
mod suspended;
