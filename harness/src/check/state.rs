//! What an object can be, and what an operation makes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value as a number; none for absent.
pub(super) type Val = Option<u32>;

/// What was done, or answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A register was read.
    Read(Val),
    /// A register was set; to none: removed, and it was there.
    Write(Val),
    /// A register was removed, and whether it was there is not known.
    Remove,
    /// A register that was this was set to that.
    Cas(Val, Val),
    /// A register was found to be something else than this.
    IsNot(Val),
    /// A text was read.
    ReadText(String),
    /// A text was set.
    PutText(String),
    /// A text was added to.
    AddText(String),
    /// A list was read.
    ReadList(Vec<u32>),
    /// An element was added to a list.
    Append(u32),
    /// A set was read; sorted.
    ReadSet(Vec<u32>),
    /// An element was put into a set.
    Put(u32),
    /// A sum was read.
    ReadSum(i64),
    /// Something was added to a sum.
    Add(i64),
    /// A directory was made that was absent.
    Make(u32),
    /// A directory was found to be there.
    IsThere(u32),
    /// A file was written.
    WriteFile(u32, u32),
    /// A file was read.
    ReadFile(u32, Val),
    /// A file was removed that was there.
    RemoveFile(u32),
    /// A file was removed, and whether it was there is not known.
    RemoveAnyFile(u32),
    /// A directory was listed.
    List(Listing),
}

/// What a listing saw.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Listing {
    /// The directory; none for the root, which always is there.
    pub(super) directory: Option<u32>,
    /// The names in it, sorted; none where it was absent.
    pub(super) names: Option<Vec<u32>>,
    /// Every path of the history that lies below it, and the name that shows it there: of what
    /// lies deeper only the first name is in this directory.
    pub(super) below: Arc<BTreeMap<u32, u32>>,
}

impl Listing {
    fn is_of(&self, tree: &BTreeMap<u32, u32>) -> bool {
        let there = self.directory.is_none_or(|directory| tree.contains_key(&directory));
        let Some(names) = &self.names else { return !there };
        let mut shown: Vec<u32> =
            tree.keys().filter_map(|path| self.below.get(path).copied()).collect();
        shown.sort_unstable();
        shown.dedup();
        there && shown == *names
    }
}

/// An object at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// A register.
    Value(Val),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<u32>),
    /// A set, sorted.
    Set(Vec<u32>),
    /// A sum.
    Sum(i64),
    /// A tree: its files with their contents, and its directories with 0.
    Tree(BTreeMap<u32, u32>),
}

impl State {
    /// About how many bytes it takes, for bounds on memory.
    pub(super) fn bytes(&self) -> usize {
        let more = match self {
            Self::Value(_) | Self::Sum(_) => 0,
            Self::Text(text) => text.len(),
            Self::List(list) | Self::Set(list) => list.len() * 4,
            Self::Tree(paths) => 100 + paths.len() * 16,
        };
        size_of::<Self>() + 24 + more
    }
}

impl Action {
    /// Whether it changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        use Action::{IsNot, IsThere, List, Read, ReadFile, ReadList, ReadSet, ReadSum, ReadText};
        matches!(
            self,
            Read(_)
                | IsNot(_)
                | ReadText(_)
                | ReadList(_)
                | ReadSet(_)
                | ReadSum(_)
                | IsThere(_)
                | ReadFile(..)
                | List(_)
        )
    }
}

/// The state after an operation; none where it cannot happen in this state. Borrowed where it
/// stays the same.
pub(super) fn step<'s>(state: &'s State, action: &Action) -> Option<Cow<'s, State>> {
    let same = |holds: bool| holds.then_some(Cow::Borrowed(state));
    let becomes = |state: State| Some(Cow::Owned(state));
    match (state, action) {
        (State::Value(now), Action::Read(seen)) => same(now == seen),
        (State::Value(None), Action::Write(None)) => None,
        (State::Value(_), Action::Write(value)) => becomes(State::Value(*value)),
        (State::Value(_), Action::Remove) => becomes(State::Value(None)),
        (State::Value(now), Action::Cas(from, to)) if now == from => becomes(State::Value(*to)),
        (State::Value(now), Action::IsNot(value)) => same(now != value),
        (State::Text(now), Action::ReadText(seen)) => same(now == seen),
        (State::Text(_), Action::PutText(text)) => becomes(State::Text(text.clone())),
        (State::Text(now), Action::AddText(text)) => becomes(State::Text(format!("{now}{text}"))),
        (State::List(now), Action::Append(element)) => {
            becomes(State::List(now.iter().copied().chain([*element]).collect()))
        }
        (State::List(now), Action::ReadList(seen)) | (State::Set(now), Action::ReadSet(seen)) => {
            same(now == seen)
        }
        (State::Set(now), Action::Put(element)) => {
            let Err(at) = now.binary_search(element) else { return same(true) };
            let mut set = now.clone();
            set.insert(at, *element);
            becomes(State::Set(set))
        }
        (State::Sum(now), Action::ReadSum(seen)) => same(now == seen),
        (State::Sum(now), Action::Add(value)) => becomes(State::Sum(now.wrapping_add(*value))),
        (State::Tree(paths), action) => tree(state, paths, action),
        _ => None,
    }
}

fn tree<'s>(
    state: &'s State,
    paths: &BTreeMap<u32, u32>,
    action: &Action,
) -> Option<Cow<'s, State>> {
    let same = |holds: bool| holds.then_some(Cow::Borrowed(state));
    let with = |change: &dyn Fn(&mut BTreeMap<u32, u32>)| {
        let mut paths = paths.clone();
        change(&mut paths);
        Some(Cow::Owned(State::Tree(paths)))
    };
    match action {
        Action::Make(path) if paths.contains_key(path) => None,
        Action::Make(path) => with(&|paths| {
            paths.insert(*path, 0);
        }),
        Action::IsThere(path) => same(paths.contains_key(path)),
        Action::WriteFile(path, content) => with(&|paths| {
            paths.insert(*path, *content);
        }),
        Action::ReadFile(path, seen) => same(paths.get(path) == seen.as_ref()),
        Action::RemoveFile(path) if !paths.contains_key(path) => None,
        Action::RemoveAnyFile(path) if !paths.contains_key(path) => same(true),
        Action::RemoveFile(path) | Action::RemoveAnyFile(path) => with(&|paths| {
            paths.remove(path);
        }),
        Action::List(listing) => same(listing.is_of(paths)),
        _ => None,
    }
}
