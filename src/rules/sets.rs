//! The node sets of rules: names to bits, and `rest` against the other side.

use super::diagnostic::{Diagnostic, Sink, nearest, quote};
use super::file::{Group, Named, NodeSet};
use super::groups::{Meaning, Names, SetArg};
use super::messages::Spoken;
use super::reach::Bits;
use super::roles::{CURRENT_LEADER, Roles};
use super::table::{Event, Node, OpenSet, RoleWord};
use std::collections::{HashMap, HashSet};

/// One side of a rule, as written and in which field.
#[derive(Clone, Copy)]
pub(super) struct Side<'s> {
    pub(super) set: Option<&'s NodeSet>,
    pub(super) field: &'static str,
}

/// Everything a rule may name.
pub(super) struct Sets<'a> {
    names: Names<'a>,
    groups: HashMap<&'a str, Meaning<'a>>,
    used: HashSet<&'a str>,
    /// Groups that were asked for; asking once is enough.
    asked: HashSet<&'a str>,
    /// Who leads, if somebody can tell.
    roles: Option<Roles>,
    /// Whether that was asked for since this was last set to false.
    pub(super) asked_roles: bool,
    /// Whether the cluster's messages are read.
    spoken: Spoken,
}

impl<'a> Sets<'a> {
    /// Resolves all groups; `files` are those of the files, the more important last.
    pub(super) fn new(
        nodes: &'a [Node],
        files: &[&'a Named<Group>],
        args: &'a [SetArg],
        (roles, spoken): (Option<Roles>, Spoken),
        sink: &mut Sink,
    ) -> Self {
        let names = Names::new(nodes, files, args, sink);
        let groups = names.resolve(sink);
        let (used, asked) = (HashSet::new(), HashSet::new());
        Self { names, groups, used, asked, roles, asked_roles: false, spoken }
    }

    /// The two sides of a rule. `None` if something is wrong, which is then reported.
    pub(super) fn sides(
        &mut self,
        sides: [Side<'_>; 2],
        rule: &str,
        sink: &mut Sink,
    ) -> Option<[Bits; 2]> {
        let [one, other] = sides.map(|side| self.side(side, rule, sink));
        let ((one, rest_one), (other, rest_other)) = (one?, other?);
        let (rest, whole) = match (rest_one, rest_other) {
            (false, false) => return Some([one, other]),
            (true, false) => (sides[0], [one | (self.names.all & !other), other]),
            (false, true) => (sides[1], [one, other | (self.names.all & !one)]),
            (true, true) => {
                let wrong = Diagnostic::error("`rest` stands on both sides")
                    .help("`rest` is all nodes that are not on the other side: name those");
                sink.push(sides[1].place(wrong, rule));
                return None;
            }
        };
        if whole.contains(&0) {
            let wrong = Diagnostic::error("`rest` is empty: the other side has all nodes")
                .help("name fewer nodes on the other side, or write any");
            sink.push(rest.place(wrong, rule));
            return None;
        }
        Some(whole)
    }

    /// The nodes of one side, and whether `rest` is to be added. `None` if something is wrong,
    /// which is then reported.
    pub(super) fn side(
        &mut self,
        side: Side<'_>,
        rule: &str,
        sink: &mut Sink,
    ) -> Option<(Bits, bool)> {
        let Some(set) = side.set else { return Some((self.names.all, false)) };
        let mut total = Some(0);
        let mut rest = false;
        for name in &set.names {
            if name.value == "rest" {
                rest = true;
                continue;
            }
            let bits = match self.name(&name.value) {
                Ok(bits) => bits,
                Err(wrong) => {
                    sink.push(wrong.at(name.span).rule(rule).field(side.field));
                    None
                }
            };
            total = total.zip(bits).map(|(total, bits)| total | bits);
        }
        Some((total?, rest))
    }

    /// All nodes.
    pub(super) fn all(&self) -> Bits {
        self.names.all
    }

    /// The two sides of a rule whose nodes the engine finds: by an event, or whoever leads.
    pub(super) fn open_sides(
        &mut self,
        sides: [Side<'_>; 2],
        on: Option<Event>,
        rule: &str,
        sink: &mut Sink,
    ) -> Option<[OpenSet; 2]> {
        let [from, to] = sides.map(|side| self.open_side(side, on, rule, sink));
        let (from, to) = (from?, to?);
        if from.rest && to.rest {
            let wrong = Diagnostic::error("`rest` stands on both sides")
                .help("`rest` is all nodes that are not on the other side: name those");
            sink.push(sides[1].place(wrong, rule));
            return None;
        }
        Some([from, to])
    }

    /// One such side.
    pub(super) fn open_side(
        &mut self,
        side: Side<'_>,
        on: Option<Event>,
        rule: &str,
        sink: &mut Sink,
    ) -> Option<OpenSet> {
        let mut open = OpenSet::default();
        let Some(set) = side.set else {
            open.named = self.names.all;
            return Some(open);
        };
        let mut whole = true;
        for name in &set.names {
            let word = RoleWord::parse(self.word_of(&name.value));
            let meant = match word {
                _ if name.value == "rest" => {
                    open.rest = true;
                    continue;
                }
                Some(word) => self.open_word(word, on).map(|()| {
                    open.words.push(word);
                    Some(0)
                }),
                None => self.name(&name.value),
            };
            match meant {
                Ok(bits) => {
                    open.named |= bits.unwrap_or(0);
                    whole &= bits.is_some();
                }
                Err(wrong) => {
                    sink.push(wrong.at(name.span).rule(rule).field(side.field));
                    whole = false;
                }
            }
        }
        whole.then_some(open)
    }

    /// Whether a word can be told by an event, or by whoever leads.
    fn open_word(&self, word: RoleWord, on: Option<Event>) -> Result<(), Diagnostic> {
        let nodes = self.names.nodes.len();
        let most = match word {
            RoleWord::Random(n) => Some((n, nodes)),
            RoleWord::RandomFollowers(n) => Some((n, nodes - 1)),
            _ => None,
        };
        if most.is_some_and(|(n, most)| n as usize > most) {
            let message = format!("there are not so many nodes: {}", quote(&word.shown()));
            return Err(Diagnostic::error(message).help(format!("the cluster has {nodes}")));
        }
        match (word, on) {
            (RoleWord::Candidate, Some(Event::ElectionStarted)) | (RoleWord::CurrentLeader, _) => {
                Ok(())
            }
            (RoleWord::Candidate, _) => Err(no_candidate()),
            (_, Some(_)) => Ok(()),
            (word, None) => {
                let message = format!(
                    "{} is bound as the rule becomes active, `leader: current` follows elections",
                    quote(&word.shown())
                );
                let help = "beside `leader: current` write `rest`, or the names of nodes";
                Err(Diagnostic::error(message).help(help))
            }
        }
    }

    /// Whether one of these sides names whoever leads at any time.
    pub(super) fn follow(&mut self, sides: &[Side<'_>]) -> bool {
        let names = sides.iter().filter_map(|side| side.set).flat_map(|set| &set.names);
        names.into_iter().any(|name| self.word_of(&name.value) == CURRENT_LEADER)
    }

    /// Complains of `leader: current` where nobody reads the cluster's messages.
    pub(super) fn check_current(&mut self, sides: &[Side<'_>], rule: &str, sink: &mut Sink) {
        for side in sides {
            let names = side.set.iter().flat_map(|set| &set.names);
            let current =
                names.into_iter().find(|name| self.word_of(&name.value) == CURRENT_LEADER);
            let wrong = current.and_then(|name| self.spoken.needs("`leader: current`", name.span));
            if let Some(wrong) = wrong {
                sink.push(wrong.rule(rule).field(side.field));
            }
        }
    }

    /// The word that a name stands for: where a group is nothing but such a word, that one.
    fn word_of<'n>(&mut self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        match self.groups.get_key_value(name) {
            Some((group, Meaning::Word(word))) => {
                self.used.insert(group);
                word
            }
            _ => name,
        }
    }

    /// The nodes behind a name; `Ok(None)` if what is wrong was reported before.
    fn name(&mut self, name: &str) -> Result<Option<Bits>, Diagnostic> {
        let name = self.word_of(name);
        let Some((group, meaning)) = self.groups.get_key_value(name) else {
            if let Some(bits) = self.roles.and_then(|roles| roles.word(name, self.names.all)) {
                self.asked_roles = true;
                if bits == 0 {
                    let message = format!("there are not so many nodes: {}", quote(name));
                    let help = format!("the cluster has {}", self.names.nodes.len());
                    return Err(Diagnostic::error(message).help(help));
                }
                return Ok(Some(bits));
            }
            return match RoleWord::parse(name) {
                Some(RoleWord::Candidate) => Err(no_candidate()),
                Some(RoleWord::CurrentLeader) => {
                    let message = "`leader: current` belongs into `from`, `to` or `between`";
                    Err(Diagnostic::error(message).help("write `leader`"))
                }
                _ => self.names.word(name).map(Some),
            };
        };
        self.used.insert(group);
        match *meaning {
            Meaning::Nodes(bits) => Ok(Some(bits)),
            Meaning::Broken | Meaning::Word(_) => Ok(None),
            Meaning::Asks(who) if !self.asked.insert(who) => Ok(None),
            Meaning::Asks(who) => {
                let message = format!("who is {}? The file leaves it to you", quote(who));
                let example = self.names.example();
                let help = format!("pass --set {who}=NODE, such as --set {who}={example}");
                Err(Diagnostic::error(message).help(help))
            }
        }
    }

    /// Warns of `--set` arguments that no rule looked at, by itself or through a group.
    pub(super) fn warn_unused(&self, args: &[SetArg], sink: &mut Sink) {
        let mut used = self.used.clone();
        let mut open: Vec<&str> = used.iter().copied().collect();
        while let Some(name) = open.pop() {
            let members = self.names.groups.get(name).map(|group| group.members());
            for (member, _) in members.unwrap_or_default() {
                if used.insert(member) {
                    open.push(member);
                }
            }
        }
        for arg in args {
            let is_group = self.names.groups.contains_key(arg.name.as_str());
            if is_group && !used.contains(arg.name.as_str()) {
                let message = format!("{}: no rule uses this group", arg.shown());
                let mut others: Vec<&str> = self.names.groups.keys().copied().collect();
                others.retain(|name| *name != arg.name);
                others.sort_unstable();
                let near = nearest(&arg.name, others);
                sink.push(Diagnostic::warning(message).nearest(near));
            }
        }
    }
}

fn no_candidate() -> Diagnostic {
    Diagnostic::error("nobody is known to stand for election here")
        .help("`candidate` is for rules with `on: election_started`")
}

impl Side<'_> {
    fn place(self, wrong: Diagnostic, rule: &str) -> Diagnostic {
        let wrong = wrong.rule(rule).field(self.field);
        match self.set {
            Some(set) => wrong.at(set.span),
            None => wrong,
        }
    }
}
