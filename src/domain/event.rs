//! Deployment events: what arrives, before anything is decided.
//!
//! Pure. The body of a queue message becomes an [`Event`], or a reason why it cannot be read.
