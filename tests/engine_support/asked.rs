//! The words of a script that speak of Raft: what rules ask of messages, and the messages that a
//! packet completes.
//!
//! ```text
//! ... tcp data 100 says MESSAGE [and MESSAGE]...
//!   MESSAGE  KIND, term N, +N: entries of that term, granted, refused, group NAME
//! ```

use super::words::{Words, number, time, value};
use raftq::rules::table::{
    Bounds, Event, MessageFilter, On, OpenSet, OpenSides, Role, RoleWord, Rule, Table, Window,
};
use raftq::time::Nanos;
use raftq::wire::{Entry, Group, Groups, Kind, Message, Position};

/// The sides of a rule, where they are known only to the engine: it follows an event, or names
/// whoever leads.
pub(crate) fn sides(table: &Table, words: &[&str], rule: &str) -> Option<OpenSides> {
    let follows = |word: &&str| word.split(',').any(|name| name == "current");
    if !rule.contains(" on ") && !words.iter().any(follows) {
        return None;
    }
    let (from, to, both) = match *words {
        [from, "->", to] => (from, to, false),
        [from, "<>", to] => (from, to, true),
        _ => ("any", "any", false),
    };
    let (from, to) = (set(table, from), set(table, to));
    Some(OpenSides { from, to, both, node: OpenSet::default() })
}

pub(crate) fn set(table: &Table, names: &str) -> OpenSet {
    let mut set = OpenSet::default();
    for name in names.split(',') {
        let word = match name {
            "any" => {
                set.named |= (1 << table.nodes.len()) - 1;
                continue;
            }
            "rest" => {
                set.rest = true;
                continue;
            }
            "sender" => continue,
            "leader" => RoleWord::Leader,
            "followers" => RoleWord::Followers,
            "candidate" => RoleWord::Candidate,
            "minority" => RoleWord::Minority,
            "majority" => RoleWord::Majority,
            "current" => RoleWord::CurrentLeader,
            node => {
                set.named |= 1 << table.node(node).unwrap_or_else(|| panic!("no node {node}")).0;
                continue;
            }
        };
        set.words.push(word);
    }
    set
}

/// A condition of a rule on messages, or its event; says whether it was one.
pub(crate) fn condition(word: &str, words: &mut Words<'_, '_>, rule: &mut Rule) -> bool {
    if condition_on_message(word, words, rule) {
        return true;
    }
    let on = || On {
        event: Event::TermChange,
        after: Nanos::ZERO,
        lasts: None,
        times: Some(1),
        fires: false,
    };
    match word {
        "nth" => rule.filter.every_nth = Some(number(value(words)) as u32),
        "first" => rule.filter.first = Some(number(value(words)) as u32),
        "on" => {
            let word = value(words);
            let event = Event::ALL.into_iter().find(|event| event.word() == word);
            rule.on = Some(On { event: event.expect("an event"), ..on() });
        }
        "after" => rule.on.as_mut().expect("behind `on`").after = time(value(words)),
        "again" => {
            rule.on.as_mut().expect("behind `on`").times = Some(number(value(words)) as u32);
        }
        "at-once" => rule.on.as_mut().expect("behind `on`").fires = true,
        _ => return false,
    }
    true
}

fn condition_on_message(word: &str, words: &mut Words<'_, '_>, rule: &mut Rule) -> bool {
    let mut filter = rule.filter.message.unwrap_or(MessageFilter::ANY);
    match word {
        "about" => match value(words) {
            "any" => {}
            kinds => filter.kinds = kinds.split(',').fold(0, |bits, k| bits | 1 << kind(k) as u8),
        },
        "term" => {
            let term = number(value(words)) as u64;
            filter.term = Some(Bounds { least: term, most: term });
        }
        "entries" => {
            filter.entries = Some(Bounds { least: number(value(words)) as u64, most: u64::MAX });
        }
        "granted" => filter.granted = Some(true),
        "refused" => filter.granted = Some(false),
        "from-leader" => filter.from_role = Some(Role::Leader),
        "from-follower" => filter.from_role = Some(Role::Follower),
        "from-candidate" => filter.from_role = Some(Role::Candidate),
        "group" => filter.group = Some(Groups::of(value(words))),
        _ => return false,
    }
    rule.filter.message = Some(filter);
    true
}

/// What follows an event has no times of its own, but those between which it counts.
pub(crate) fn settle(rule: &mut Rule) {
    if let Some(on) = &mut rule.on {
        on.lasts = rule.window.lasts;
        let Window { at, until, .. } = rule.window;
        rule.window = Window { at, until, ..Window::ALWAYS };
    }
}

fn kind(word: &str) -> Kind {
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    kind.unwrap_or_else(|| panic!("{word} is no kind of message"))
}

/// The messages behind `says`, with their entries.
pub(crate) fn says(words: &[&str]) -> (Vec<Message>, Vec<Entry>) {
    let (mut messages, mut entries) = (Vec::new(), Vec::new());
    for words in words.split(|word| *word == "and").filter(|words| !words.is_empty()) {
        let mut message = Message::new(kind(words[0]));
        let mut words = words[1..].iter().copied().peekable();
        while let Some(word) = words.next() {
            match word {
                "term" => message.term = Some(number(value(&mut words)) as u64),
                "granted" => message.granted = Some(true),
                "refused" => message.granted = Some(false),
                "group" => message.group = Group::named(value(&mut words).as_bytes()),
                _ => {
                    let count = word.strip_prefix('+').unwrap_or_else(|| panic!("{word}?"));
                    message.entries = number(count) as u32;
                }
            }
        }
        let term = message.term.unwrap_or(0);
        let entry = |index| Entry { at: Position { index, term }, hash: 0 };
        entries.extend((0..u64::from(message.entries)).map(entry));
        messages.push(message);
    }
    (messages, entries)
}
