//! Arguments to calls; nothing else.

use std::process::ExitCode;

/// The command's entry.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
