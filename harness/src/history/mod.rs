//! What clients called and were answered: the record that a run is judged by.
//!
//! ```text
//! event     one line of `history.jsonl`
//! call      an invocation with its completion
//! read      files to calls: our JSON lines, Jepsen's logs, EDN of key-value calls
//! ```

mod call;
mod event;
mod read;

pub use call::{Call, Calls};
pub use event::{Event, Function, Header, Kind, VERSION, Workload};
pub use read::{Model, read};
