//! Arguments to calls; nothing else.

pub mod clean;
pub mod doctor;

use std::process::ExitCode;

/// The command's entry.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
