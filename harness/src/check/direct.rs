//! Questions that need no search: what was acknowledged and is missing, what is there and was
//! never asked for, what was seen and is gone.

use super::evidence::{Evidence, Line, shortened, text};
use super::operation::{Object, Operation};
use super::state::{Action, Listing};
use super::{Check, Verdict};
use crate::history::{Calls, Workload};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// A contradiction within an object: what is wrong, and the calls that show it.
type Wrong<'o> = Option<(String, Vec<&'o Operation<'o>>)>;

fn check<'o>(
    name: &'static str,
    objects: &'o [Object<'o>],
    look: impl Fn(&'o Object<'o>) -> Wrong<'o>,
) -> Check {
    let found = objects.iter().find_map(|object| Some((object, look(object)?)));
    let verdict = match found {
        None => Verdict::Holds,
        Some((object, (summary, shown))) => {
            let last = shown.len().saturating_sub(1);
            let lines = shown.into_iter().enumerate().map(|(i, operation)| Line {
                process: operation.call.process,
                node: operation.call.node.as_deref().map(str::to_owned),
                text: text(operation.call, operation.end.is_some()),
                begin: operation.begin,
                end: operation.end,
                blamed: i == last,
            });
            let object = object.name.clone();
            Verdict::Violated { evidence: Evidence { object, summary, lines: lines.collect() } }
        }
    };
    let operations = objects.iter().map(|object| object.operations.len()).sum();
    Check { name: name.into(), verdict, operations, objects: objects.len() }
}

/// Reads that are promised to be stale at worst: what they answer was there once, or at least
/// somebody had asked for it by then. None where no such read is promised.
pub(super) fn stale_reads(calls: &Calls, objects: &[Object<'_>]) -> Option<Check> {
    let any = objects.iter().flat_map(|o| &o.operations).any(|operation| !operation.judged);
    let applies = matches!(calls.header.workload, Workload::Register | Workload::Files);
    (any && applies).then(|| check("stale reads", objects, never_there))
}

/// What a read can answer with, and somebody has to have asked for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Thing {
    Value(u32),
    Content(u32, u32),
    /// A file or directory, whatever is in it.
    Path(u32),
}

fn never_there<'o>(object: &'o Object<'o>) -> Wrong<'o> {
    let mut begun: HashMap<Thing, &Operation<'_>> = HashMap::new();
    for operation in &object.operations {
        let things: &[Thing] = match operation.action {
            Action::Write(Some(value)) | Action::Cas(_, Some(value)) => &[Thing::Value(value)],
            Action::Make(path) => &[Thing::Path(path)],
            Action::WriteFile(path, content) => &[Thing::Content(path, content), Thing::Path(path)],
            _ => &[],
        };
        for thing in things {
            begun.entry(thing.clone()).or_insert(operation);
        }
    }
    object.operations.iter().find_map(|read| {
        let by_then = |thing: &Thing| match begun.get(thing) {
            None => Some(("a read of what nobody wrote", vec![read])),
            Some(write) if read.end? < write.begin => {
                Some(("a read of what was written only later", vec![*write, read]))
            }
            Some(_) => None,
        };
        let (what, shown) = match &read.action {
            Action::Read(Some(value)) => by_then(&Thing::Value(*value))?,
            Action::ReadFile(path, Some(content)) => by_then(&Thing::Content(*path, *content))?,
            Action::List(Listing { directory, names: Some(names), below }) => {
                let absent = directory.and_then(|path| by_then(&Thing::Path(path)));
                // A name is there by any path that shows it.
                let mut wrong = names.iter().filter_map(|name| {
                    let paths = below.iter().filter(|(_, shows)| *shows == name);
                    let mut found = paths.map(|(path, _)| by_then(&Thing::Path(*path)));
                    let none = ("a listing of what nobody made", vec![read]);
                    found.try_fold(none, |_, wrong| wrong)
                });
                absent.or_else(|| wrong.next())?
            }
            _ => return None,
        };
        Some((what.to_owned(), shown))
    })
}

/// A set: acknowledged and missing is lost, never asked for is a phantom, seen and then gone is
/// a violation.
pub(super) fn set(objects: &[Object<'_>]) -> Check {
    check("set", objects, |object| {
        contents(object, |action| match action {
            Action::ReadSet(elements) => Some(elements),
            _ => None,
        })
    })
}

/// A list: the same, and an element appears once, and every read begins like every longer one.
pub(super) fn append(objects: &[Object<'_>]) -> Check {
    check("append", objects, |object| {
        let list = |action: &'_ Action| match action {
            Action::ReadList(elements) => Some(elements.clone()),
            _ => None,
        };
        let reads = || object.operations.iter().filter_map(|o| Some((o, list(&o.action)?)));
        let mut appended: HashMap<u32, usize> = HashMap::new();
        for operation in &object.operations {
            if let Action::Append(element) = operation.action {
                *appended.entry(element).or_default() += 1;
            }
        }
        let too_often = reads().find(|(_, elements)| {
            let mut there: HashMap<u32, usize> = HashMap::new();
            for element in elements {
                *there.entry(*element).or_default() += 1;
            }
            there.iter().any(|(e, n)| *n > 1 && *n > appended.get(e).copied().unwrap_or(0))
        });
        if let Some((read, _)) = too_often {
            let what = "an element is there more often than anybody appended it";
            return Some((what.into(), vec![read]));
        }
        let longest = reads().max_by_key(|(_, elements)| elements.len());
        if let Some((long, all)) = longest
            && let Some((read, _)) = reads().find(|(_, elements)| !all.starts_with(elements))
        {
            let what = "two reads disagree about the order: neither is how the other begins";
            return Some((what.into(), vec![long, read]));
        }
        contents(object, |action| match action {
            Action::ReadList(elements) => Some(elements),
            _ => None,
        })
    })
}

fn contents<'o>(
    object: &'o Object<'o>,
    read: impl Fn(&'o Action) -> Option<&'o Vec<u32>>,
) -> Wrong<'o> {
    // Who asked first for an element, and, with the earliest moment from which every read must
    // have it, who says so.
    let mut added: HashMap<u32, &Operation<'_>> = HashMap::new();
    let mut must: HashMap<u32, (u64, &Operation<'_>)> = HashMap::new();
    for operation in &object.operations {
        let (Action::Put(element) | Action::Append(element)) = operation.action else { continue };
        added.entry(element).or_insert(operation);
        if let Some(end) = operation.end {
            let first = must.entry(element).or_insert((end, operation));
            if end < first.0 {
                *first = (end, operation);
            }
        }
    }
    let mut reads: Vec<(&Operation<'_>, &Vec<u32>)> =
        object.operations.iter().filter_map(|o| Some((o, read(&o.action)?))).collect();
    reads.sort_by_key(|(o, _)| o.end);
    for (by, elements) in &reads {
        let Some(end) = by.end else { continue };
        for element in *elements {
            match added.get(element) {
                None => {
                    let which = phantom(object, by);
                    let what = format!(
                        "{which} is there, and nobody added it, unless that was surely refused"
                    );
                    return Some((what, vec![by]));
                }
                Some(add) if end < add.begin => {
                    let which = shortened(add.call.asked.to_string());
                    let what = format!("{which} was seen before anybody asked to add it");
                    return Some((what, vec![*by, add]));
                }
                Some(_) => {}
            }
            let seen = must.entry(*element).or_insert((end, by));
            if end < seen.0 {
                *seen = (end, by);
            }
        }
    }
    // Of a read that may be stale nothing can be missing.
    for (by, elements) in reads.into_iter().filter(|(by, _)| by.judged) {
        let has: HashSet<u32> = elements.iter().copied().collect();
        let lost = must.iter().filter(|(e, (since, _))| *since < by.begin && !has.contains(*e));
        if let Some((element, (_, says))) = lost.min_by_key(|(_, (since, _))| *since) {
            let add = added.get(element).copied();
            let which = add.map_or("an element".into(), |add| add.call.asked.to_string());
            let which = shortened(which);
            let what = if says.action.only_reads() {
                format!("{which} was seen, and a later read does not have it: it is gone")
            } else {
                format!("{which} was acknowledged, and a later read does not have it: it was lost")
            };
            let mut shown: Vec<&Operation<'_>> = add.into_iter().collect();
            if says.action.only_reads() {
                shown.push(says);
            }
            shown.push(by);
            return Some((what, shown));
        }
    }
    None
}

/// The element of a read's answer that nobody is known to have added, for people: the answer
/// may be too long to be shown whole.
fn phantom(object: &Object<'_>, read: &Operation<'_>) -> String {
    let adds = object.operations.iter().filter(|o| !o.action.only_reads());
    let asked: HashSet<&Value> = adds.map(|o| &o.call.asked).collect();
    let mut elements = read.call.answer.as_array().into_iter().flatten();
    let found = elements.find(|element| !asked.contains(element));
    found.map_or("an element".into(), |element| shortened(element.to_string()))
}

/// A sum: at least what was surely added by then, at most what may have been.
pub(super) fn counter(objects: &[Object<'_>]) -> Check {
    check("counter", objects, |object| {
        let adds: Vec<(&Operation<'_>, i64)> = object
            .operations
            .iter()
            .filter_map(|o| match o.action {
                Action::Add(value) => Some((o, value)),
                _ => None,
            })
            .collect();
        object.operations.iter().find_map(|read| {
            let (Action::ReadSum(sum), Some(end)) = (&read.action, read.end) else { return None };
            let (mut least, mut most) = (0, 0);
            for (add, value) in &adds {
                // A read that may be stale may miss any of them.
                if read.judged && add.end.is_some_and(|added| added < read.begin) {
                    least += value;
                    most += value;
                } else if add.begin <= end {
                    least += (*value).min(0);
                    most += (*value).max(0);
                }
            }
            (!(least..=most).contains(sum)).then(|| {
                let what = format!(
                    "a sum of {sum} was read; what was added by then makes {least} at least and \
                     {most} at most"
                );
                (what, vec![read])
            })
        })
    })
}

/// What was acknowledged is there at the end, or something that came later.
pub(super) fn durable(workload: Workload, objects: &[Object<'_>]) -> Option<Check> {
    let finals = objects.iter().flat_map(|o| &o.operations).any(|o| o.call.is_final && o.judged);
    let applies = matches!(workload, Workload::Register | Workload::Set | Workload::Append);
    (finals && applies).then(|| check("durable", objects, lost_at_the_end))
}

fn lost_at_the_end<'o>(object: &'o Object<'o>) -> Wrong<'o> {
    let finals = object.operations.iter().filter(|o| o.call.is_final && o.judged);
    finals.into_iter().find_map(|read| {
        let all = || object.operations.iter();
        let acknowledged = || all().filter(|o| o.end.is_some_and(|end| end < read.begin));
        let lost = match &read.action {
            Action::ReadSet(there) | Action::ReadList(there) => acknowledged().find(
                |o| matches!(&o.action, Action::Put(e) | Action::Append(e) if !there.contains(e)),
            ),
            Action::Read(value) => {
                // A removal may explain that nothing is there; it has no value to be found by.
                if all().any(|o| matches!(o.action, Action::Write(None) | Action::Remove)) {
                    return None;
                }
                let wrote = |o: &&Operation<'_>| match o.action {
                    Action::Write(written) | Action::Cas(_, written) => written == *value,
                    _ => false,
                };
                // Several may have written it, and the last of them counts; one that is
                // unknown may have come at any time.
                let until =
                    all().filter(wrote).try_fold(0, |until, source| Some(source.end?.max(until)));
                acknowledged().find(|o| {
                    let writes = matches!(o.action, Action::Write(_) | Action::Cas(..));
                    writes && !wrote(o) && until.is_some_and(|until| until < o.begin)
                })
            }
            _ => None,
        };
        lost.map(|lost| {
            let what = "a change was acknowledged; at the end neither it is there nor anything \
                        that came later";
            (what.into(), vec![lost, read])
        })
    })
}
