//! Clients: a thread each, calling as a workload says and writing down what came of it.
//!
//! Every call is stamped here, just before and just after the session's own. A client whose
//! call ended unknown goes on as a new process with a new connection, since the old call may
//! still be under way. Whatever is asked stays bounded: each call by its limit, the record by a
//! queue that makes clients wait rather than lose a line.
//!
//! ```text
//! load      the threads, starting and stopping them
//! client    one of them: its pace, its calls, its process numbers
//! counts    what became of calls
//! perform   one logical call: which requests it takes, what their answers make of it
//! writer    history.jsonl, streamed
//! readback  reading everything at the end
//! probe     whether writes succeed, asked from outside the load
//! window    times in which none did
//! ```

mod client;
mod counts;
mod load;
mod perform;
mod probe;
mod readback;
#[cfg(test)]
mod store;
mod window;
mod writer;

pub use counts::Counts;
pub use load::{Load, Plan, Sessions, Stopped};
pub use perform::{Outcome, perform};
pub use probe::{Availability, Probe};
pub use readback::{From, read_back};
pub use window::{Sample, Window, windows};
pub use writer::{HistoryWriter, Recorder};
