//! What decoded messages tell of the cluster: pure, no I/O, no clock.

pub mod leaders;

pub use leaders::{Leaders, Role, Turn, Turns};
