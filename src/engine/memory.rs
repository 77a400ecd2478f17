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
    flow_columns: usize,
    link_columns: usize,
    flows: Vec<u64>,
    links: Vec<u64>,
    /// Whether any word of a flow or of a link was asked for: what is not in use is not even read.
    used_flows: Vec<bool>,
    used_links: Vec<bool>,
}

impl Memory {
    pub(super) fn new(flow_columns: usize, link_columns: usize, links: usize) -> Self {
        Self {
            flow_columns,
            link_columns,
            flows: vec![0; flow_columns * 2 * FLOWS_MAX],
            links: vec![0; link_columns * links],
            used_flows: vec![false; FLOWS_MAX],
            used_links: vec![false; links],
        }
    }

    /// The words of an action for a packet; none where they are a flow's and it has none.
    #[inline]
    pub(super) fn of(&mut self, cells: Cells, facts: &Facts) -> Option<&mut [u64]> {
        let (first, count) = (cells.first as usize, cells.count as usize);
        if cells.per_link {
            let link = usize::from(facts.link.0);
            self.used_links[link] = true;
            let at = link * self.link_columns + first;
            return self.links.get_mut(at..at + count);
        }
        let flow = facts.flow?.0 as usize;
        self.used_flows[flow] = true;
        let row = flow * 2 + usize::from(facts.direction);
        let at = row * self.flow_columns + first;
        self.flows.get_mut(at..at + count)
    }

    /// A flow takes a place: nothing is remembered of it.
    pub(super) fn new_flow(&mut self, id: FlowId) {
        let flow = id.0 as usize;
        if std::mem::take(&mut self.used_flows[flow]) {
            let width = self.flow_columns * 2;
            wipe(&mut self.flows[flow * width..(flow + 1) * width]);
        }
    }

    /// Takes over what an action remembered in another table, of the first so many flows.
    pub(super) fn inherit(&mut self, cells: Cells, old: &Self, former: Cells, flows: usize) {
        let (to, from) = (cells.first as usize, former.first as usize);
        let count = cells.count as usize;
        let mut take = |row: usize| {
            let (new, width, old, old_width) = if cells.per_link {
                (&mut self.links, self.link_columns, &old.links, old.link_columns)
            } else {
                (&mut self.flows, self.flow_columns, &old.flows, old.flow_columns)
            };
            let (to, from) = (row * width + to, row * old_width + from);
            let words = new[to..to + count].iter_mut().zip(&old[from..from + count]);
            words.filter(|(new, old)| new != old).for_each(|(new, old)| *new = *old);
        };
        if count == 0 {
            return;
        }
        if cells.per_link {
            for link in (0..old.used_links.len()).filter(|&link| old.used_links[link]) {
                take(link);
                self.used_links[link] = true;
            }
            return;
        }
        for flow in (0..flows).filter(|&flow| old.used_flows[flow]) {
            take(flow * 2);
            take(flow * 2 + 1);
            self.used_flows[flow] = true;
        }
    }
}

/// Zeroes without touching the memory of what is zero.
pub(super) fn wipe<T: Copy + Default + PartialEq>(words: &mut [T]) {
    let zero = T::default();
    words.iter_mut().filter(|word| **word != zero).for_each(|word| *word = zero);
}
