//! What a run's files tell, for people and for machines.
//!
//! ```text
//! story.rs    everything on one timeline, as the page is told
//! folder.rs   which folder is one of a run, and what is in it
//! tell.rs     a folder to a story: what is there, what is missing, what is left out
//! clocks.rs   the clocks of its files, brought to one
//! known.rs    summary.json;  events.rs  events.jsonl
//! wire.rs     wire.jsonl; said.rs, what nodes are by their own words
//! history.rs  clients' calls;  trace.rs  packets, and what became of messages
//! logs.rs     excerpts of nodes' logs
//! bands.rs    what was done;  lanes.rs  what nodes were;  moments.rs  points in time
//! thin.rs     streams of which only so much is kept
//! page.rs     the page: the verdict in plain HTML, everything else drawn from the story
//! html.rs     templates, in which everything from a run is text
//! junit.rs    a run as a suite of tests
//! compare/    runs side by side: did a change make the cluster better or worse?
//! statistics.rs  what several runs say together
//! ```
//!
//! All of it is a function of the folder: made again, it comes to the same bytes.

mod bands;
mod clocks;
pub mod compare;
mod events;
mod folder;
mod history;
mod html;
pub mod junit;
mod known;
mod lanes;
mod logs;
mod moments;
pub mod page;
mod said;
pub mod statistics;
pub mod story;
mod tell;
mod thin;
mod trace;
mod wire;

pub use folder::Unreadable;
pub use tell::tell;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use story::Story;

/// The page's name in a run's folder.
pub const REPORT: &str = "report.html";

/// Writes the page of a run to `out`, or into its folder; where it is then.
pub fn write(story: &Story, folder: &Path, out: Option<&Path>) -> Result<PathBuf, Unreadable> {
    let path = out.map_or_else(|| folder.join(REPORT), Path::to_owned);
    let page = page::page(story);
    let unwritable = |e: io::Error| {
        let why = format!("{} cannot be written ({e})", path.display());
        Unreadable::new(why, "name another file with --out")
    };
    // Whoever opens the former page while this one is written sees one of them whole. What is no
    // plain file, such as /dev/stdout, is written as it is.
    if path.exists() && !path.is_file() {
        return fs::write(&path, page).map_err(unwritable).map(|()| path.clone());
    }
    let mut beside = path.clone().into_os_string();
    beside.push(".part");
    let written = fs::write(&beside, page).and_then(|()| fs::rename(&beside, &path));
    written.map_err(|e| {
        let _ = fs::remove_file(&beside);
        unwritable(e)
    })?;
    Ok(path)
}
