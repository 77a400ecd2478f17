//! What went wrong, as sentences from the outermost step to the cause.
//!
//! Nothing here branches on a kind of error except where a client's call has one
//! ([`crate::http::CallError`]); everybody else wants to read what failed and what to do.

use std::fmt;

/// A failure of the harness or of its host, told so that a reader knows what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

/// What nearly every function of this package returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is its own cause.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Says which step a cause belongs to.
pub trait Context<T> {
    /// `what` failed because of `self`'s error; evaluated only then.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error(format!("{}: {cause}", what())))
    }
}
