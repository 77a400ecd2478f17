//! What an object can be, and what an operation makes of it.

use std::collections::BTreeMap;

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
    Make,
    /// A directory was found to be there.
    IsThere,
    /// A file was written.
    WriteFile(u32, u32),
    /// A file was read.
    ReadFile(u32, Val),
    /// A file was removed that was there.
    RemoveFile(u32),
    /// A file was removed, and whether it was there is not known.
    RemoveAnyFile(u32),
    /// A directory was listed; sorted; none where it was absent.
    List(Option<Vec<u32>>),
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
    /// A directory: whether it is there, and the files under its name with their contents.
    Directory(bool, BTreeMap<u32, u32>),
}

impl State {
    /// How many elements it has, for bounds on memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Value(_) | Self::Sum(_) => 1,
            Self::Text(text) => 1 + text.len() / 8,
            Self::List(list) | Self::Set(list) => 1 + list.len() / 2,
            Self::Directory(_, files) => 1 + files.len() * 4,
        }
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
                | IsThere
                | ReadFile(..)
                | List(_)
        )
    }
}

/// The state after an operation; none where it cannot happen in this state.
pub(super) fn step(state: &State, action: &Action) -> Option<State> {
    let same = |holds: bool| holds.then(|| state.clone());
    match (state, action) {
        (State::Value(now), Action::Read(seen)) => same(now == seen),
        (State::Value(now), Action::Write(None)) => now.is_some().then_some(State::Value(None)),
        (State::Value(_), Action::Write(value)) => Some(State::Value(*value)),
        (State::Value(_), Action::Remove) => Some(State::Value(None)),
        (State::Value(now), Action::Cas(from, to)) => (now == from).then_some(State::Value(*to)),
        (State::Value(now), Action::IsNot(value)) => same(now != value),
        (State::Text(now), Action::ReadText(seen)) => same(now == seen),
        (State::Text(_), Action::PutText(text)) => Some(State::Text(text.clone())),
        (State::Text(now), Action::AddText(text)) => Some(State::Text(format!("{now}{text}"))),
        (State::List(now), Action::Append(element)) => {
            Some(State::List(now.iter().copied().chain([*element]).collect()))
        }
        (State::List(now), Action::ReadList(seen)) | (State::Set(now), Action::ReadSet(seen)) => {
            same(now == seen)
        }
        (State::Set(now), Action::Put(element)) => {
            let mut set = now.clone();
            if let Err(at) = set.binary_search(element) {
                set.insert(at, *element);
            }
            Some(State::Set(set))
        }
        (State::Sum(now), Action::ReadSum(seen)) => same(now == seen),
        (State::Sum(now), Action::Add(value)) => Some(State::Sum(now.wrapping_add(*value))),
        (State::Directory(there, files), action) => directory(*there, files, action),
        _ => None,
    }
}

fn directory(there: bool, files: &BTreeMap<u32, u32>, action: &Action) -> Option<State> {
    let with = |files: BTreeMap<u32, u32>| Some(State::Directory(there, files));
    let same = |holds: bool| holds.then(|| State::Directory(there, files.clone()));
    match action {
        Action::Make => (!there).then(|| State::Directory(true, files.clone())),
        Action::IsThere => same(there),
        Action::WriteFile(name, content) => {
            let mut files = files.clone();
            files.insert(*name, *content);
            with(files)
        }
        Action::ReadFile(name, seen) => same(files.get(name) == seen.as_ref()),
        Action::RemoveFile(name) => {
            let mut files = files.clone();
            files.remove(name)?;
            with(files)
        }
        Action::RemoveAnyFile(name) => {
            let mut files = files.clone();
            files.remove(name);
            with(files)
        }
        Action::List(None) => same(!there),
        Action::List(Some(names)) => {
            same(there && files.len() == names.len() && files.keys().eq(names.iter()))
        }
        _ => None,
    }
}
