//! Rule files: from YAML to a compiled [`Table`], with every error of a file at once.
//!
//! Pure: no clock, no network, no privileges.

pub mod table;

pub use table::Table;
