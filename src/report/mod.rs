//! What a run's files tell, for people and for machines.
//!
//! ```text
//! story.rs   everything on one timeline, as the page is told
//! ```

pub mod story;
