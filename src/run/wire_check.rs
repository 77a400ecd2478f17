//! A record of what was said on the wire, judged again.
//!
//! Whoever was killed may have left half a line at its end; that is told, and nothing else.

use super::watch::Ended;
use super::wire_outcome::WireOutcome;
use crate::observe::Observer;
use crate::observe::file::Reader;
use crate::wire::Protocol;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// What a record begins with, and no history does.
const MARK: [u8; 13] = *b"{\"raftq_wire\"";

/// Whether this file is such a record. One that cannot be read is not, nor is a pipe, of which
/// nothing could be read twice.
#[must_use]
pub fn is_record(path: &Path) -> bool {
    let begins = || -> io::Result<bool> {
        let mut mark = [0; MARK.len()];
        File::open(path)?.read_exact(&mut mark)?;
        Ok(mark == MARK)
    };
    path.is_file() && begins().unwrap_or(false)
}

/// Judges a record. The error names the file, and the line where there is one.
pub fn check(path: &Path) -> Result<WireOutcome, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = File::open(path).map_err(|e| wrong(&e))?;
    let mut file = BufReader::new(file);
    let mut line = String::new();
    file.read_line(&mut line).map_err(|e| wrong(&e))?;
    let mut reader = Reader::new(&line).map_err(|e| wrong(&e))?;
    let header = reader.header().clone();
    let protocol = Protocol::by_word(&header.protocol)
        .ok_or_else(|| wrong(&format!("line 1: nobody knows the protocol {}", header.protocol)))?;
    let mut observer = Observer::new().named(header.nodes.clone());
    let mut cut = None;
    loop {
        line.clear();
        if file.read_line(&mut line).map_err(|e| wrong(&e))? == 0 {
            break;
        }
        match reader.event(&line) {
            Ok(event) => event.iter().for_each(|event| observer.see(event)),
            Err(_) if !line.ends_with('\n') => {
                cut = Some(format!("{} ends in the middle of a line", path.display()));
            }
            Err(e) => return Err(wrong(&e)),
        }
    }
    Ok(Ended::of(&observer, protocol, cut).outcome(&header.nodes))
}
