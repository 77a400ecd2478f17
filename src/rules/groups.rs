//! Groups of nodes: from the rule file, the cluster file and `--set`; the later one wins.
//!
//! Every group is resolved once, before any rule is looked at, so that a mistake in it is
//! said once, whoever uses it.

use super::diagnostic::{Diagnostic, Sink, Span, nearest, quote};
use super::file::{Group, Named, NodeSet};
use super::parse::unfit_name;
use super::reach::Bits;
use super::table::{Node, RoleWord};
use std::collections::HashMap;
use std::fmt;

/// Words that no node or group may be called: they mean something by themselves, now or later.
pub(super) const RESERVED: &[&str] = &[
    "any",
    "rest",
    "leader",
    "followers",
    "candidate",
    "candidates",
    "current",
    "minority",
    "majority",
    "random",
    "clients",
];

/// How deep groups may stand inside groups.
const NESTING_MAX: usize = 32;

/// One `--set NAME=NODE,...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetArg {
    pub(super) name: String,
    pub(super) nodes: Vec<String>,
}

impl SetArg {
    /// Reads `victim=n2,n3`. The error is a sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((name, nodes)) = text.split_once('=') else {
            return Err("write NAME=NODE, such as victim=n2 or left=n1,n2".to_owned());
        };
        if let Some(why) = unfit_name(name) {
            return Err(format!("{} cannot name a group: {why}", quote(name)));
        }
        let nodes: Vec<String> = nodes.split(',').map(|node| node.trim().to_owned()).collect();
        if nodes.iter().any(String::is_empty) {
            return Err(format!("name a node behind `{name}=`, or several with commas"));
        }
        Ok(Self { name: name.to_owned(), nodes })
    }

    /// The group that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The argument as it was given.
    pub(super) fn shown(&self) -> String {
        quote(&format!("--set {self}"))
    }
}

impl fmt::Display for SetArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.nodes.join(","))
    }
}

/// What a group is after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    Nodes(Bits),
    /// It cannot be told before this group is given on the command line.
    Asks(&'a str),
    /// Whoever this word means as a rule becomes active, such as `leader`.
    Word(&'a str),
    /// Something is wrong with it, and was reported.
    Broken,
}

/// What a group is said to be.
#[derive(Clone, Copy)]
pub(super) enum Definition<'a> {
    Written(&'a NodeSet),
    Argument(&'a SetArg),
    Asked,
    Broken,
}

impl<'a> Definition<'a> {
    /// The names in it, with their places.
    pub(super) fn members(self) -> Vec<(&'a str, Option<Span>)> {
        match self {
            Self::Written(set) => {
                set.names.iter().map(|n| (n.value.as_str(), Some(n.span))).collect()
            }
            Self::Argument(arg) => arg.nodes.iter().map(|n| (n.as_str(), None)).collect(),
            Self::Asked | Self::Broken => Vec::new(),
        }
    }
}

/// The names of nodes and groups.
pub(super) struct Names<'a> {
    pub(super) nodes: HashMap<&'a str, Bits>,
    pub(super) groups: HashMap<&'a str, Definition<'a>>,
    /// The groups in the order in which they were found.
    order: Vec<&'a str>,
    pub(super) all: Bits,
}

impl<'a> Names<'a> {
    /// Collects the names; `files` are the groups of the files, the more important last.
    pub(super) fn new(
        nodes: &'a [Node],
        files: &[&'a Named<Group>],
        args: &'a [SetArg],
        sink: &mut Sink,
    ) -> Self {
        let bits = nodes.iter().enumerate().map(|(id, node)| (node.name.as_str(), 1 << id));
        let nodes: HashMap<&str, Bits> = bits.collect();
        let all = nodes.values().fold(0, |all, one| all | one);
        let mut names = Self { nodes, groups: HashMap::new(), order: Vec::new(), all };
        for (name, group) in files.iter().flat_map(|file| file.iter()) {
            if names.nodes.contains_key(name.value.as_str()) {
                let message = format!("{} is a node already", quote(&name.value));
                let clash = Diagnostic::error(message).help("give the group another name");
                sink.push(clash.at(name.span).field(format!("groups.{}", name.value)));
                continue;
            }
            names.define(
                &name.value,
                match group {
                    Group::Nodes(set) => Definition::Written(set),
                    Group::Asked => Definition::Asked,
                    Group::Broken => Definition::Broken,
                },
            );
        }
        names.arguments(args, sink);
        names
    }

    fn arguments(&mut self, args: &'a [SetArg], sink: &mut Sink) {
        let mut given: HashMap<&str, &SetArg> = HashMap::new();
        for arg in args {
            if self.nodes.contains_key(arg.name.as_str()) {
                let message = format!("{}: {} is a node", arg.shown(), quote(&arg.name));
                sink.push(Diagnostic::error(message).help("`--set` gives nodes to a group"));
                continue;
            }
            if given.insert(&arg.name, arg).is_some_and(|other| other != arg) {
                let message = format!("{}: this group was given twice", arg.shown());
                sink.push(Diagnostic::error(message).help("put all nodes into one `--set`"));
            }
            self.define(&arg.name, Definition::Argument(arg));
        }
    }

    fn define(&mut self, name: &'a str, definition: Definition<'a>) {
        if self.groups.insert(name, definition).is_none() {
            self.order.push(name);
        }
    }

    /// What each group means.
    pub(super) fn resolve(&self, sink: &mut Sink) -> HashMap<&'a str, Meaning<'a>> {
        let mut resolver = Resolver { names: self, done: HashMap::new(), open: Vec::new(), sink };
        for name in &self.order {
            resolver.group(name);
        }
        resolver.done
    }

    /// The nodes behind a word that is no group.
    pub(super) fn word(&self, word: &str) -> Result<Bits, Diagnostic> {
        if let Some(bits) = self.nodes.get(word) {
            return Ok(*bits);
        }
        match word {
            "any" => Ok(self.all),
            "rest" => Err(Diagnostic::error("`rest` has no other side here")
                .help("`rest` belongs into `from`, `to` or `between`")),
            _ if RESERVED.contains(&word.split(' ').next().unwrap_or_default()) => {
                let message = format!("raftq cannot tell yet who {} is", quote(word));
                let help = format!(
                    "use a group, and say who it is at the start: --set victim={}",
                    self.example()
                );
                Err(Diagnostic::error(message).help(help))
            }
            _ => Err(self.unknown(word)),
        }
    }

    fn unknown(&self, word: &str) -> Diagnostic {
        let mut words: Vec<&str> = self.nodes.keys().chain(self.groups.keys()).copied().collect();
        words.extend(["any", "rest"]);
        // Of two words that are equally near, every run names the same.
        words.sort_unstable();
        let near = nearest(word, words);
        let help = if unfit_name(word).is_some() {
            "write the names of nodes and groups".to_owned()
        } else {
            format!("define it under `groups`, or pass --set {word}=NODE")
        };
        let message = format!("there is no node or group {}", quote(word));
        Diagnostic::error(message).help(help).nearest(near)
    }

    /// The first node, for examples.
    pub(super) fn example(&self) -> &'a str {
        self.nodes.iter().min_by_key(|(_, bits)| **bits).map_or("n1", |(name, _)| name)
    }
}

struct Resolver<'n, 'a> {
    names: &'n Names<'a>,
    done: HashMap<&'a str, Meaning<'a>>,
    open: Vec<&'a str>,
    sink: &'n mut Sink,
}

impl<'a> Resolver<'_, 'a> {
    fn group(&mut self, name: &'a str) -> Meaning<'a> {
        if let Some(meaning) = self.done.get(name) {
            return *meaning;
        }
        let Some(definition) = self.names.groups.get(name).copied() else {
            return Meaning::Broken;
        };
        let meaning = match definition {
            Definition::Asked => Meaning::Asks(name),
            Definition::Broken => Meaning::Broken,
            Definition::Written(_) | Definition::Argument(_) => {
                self.open.push(name);
                let meaning = self.members(name, definition);
                self.open.pop();
                meaning
            }
        };
        self.done.insert(name, meaning);
        meaning
    }

    fn members(&mut self, name: &'a str, definition: Definition<'a>) -> Meaning<'a> {
        let mut total = Meaning::Nodes(0);
        let members = definition.members();
        if let [(word, _)] = members.as_slice()
            && RoleWord::parse(word).is_some()
            && !self.names.groups.contains_key(word)
        {
            return Meaning::Word(word);
        }
        for (member, span) in members {
            let meaning = match self.member(member) {
                Ok(meaning) => meaning,
                Err(wrong) => {
                    self.sink.push(placed(wrong, name, span, definition));
                    Meaning::Broken
                }
            };
            total = match (total, meaning) {
                (Meaning::Nodes(some), Meaning::Nodes(more)) => Meaning::Nodes(some | more),
                (_, Meaning::Word(word)) => {
                    let message = format!("{} stands for {} here", quote(member), quote(word));
                    let help = "nobody knows who that is before a rule is active: name nodes";
                    let wrong = Diagnostic::error(message).help(help);
                    self.sink.push(placed(wrong, name, span, definition));
                    Meaning::Broken
                }
                (Meaning::Broken | Meaning::Word(_), _) | (_, Meaning::Broken) => Meaning::Broken,
                (Meaning::Asks(who), _) | (_, Meaning::Asks(who)) => Meaning::Asks(who),
            };
        }
        total
    }

    fn member(&mut self, member: &'a str) -> Result<Meaning<'a>, Diagnostic> {
        if !self.names.groups.contains_key(member) {
            return self.names.word(member).map(Meaning::Nodes);
        }
        if self.open.contains(&member) {
            let message = format!("the group {} is inside itself", quote(member));
            return Err(Diagnostic::error(message).help("take it out of its members"));
        }
        if self.open.len() >= NESTING_MAX {
            let message = format!("groups stand deeper than {NESTING_MAX} inside groups");
            return Err(Diagnostic::error(message).help("name the nodes themselves"));
        }
        Ok(self.group(member))
    }
}

/// Says where in a group something is wrong: its line, or its argument.
fn placed(
    wrong: Diagnostic,
    group: &str,
    span: Option<Span>,
    definition: Definition<'_>,
) -> Diagnostic {
    match (span, definition) {
        (_, Definition::Argument(arg)) => {
            let message = format!("{}: {}", arg.shown(), wrong.message);
            Diagnostic { message, ..wrong }
        }
        (Some(span), _) => wrong.at(span).field(format!("groups.{group}")),
        (None, _) => wrong,
    }
}
