//! The node sets of rules: names to bits, and `rest` against the other side.

use super::diagnostic::{Diagnostic, Sink, nearest, quote};
use super::file::{Group, Named, NodeSet};
use super::groups::{Meaning, Names, SetArg};
use super::reach::Bits;
use super::roles::Roles;
use super::table::Node;
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
}

impl<'a> Sets<'a> {
    /// Resolves all groups; `files` are those of the files, the more important last.
    pub(super) fn new(
        nodes: &'a [Node],
        files: &[&'a Named<Group>],
        args: &'a [SetArg],
        roles: Option<Roles>,
        sink: &mut Sink,
    ) -> Self {
        let names = Names::new(nodes, files, args, sink);
        let groups = names.resolve(sink);
        let (used, asked) = (HashSet::new(), HashSet::new());
        Self { names, groups, used, asked, roles, asked_roles: false }
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

    /// The nodes behind a name; `Ok(None)` if what is wrong was reported before.
    fn name(&mut self, name: &str) -> Result<Option<Bits>, Diagnostic> {
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
            return self.names.word(name).map(Some);
        };
        self.used.insert(group);
        match *meaning {
            Meaning::Nodes(bits) => Ok(Some(bits)),
            Meaning::Broken => Ok(None),
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

impl Side<'_> {
    fn place(self, wrong: Diagnostic, rule: &str) -> Diagnostic {
        let wrong = wrong.rule(rule).field(self.field);
        match self.set {
            Some(set) => wrong.at(set.span),
            None => wrong,
        }
    }
}
