//! What a run's files tell, for people and for machines.
//!
//! ```text
//! story.rs   everything on one timeline, as the page is told
//! page.rs    the page: the verdict in plain HTML, everything else drawn from the story
//! ```

pub mod page;
pub mod story;
