//! Registers whose values are unique, in n log n (Gibbons and Korach, "Testing shared
//! memories", 1997).
//!
//! Where each value is written once, a write and the reads of its value must stand together in
//! any order that explains the answers. Such a cluster needs the time from its first answer to
//! its last beginning, if the one comes before the other (it is *forward*); otherwise all of it
//! overlaps, and it fits anywhere in between (*backward*). An order exists exactly where no read
//! ends before its write begins, no two forward zones overlap, and no backward zone lies within
//! a forward one.
//!
//! It applies to reads and writes only: a compare-and-set ties two clusters together, and one
//! that failed, or a removal, is about values that are not unique.

use super::operation::Operation;
use super::state::{Action, State, Val};
use std::collections::HashMap;

/// A write and the reads of its value.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    written: bool,
    write_begin: u64,
    first_end: u64,
    first_read_end: u64,
    last_begin: u64,
    is_read: bool,
}

/// Whether an order exists; none where this cannot tell.
pub(super) fn decide(operations: &[&Operation<'_>], initial: &State) -> Option<bool> {
    let State::Value(initial) = initial else { return None };
    let mut clusters: HashMap<Val, Cluster> = HashMap::new();
    let fresh = Cluster {
        written: false,
        write_begin: 0,
        first_end: u64::MAX,
        first_read_end: u64::MAX,
        last_begin: 0,
        is_read: false,
    };
    // Written before everything.
    clusters.insert(*initial, Cluster { written: true, first_end: 0, ..fresh });
    for operation in operations {
        // The initial value was there before any time that an operation bears.
        let begin = operation.begin + 1;
        let end = operation.end.map_or(u64::MAX, |end| end + 1);
        match operation.action {
            Action::Write(value @ Some(_)) => {
                let cluster = clusters.entry(value).or_insert(fresh);
                if cluster.written {
                    return None;
                }
                cluster.written = true;
                cluster.write_begin = begin;
                cluster.first_end = cluster.first_end.min(end);
                cluster.last_begin = cluster.last_begin.max(begin);
            }
            Action::Read(value) => {
                let cluster = clusters.entry(value).or_insert(fresh);
                cluster.is_read = true;
                cluster.first_end = cluster.first_end.min(end);
                cluster.first_read_end = cluster.first_read_end.min(end);
                cluster.last_begin = cluster.last_begin.max(begin);
            }
            _ => return None,
        }
    }
    Some(has_order(clusters.values()))
}

fn has_order<'c>(clusters: impl Iterator<Item = &'c Cluster>) -> bool {
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for cluster in clusters {
        if !cluster.written || cluster.first_read_end < cluster.write_begin {
            return false;
        }
        let unanswered = cluster.first_end == u64::MAX;
        if unanswered && !cluster.is_read {
            // A write that nobody saw, and nobody was told of, may never have happened.
            continue;
        }
        if cluster.first_end < cluster.last_begin {
            forward.push((cluster.first_end, cluster.last_begin));
        } else {
            backward.push((cluster.last_begin, cluster.first_end));
        }
    }
    forward.sort_unstable();
    // What ends and begins at one moment overlaps: both could be first.
    if forward.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        return false;
    }
    backward.iter().all(|(from, to)| {
        let at = forward.partition_point(|zone| zone.0 < *from);
        let within = at.checked_sub(1).map(|i| forward[i]);
        within.is_none_or(|zone| *to >= zone.1)
    })
}
