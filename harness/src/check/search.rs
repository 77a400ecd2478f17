//! Which order explains the answers? Wing and Gong's search with Lowe's memory.
//!
//! Operations are tried in every order that respects time: one that ended before another began
//! comes first. A configuration (the set of operations done, and the state they led to) that
//! was tried once is not tried again. It is remembered as a 128-bit sum of a number for each
//! operation and one for the state: that two configurations of one history have the same sum by
//! chance is less likely than 2^-70 for the most that a budget allows.
//!
//! An unknown operation may be left out: the search is over when every answered one is placed.
//! Three kinds of orders are passed over, each since another one does as well:
//!
//! - A read that fits now is placed now. In any order that goes on from here it may come first:
//!   it changes nothing, and whatever has to come before it is placed already.
//! - Of two operations that do the same, the one that began and ended first comes first: in an
//!   order with the other first, the two may change places.
//! - Nothing that was unknown is followed at once by what sets everything anew: nobody saw it, so
//!   it may be left out.

use super::Budget;
use super::operation::Operation;
use super::state::{Action, State, Val, step};
use super::zones;
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use std::borrow::Cow;
use std::collections::HashSet;

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
pub(super) fn decide(operations: &[&Operation<'_>], initial: &State, budget: Budget) -> Found {
    match zones::decide(operations, initial) {
        Some(true) => Found::Order,
        Some(false) => Found::None,
        None => search(&without_unseen(operations), initial, budget),
    }
}

/// The same, always by search.
pub(super) fn search(operations: &[&Operation<'_>], initial: &State, budget: Budget) -> Found {
    Search::new(operations, initial).run(budget)
}

/// An event of the list that the search works on: an operation's beginning or end.
#[derive(Debug, Clone, Copy)]
struct Node {
    operation: u32,
    is_end: bool,
    before: u32,
    after: u32,
}

/// Past the last event.
const NOWHERE: u32 = u32::MAX;

/// An operation that has its place.
#[derive(Debug, Clone, Copy)]
struct Placed {
    operation: u32,
    /// The state before it.
    state: u32,
    /// Whether nothing else had to be tried in its stead.
    forced: bool,
}

struct Search<'o> {
    operations: &'o [&'o Operation<'o>],
    /// A list through the events that are not yet placed, in order of time; 0 is its head.
    nodes: Vec<Node>,
    begin_of: Vec<u32>,
    end_of: Vec<u32>,
    /// The operation that does the same as this one, and has to come first if both do.
    twin_of: Vec<Option<u32>>,
    is_placed: Vec<bool>,
    placed: Vec<Placed>,
    set: u128,
    state: u32,
    /// Answered operations that are not placed yet.
    left: usize,
    states: IndexSet<State, FxBuildHasher>,
    tried: FxHashSet<u128>,
    /// What all states take.
    state_bytes: usize,
    /// What reads saw of a list that only grows or a set that only grows, shortest first.
    seen: Vec<&'o [u32]>,
}

impl<'o> Search<'o> {
    fn new(operations: &'o [&'o Operation<'o>], initial: &State) -> Self {
        let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(operations.len() * 2);
        for (i, operation) in operations.iter().enumerate() {
            events.push((operation.begin, false, i as u32));
            events.extend(operation.end.map(|end| (end, true, i as u32)));
        }
        // At one moment beginnings come before ends: both orders are possible then.
        events.sort_unstable();
        let last = events.len();
        let head = Node { operation: NOWHERE, is_end: false, before: 0, after: 1 };
        let mut nodes = Vec::with_capacity(last + 1);
        nodes.push(head);
        let mut begin_of = vec![0; operations.len()];
        let mut end_of = vec![NOWHERE; operations.len()];
        for (i, (_, is_end, operation)) in events.into_iter().enumerate() {
            let at = i as u32 + 1;
            nodes.push(Node { operation, is_end, before: i as u32, after: at + 1 });
            if is_end {
                end_of[operation as usize] = at;
            } else {
                begin_of[operation as usize] = at;
            }
        }
        nodes[last].after = NOWHERE;
        Self {
            operations,
            nodes,
            begin_of,
            end_of,
            twin_of: twins(operations),
            is_placed: vec![false; operations.len()],
            placed: Vec::with_capacity(operations.len()),
            set: 0,
            state: 0,
            left: operations.iter().filter(|operation| operation.end.is_some()).count(),
            states: IndexSet::from_iter([initial.clone()]),
            tried: FxHashSet::default(),
            state_bytes: 0,
            seen: seen(operations),
        }
    }

    fn run(mut self, budget: Budget) -> Found {
        self.place_reads();
        let mut at = self.first();
        while self.left > 0 {
            let node = self.nodes.get(at as usize).copied().filter(|node| !node.is_end);
            let Some(node) = node else {
                // An end that comes before any beginning left, or no event: this order fails.
                let Some(next) = self.undo() else { return Found::None };
                at = next;
                continue;
            };
            let Some(next) = self.step(node.operation) else {
                at = node.after;
                continue;
            };
            self.place(node.operation, next, false);
            self.place_reads();
            let configuration = self.set ^ name(u64::from(self.state) | 1 << 63);
            if self.tried.insert(configuration) {
                let states = budget.configurations.saturating_mul(Budget::STATE_BYTES);
                if self.tried.len() > budget.configurations || self.state_bytes > states {
                    return Found::Exhausted;
                }
                at = self.first();
            } else {
                at = self.undo().expect("something was placed just now");
            }
        }
        Found::Order
    }

    fn first(&self) -> u32 {
        self.nodes[0].after
    }

    /// Places every read that fits the state, and whose time has come.
    fn place_reads(&mut self) {
        let mut at = self.first();
        while let Some(node) = self.nodes.get(at as usize).copied()
            && !node.is_end
        {
            let action = &self.operations[node.operation as usize].action;
            let fits =
                action.only_reads() && step(&self.states[self.state as usize], action).is_some();
            if fits {
                self.place(node.operation, self.state, true);
                // Its own end, which may have been next, is gone, too.
                at = self.nodes[node.before as usize].after;
            } else {
                at = node.after;
            }
        }
    }

    fn place(&mut self, operation: u32, next: u32, forced: bool) {
        self.placed.push(Placed { operation, state: self.state, forced });
        self.is_placed[operation as usize] = true;
        self.set ^= name(u64::from(operation));
        self.state = next;
        self.left -= usize::from(self.operations[operation as usize].end.is_some());
        self.take_out(operation);
    }

    /// Takes back the last operation that was chosen, and what followed from it; where to go on.
    fn undo(&mut self) -> Option<u32> {
        loop {
            let Placed { operation, state, forced } = self.placed.pop()?;
            self.is_placed[operation as usize] = false;
            self.set ^= name(u64::from(operation));
            self.state = state;
            self.left += usize::from(self.operations[operation as usize].end.is_some());
            self.put_back(operation);
            if !forced {
                return Some(self.nodes[self.begin_of[operation as usize] as usize].after);
            }
        }
    }

    /// Whether another order does as well as any in which this operation comes now.
    fn is_needless(&self, operation: u32) -> bool {
        let twin = self.twin_of[operation as usize];
        if twin.is_some_and(|twin| !self.is_placed[twin as usize]) {
            return true;
        }
        let action = &self.operations[operation as usize].action;
        let sets_anew =
            matches!(action, Action::Write(Some(_)) | Action::Remove | Action::PutText(_));
        sets_anew
            && self
                .placed
                .last()
                .is_some_and(|last| self.operations[last.operation as usize].end.is_none())
    }

    /// Whether an answered read forbids this addition. Lists and sets only grow, so a read that
    /// saw more than there is now is still to come, and what is added now must be in it: of a
    /// list, at this very place. Without this, appends between two reads are tried in every order.
    fn is_forbidden(&self, action: &Action) -> bool {
        match (&self.states[self.state as usize], action) {
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

    /// The state that this operation leads to; none where it cannot come now, or need not.
    fn step(&mut self, operation: u32) -> Option<u32> {
        let action = &self.operations[operation as usize].action;
        if self.is_needless(operation) || self.is_forbidden(action) {
            return None;
        }
        match step(&self.states[self.state as usize], action)? {
            Cow::Borrowed(_) => Some(self.state),
            Cow::Owned(next) => {
                let bytes = next.bytes();
                let (number, is_new) = self.states.insert_full(next);
                self.state_bytes += if is_new { bytes } else { 0 };
                Some(number as u32)
            }
        }
    }

    fn take_out(&mut self, operation: u32) {
        let operation = operation as usize;
        for at in [self.begin_of[operation], self.end_of[operation]] {
            let Some(Node { before, after, .. }) = self.nodes.get(at as usize).copied() else {
                continue;
            };
            self.nodes[before as usize].after = after;
            if let Some(node) = self.nodes.get_mut(after as usize) {
                node.before = before;
            }
        }
    }

    /// The reverse of [`Search::take_out`], in the reverse order.
    fn put_back(&mut self, operation: u32) {
        let operation = operation as usize;
        for at in [self.end_of[operation], self.begin_of[operation]] {
            let Some(Node { before, after, .. }) = self.nodes.get(at as usize).copied() else {
                continue;
            };
            self.nodes[before as usize].after = at;
            if let Some(node) = self.nodes.get_mut(after as usize) {
                node.before = at;
            }
        }
    }
}

/// What reads saw of a list or set, shortest first.
fn seen<'o>(operations: &'o [&'o Operation<'o>]) -> Vec<&'o [u32]> {
    let answered = operations.iter().filter(|operation| operation.end.is_some());
    let mut seen: Vec<&[u32]> = answered
        .filter_map(|operation| match &operation.action {
            Action::ReadList(elements) | Action::ReadSet(elements) => Some(&elements[..]),
            _ => None,
        })
        .collect();
    seen.sort_by_key(|elements| elements.len());
    seen
}

/// For each change the last one before it that does the same and was not answered later.
fn twins(operations: &[&Operation<'_>]) -> Vec<Option<u32>> {
    let mut order: Vec<u32> = (0..operations.len() as u32).collect();
    order.sort_by_key(|i| operations[*i as usize].begin);
    let mut twins = vec![None; operations.len()];
    let mut last: FxHashMap<&Action, u32> = FxHashMap::default();
    for i in order {
        let operation = operations[i as usize];
        if operation.action.only_reads() {
            continue;
        }
        let former = last.insert(&operation.action, i);
        let until = |i: u32| operations[i as usize].end.unwrap_or(u64::MAX);
        twins[i as usize] = former.filter(|former| until(*former) <= until(i));
    }
    twins
}

/// The number that stands for an operation or a state in a configuration: splitmix64, twice.
fn name(number: u64) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let low = mix(number);
    (u128::from(mix(low ^ 0x5851_f42d_4c95_7f2d)) << 64) | u128::from(low)
}

/// The operations without unknown changes that nobody can have seen.
///
/// Of a register: what comes behind such a change, in any order, is another change or the end;
/// so the order explains the same answers without it. Only where nothing tells that a register
/// is *not* something. Of a set or list: a read behind it would have the element, so all reads
/// come before it.
pub(super) fn without_unseen<'o, 'c>(operations: &[&'o Operation<'c>]) -> Vec<&'o Operation<'c>> {
    let plain = |o: &&Operation<'_>| {
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
fn elements_seen(operations: &[&Operation<'_>]) -> Option<HashSet<u32>> {
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
