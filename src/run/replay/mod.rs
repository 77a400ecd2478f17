//! Repeating a run from its folder: what has to be known for it, and how alike the two are.
//!
//! Repeated are the decisions (hashes of seed, rule, link, connection and segment), the schedule
//! with all that is drawn for it, and the clients' calls. Not repeated is the system's own timing:
//! when it elects whom, which packets it sends when, and with that how often a rule matches.

mod compare;
mod recipe;

pub use compare::Comparison;
pub use recipe::{RECIPE, Recipe};
