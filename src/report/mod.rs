//! What a run's files tell, for people and for machines.
//!
//! ```text
//! story.rs   everything on one timeline, as the page is told
//! junit.rs   a run as a suite of tests
//! ```

pub mod junit;
pub mod story;
