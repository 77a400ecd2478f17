//! What actions remember between packets: a few words for each direction of each flow, or for each
//! link. Untouched pages of it cost nothing.

use super::Facts;
use super::flows::{FLOWS_MAX, FlowId};
use crate::rules::table::{Action, Losing, Per};

/// Where an action's words are: the first of them, in the rows of flows or in those of links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cells {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) per_link: bool,
}

/// Words that an action needs, and whether it has them for links instead of flows.
pub(super) fn words(action: &Action) -> (u32, bool) {
    let correlated = |correlation: u64| (u32::from(correlation > 0), false);
    match action {
        Action::Delay(delay) => correlated(delay.correlation),
        Action::Lose(Losing::Lot(lot)) => correlated(lot.correlation),
        Action::Lose(Losing::Model(_)) => (1, false),
        // How many packets have passed since the last one overtook, and the last draw.
        Action::Reorder(_) => (2, false),
        Action::Duplicate(duplicate) => correlated(duplicate.lot.correlation),
        Action::Corrupt(corrupt) => correlated(corrupt.lot.correlation),
        Action::Rate(rate) => (1, rate.per == Per::Link),
        // The slot, what is left of it in packets and in bytes, and its number.
        Action::Slot(_) => (4, true),
        Action::Accept
        | Action::Drop(_)
        | Action::Reset
        | Action::Stall { .. }
        | Action::Reject(_)
        | Action::Hold(_)
        | Action::Mark(_)
        | Action::Trigger(_) => (0, false),
    }
}

/// All of a table's words.
#[derive(Debug)]
pub(super) struct Memory {
    /// A row for each direction of each flow.
    flows: Words,
    links: Words,
}

/// Rows of words, and which rows and which actions' columns anybody has asked for: what nobody
/// has is neither written nor read.
#[derive(Debug)]
struct Words {
    cells: Vec<u64>,
    rows: Vec<bool>,
    columns: Vec<bool>,
}

impl Words {
    fn new(columns: usize, rows: usize) -> Self {
        let cells = vec![0; columns * rows];
        Self { cells, rows: vec![false; rows], columns: vec![false; columns] }
    }

    #[inline]
    fn of(&mut self, row: usize, cells: Cells) -> Option<&mut [u64]> {
        let (first, count) = (cells.first as usize, cells.count as usize);
        *self.columns.get_mut(first)? = true;
        *self.rows.get_mut(row)? = true;
        let at = row * self.columns.len() + first;
        self.cells.get_mut(at..at + count)
    }

    fn forget(&mut self, row: usize) {
        if std::mem::take(&mut self.rows[row]) {
            let width = self.columns.len();
            wipe(&mut self.cells[row * width..(row + 1) * width]);
        }
    }

    fn inherit(&mut self, cells: Cells, old: &Self, former: Cells, rows: usize) {
        if !old.columns.get(former.first as usize).is_some_and(|used| *used) {
            return;
        }
        for row in (0..rows.min(old.rows.len())).filter(|&row| old.rows[row]) {
            let from = row * old.columns.len() + former.first as usize;
            let former = &old.cells[from..from + cells.count as usize];
            let any = former.iter().any(|word| *word != 0);
            if let Some(new) = any.then(|| self.of(row, cells)).flatten() {
                new.copy_from_slice(former);
            }
        }
    }
}

impl Memory {
    pub(super) fn new(flow_columns: usize, link_columns: usize, links: usize) -> Self {
        let flows = Words::new(flow_columns, 2 * FLOWS_MAX);
        Self { flows, links: Words::new(link_columns, links) }
    }

    /// The words of an action for a packet; none where it has none, or they are a flow's and there
    /// is none.
    #[inline]
    pub(super) fn of(&mut self, cells: Cells, facts: &Facts) -> Option<&mut [u64]> {
        if cells.count == 0 {
            return None;
        }
        if cells.per_link {
            return self.links.of(usize::from(facts.link.0), cells);
        }
        self.flows.of(facts.flow?.0 as usize * 2 + usize::from(facts.direction), cells)
    }

    /// A flow takes a place: nothing is remembered of it.
    pub(super) fn new_flow(&mut self, id: FlowId) {
        self.flows.forget(id.0 as usize * 2);
        self.flows.forget(id.0 as usize * 2 + 1);
    }

    /// Takes over what an action remembered in another table, of the first so many flows.
    pub(super) fn inherit(&mut self, cells: Cells, old: &Self, former: Cells, flows: usize) {
        if cells.count == 0 {
            return;
        }
        if cells.per_link {
            self.links.inherit(cells, &old.links, former, usize::MAX);
        } else {
            self.flows.inherit(cells, &old.flows, former, flows * 2);
        }
    }
}

/// Zeroes without touching the memory of what is zero.
pub(super) fn wipe<T: Copy + Default + PartialEq>(words: &mut [T]) {
    let zero = T::default();
    words.iter_mut().filter(|word| **word != zero).for_each(|word| *word = zero);
}
