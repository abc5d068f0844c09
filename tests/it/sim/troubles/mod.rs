//! Troubles that befall worlds: a file for each kind, with when it is drawn, what it does and what must hold all the same.
//!
//! A new kind of trouble is a new file here; [`super::drawn::recipe`] draws it and [`super::judged::check`] asks it.

pub mod budgets;
pub mod cuts;
pub mod denials;
pub mod endings;
pub mod halts;
pub mod places;
pub mod policies;
pub mod refused;
pub mod renames;
pub mod restore;
pub mod returns;
pub mod strays;
pub mod unread;
