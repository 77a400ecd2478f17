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
}

impl Memory {
    pub(super) fn new(flow_columns: usize, link_columns: usize, links: usize) -> Self {
        Self {
            flow_columns,
            link_columns,
            flows: vec![0; flow_columns * 2 * FLOWS_MAX],
            links: vec![0; link_columns * links],
        }
    }

    /// The words of an action for a packet; none where they are a flow's and it has none.
    #[inline]
    pub(super) fn of(&mut self, cells: Cells, facts: &Facts) -> Option<&mut [u64]> {
        let (first, count) = (cells.first as usize, cells.count as usize);
        if cells.per_link {
            let at = usize::from(facts.link.0) * self.link_columns + first;
            return self.links.get_mut(at..at + count);
        }
        let row = facts.flow?.0 as usize * 2 + usize::from(facts.direction);
        let at = row * self.flow_columns + first;
        self.flows.get_mut(at..at + count)
    }

    /// A flow takes a place: nothing is remembered of it.
    pub(super) fn new_flow(&mut self, id: FlowId) {
        let width = self.flow_columns * 2;
        let at = id.0 as usize * width;
        self.flows[at..at + width].fill(0);
    }

    /// Takes over what an action remembered in another table.
    pub(super) fn inherit(&mut self, cells: Cells, old: &Self, former: Cells, flows: usize) {
        let (to, from) = (cells.first as usize, former.first as usize);
        let (rows, width, old_width) = if cells.per_link {
            let rows = self.links.len() / self.link_columns.max(1);
            (rows, self.link_columns, old.link_columns)
        } else {
            (flows * 2, self.flow_columns, old.flow_columns)
        };
        let (new, old) = if cells.per_link {
            (&mut self.links, &old.links)
        } else {
            (&mut self.flows, &old.flows)
        };
        let count = cells.count as usize;
        for row in 0..rows {
            let (to, from) = (row * width + to, row * old_width + from);
            new[to..to + count].copy_from_slice(&old[from..from + count]);
        }
    }
}
