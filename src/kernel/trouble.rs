//! An error that a person can act on: what went wrong, and a way out.

use std::fmt;

/// What went wrong on the host's side, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The cause, as a sentence without its full stop.
    pub cause: String,
    /// What the user can do, likewise; empty where nothing helps.
    pub way_out: String,
}

impl Trouble {
    /// An error with its way out.
    pub fn new(cause: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { cause: cause.into(), way_out: way_out.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.way_out.is_empty() {
            return f.write_str(&self.cause);
        }
        write!(f, "{}; {}", self.cause, self.way_out)
    }
}

impl std::error::Error for Trouble {}
