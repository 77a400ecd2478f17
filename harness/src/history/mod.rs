//! What clients called and were answered: the record that a run is judged by.
//!
//! ```text
//! event     one line of `history.jsonl`
//! ```

mod event;

pub use event::{Event, Function, Header, Kind, VERSION, Workload};
