//! Which order explains the answers? Wing and Gong's search with Lowe's memory.
//!
//! Operations are tried in every order that respects time: one that ended before another began
//! comes first. A configuration (the set of operations done, and the state they led to) that
//! was tried once is not tried again. Sets are remembered by a 128-bit sum of a number for each
//! operation, states by their number: that two sets of one history have the same sum by chance
//! is less likely than 2^-70 for the most configurations that a budget allows.
//!
//! An unknown operation may be left out: the search is over when every answered one is placed.

use super::Budget;
use super::operation::Operation;
use super::state::{Action, State, Val, step};
use super::zones;
use std::collections::{HashMap, HashSet};

/// Elements that all states together may have for each configuration of the budget.
const CELLS: usize = 8;

/// The outcome of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none.
    None,
    /// The budget was used up before either was sure.
    Exhausted,
}

/// Whether an order exists.
pub(super) fn decide(operations: &[&Operation], initial: &State, budget: Budget) -> Found {
    match zones::decide(operations, initial) {
        Some(true) => Found::Order,
        Some(false) => Found::None,
        None => search(&without_unseen(operations), initial, budget),
    }
}

/// The same, always by search.
pub(super) fn search(operations: &[&Operation], initial: &State, budget: Budget) -> Found {
    Search::new(operations, initial).run(budget)
}

/// An event of the list that the search works on: an operation's beginning or end.
#[derive(Debug, Clone, Copy)]
struct Node {
    operation: usize,
    is_end: bool,
    before: usize,
    after: usize,
}

struct Search<'o> {
    operations: &'o [&'o Operation],
    /// A list through the events that are not yet placed, in order of time; 0 is its head.
    nodes: Vec<Node>,
    begin_of: Vec<usize>,
    end_of: Vec<Option<usize>>,
    states: Vec<State>,
    numbers: HashMap<State, u32>,
    tried: HashSet<(u128, u32)>,
    /// Sizes of all states together: those of sets and lists are as long as their elements.
    cells: usize,
    /// What reads saw of a list that only grows or a set that only grows, shortest first.
    seen: Vec<&'o [u32]>,
}

impl<'o> Search<'o> {
    fn new(operations: &'o [&'o Operation], initial: &State) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
        for (i, operation) in operations.iter().enumerate() {
            events.push((operation.begin, false, i));
            events.extend(operation.end.map(|end| (end, true, i)));
        }
        // At one moment beginnings come before ends: both orders are possible then.
        events.sort_unstable();
        let last = events.len();
        let mut nodes = vec![Node { operation: usize::MAX, is_end: false, before: 0, after: 1 }];
        let mut begin_of = vec![0; operations.len()];
        let mut end_of = vec![None; operations.len()];
        for (i, (_, is_end, operation)) in events.into_iter().enumerate() {
            let at = i + 1;
            nodes.push(Node { operation, is_end, before: i, after: at + 1 });
            if is_end {
                end_of[operation] = Some(at);
            } else {
                begin_of[operation] = at;
            }
        }
        // Past the last event the list is over.
        nodes[last].after = usize::MAX;
        let mut seen: Vec<&[u32]> = operations
            .iter()
            .filter(|operation| operation.end.is_some())
            .filter_map(|operation| match &operation.action {
                Action::ReadList(elements) | Action::ReadSet(elements) => Some(&elements[..]),
                _ => None,
            })
            .collect();
        seen.sort_by_key(|elements| elements.len());
        Self {
            operations,
            nodes,
            begin_of,
            end_of,
            states: vec![initial.clone()],
            numbers: HashMap::from([(initial.clone(), 0)]),
            tried: HashSet::new(),
            cells: 0,
            seen,
        }
    }

    fn run(mut self, budget: Budget) -> Found {
        let mut left = self.operations.iter().filter(|o| o.end.is_some()).count();
        let mut placed: Vec<(usize, u32)> = Vec::new();
        let (mut set, mut state) = (0_u128, 0_u32);
        let mut at = self.first();
        while left > 0 {
            let node = self.nodes.get(at).copied();
            match node {
                Some(node) if !node.is_end => {
                    let next = self.step(state, node.operation);
                    let with = set ^ name(node.operation);
                    if let Some(next) = next
                        && self.tried.insert((with, next))
                    {
                        let most = budget.configurations;
                        if self.tried.len() > most || self.cells > most.saturating_mul(CELLS) {
                            return Found::Exhausted;
                        }
                        placed.push((node.operation, state));
                        (set, state) = (with, next);
                        left -= usize::from(self.operations[node.operation].end.is_some());
                        self.take_out(node.operation);
                        at = self.first();
                    } else {
                        at = node.after;
                    }
                }
                // An end that comes before any beginning left, or no event: this order fails.
                _ => {
                    let Some((operation, before)) = placed.pop() else { return Found::None };
                    set ^= name(operation);
                    state = before;
                    left += usize::from(self.operations[operation].end.is_some());
                    self.put_back(operation);
                    at = self.nodes[self.begin_of[operation]].after;
                }
            }
        }
        Found::Order
    }

    fn first(&self) -> usize {
        self.nodes[0].after
    }

    /// Whether an answered read forbids this addition. Lists and sets only grow, so a read that
    /// saw more than there is now is still to come, and what is added now must be in it: of a
    /// list, at this very place. Without this, appends between two reads are tried in every order.
    fn is_forbidden(&self, state: u32, action: &Action) -> bool {
        match (&self.states[state as usize], action) {
            (State::List(now), Action::Append(element)) => {
                let longest = self.seen.last().and_then(|elements| elements.get(now.len()));
                longest.is_some_and(|next| next != element)
            }
            (State::Set(now), Action::Put(element)) if now.binary_search(element).is_err() => {
                let at = self.seen.partition_point(|elements| elements.len() <= now.len());
                let larger = self.seen.get(at);
                larger.is_some_and(|elements| elements.binary_search(element).is_err())
            }
            _ => false,
        }
    }

    fn step(&mut self, state: u32, operation: usize) -> Option<u32> {
        if self.is_forbidden(state, &self.operations[operation].action) {
            return None;
        }
        let next = step(&self.states[state as usize], &self.operations[operation].action)?;
        if let Some(number) = self.numbers.get(&next) {
            return Some(*number);
        }
        let number = self.states.len() as u32;
        self.cells += next.size();
        self.states.push(next.clone());
        self.numbers.insert(next, number);
        Some(number)
    }

    fn take_out(&mut self, operation: usize) {
        for at in [Some(self.begin_of[operation]), self.end_of[operation]].into_iter().flatten() {
            let Node { before, after, .. } = self.nodes[at];
            self.nodes[before].after = after;
            if let Some(node) = self.nodes.get_mut(after) {
                node.before = before;
            }
        }
    }

    /// The reverse of [`Search::take_out`], in the reverse order.
    fn put_back(&mut self, operation: usize) {
        for at in [self.end_of[operation], Some(self.begin_of[operation])].into_iter().flatten() {
            let Node { before, after, .. } = self.nodes[at];
            self.nodes[before].after = at;
            if let Some(node) = self.nodes.get_mut(after) {
                node.before = at;
            }
        }
    }
}

/// The number that stands for an operation in a set's sum: splitmix64, twice.
fn name(operation: usize) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let low = mix(operation as u64);
    (u128::from(mix(low ^ 0x5851_f42d_4c95_7f2d)) << 64) | u128::from(low)
}

/// The operations without unknown changes that nobody can have seen.
///
/// Of a register: what comes behind such a change, in any order, is another change or the end;
/// so the order explains the same answers without it. Only where nothing tells that a register
/// is *not* something. Of a set or list: a read behind it would have the element, so all reads
/// come before it.
pub(super) fn without_unseen<'o>(operations: &[&'o Operation]) -> Vec<&'o Operation> {
    let plain = |o: &&Operation| {
        matches!(o.action, Action::Read(_) | Action::Write(Some(_)) | Action::Cas(..))
    };
    let mut kept = operations.to_vec();
    if let Some(seen) = elements_seen(operations) {
        kept.retain(|o| match o.action {
            Action::Put(element) | Action::Append(element) => {
                o.end.is_some() || seen.contains(&element)
            }
            _ => true,
        });
        return kept;
    }
    if !kept.iter().all(plain) {
        return kept;
    }
    loop {
        let seen: HashSet<Val> = kept
            .iter()
            .filter_map(|o| match o.action {
                Action::Read(value) | Action::Cas(value, _) => Some(value),
                _ => None,
            })
            .collect();
        let before = kept.len();
        kept.retain(|o| match o.action {
            Action::Write(value) | Action::Cas(_, value) => {
                o.end.is_some() || seen.contains(&value)
            }
            _ => true,
        });
        if kept.len() == before {
            return kept;
        }
    }
}

/// The elements in any read, where all operations are of a set or list.
fn elements_seen(operations: &[&Operation]) -> Option<HashSet<u32>> {
    let mut seen = HashSet::new();
    for operation in operations {
        match &operation.action {
            Action::ReadSet(elements) | Action::ReadList(elements) => {
                seen.extend(elements.iter().copied());
            }
            Action::Put(_) | Action::Append(_) => {}
            _ => return None,
        }
    }
    Some(seen)
}
