//! The words of a script: times, and the lines that describe a table.
//!
//! ```text
//! nodes 3 | nodes 3 ipv6 | nodes 3 shared     n1.. at 10.77.0.N:2380, fd77::N, 127.0.0.1:238N
//! seed 9                                       (else 7)
//! unattributed drop                            (else accept)
//! rule NAME: LINKS WHERE ACTIONS WINDOW
//!   LINKS    n1,n2 -> n3 | n1 <> n2,n3 | any; with `on` also words, such as leader <> rest, and
//!            without it `current` for whoever leads
//!   WHERE    tcp udp new established, port N, chance N%, nth N, first N, about KIND,..., any
//!            message: about any; term N, entries N (or more), granted, refused, from-leader,
//!            from-follower, from-candidate, group NAME
//!   ACTIONS  accept, drop, drop data, delay TIME [~TIME] [normal] [free], reset, stall [TIME],
//!            kill|crash NODES, for the sender of the packet: kill|crash sender
//! yaml { name: NAME, ... }                     a rule as rule files have it; behind the others
//!   WINDOW   at TIME, for TIME, every TIME, times N, on EVENT, after TIME, again N
//! ```

use super::packet::end;
use raftq::packet::{LinkId, NodeId, Proto};
use raftq::rules::table::{
    Action, Delay, Distribution, Filter, FlowAge, Node, Order, Place, Rule, Table, Trigger,
    Unattributed, What, Window,
};
use raftq::time::Nanos;
use std::iter::{Copied, Peekable};
use std::slice::Iter;

/// A table as the lines of a script describe it.
pub(crate) struct TableLines {
    pub(crate) table: Table,
    pub(crate) shared: bool,
    /// Rules as rule files have them; they stand behind the others.
    yaml: Vec<String>,
}

impl TableLines {
    pub(crate) fn new() -> Self {
        let mut lines = Self {
            table: Table {
                faults: Vec::new(),
                distributions: Vec::new(),
                phases: Vec::new(),
                nodes: Vec::new(),
                seed: 7,
                max_rate: 20_000,
                unattributed: Unattributed::Accept,
                protocol: None,
                group: None,
                patterns: Vec::new(),
                rules: Vec::new(),
            },
            shared: false,
            yaml: Vec::new(),
        };
        lines.nodes(3, "");
        lines
    }

    /// Takes a line in where it belongs to a table; says whether it did.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["nodes", count] => self.nodes(number(count), ""),
            ["nodes", count, kind] => self.nodes(number(count), kind),
            ["seed", seed] => self.table.seed = number(seed) as u64,
            ["unattributed", "drop"] => self.table.unattributed = Unattributed::Drop,
            ["rule", ..] => {
                let rule = self.rule(line.strip_prefix("rule ").unwrap_or(line));
                self.table.rules.push(rule);
            }
            ["yaml", ..] => {
                self.yaml.push(line.strip_prefix("yaml ").unwrap_or(line).to_owned());
            }
            ["reload"] => {
                self.table.rules.clear();
                self.yaml.clear();
            }
            _ => return false,
        }
        true
    }

    /// Compiles all rules that are written as in files, since they may name each other.
    pub(crate) fn compile(&mut self) {
        if self.yaml.is_empty() {
            return;
        }
        let endpoint = |node: &Node| node.endpoints[0].socket_addr();
        let nodes = self.table.nodes.iter();
        let nodes: Vec<_> = nodes.map(|n| format!("{}: \"{}\"", n.name, endpoint(n))).collect();
        let rules = self.yaml.join("\n  - ");
        let nodes = nodes.join(", ");
        let cluster = format!("cluster: {{ protocol: etcd, nodes: {{ {nodes} }} }}");
        let text = format!("{cluster}\nrules:\n  - {rules}\n");
        let compiled = raftq::rules::compile("a script", &text, &[]).unwrap_or_else(|wrong| {
            panic!("{wrong:?}");
        });
        self.yaml.clear();
        self.table.rules.extend(compiled.table.rules);
        self.table.patterns = compiled.table.patterns;
        self.table.distributions = compiled.table.distributions;
    }

    fn nodes(&mut self, count: usize, kind: &str) {
        self.shared = kind == "shared";
        self.table.nodes = (1..=count)
            .map(|i| Node {
                name: format!("n{i}"),
                endpoints: vec![end(&match kind {
                    "" => format!("10.77.0.{i}:2380"),
                    "ipv6" => format!("[fd77::{i}]:2380"),
                    "shared" => format!("127.0.0.1:238{i}"),
                    _ => panic!("{kind} is no kind of nodes"),
                })],
                place: Place::Unsaid,
            })
            .collect();
    }

    fn rule(&self, line: &str) -> Rule {
        let (name, rest) = line.split_once(": ").unwrap_or_else(|| panic!("no name: {line}"));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let used = if words[0] == "any" { 1 } else { 3 };
        let mut rule = Rule {
            dynamic: false,
            on: None,
            sides: None,
            keeps_held: false,
            heals_by_reset: false,
            name: name.to_owned(),
            links: Vec::new(),
            filter: Filter::default(),
            actions: Vec::new(),
            window: Window::ALWAYS,
            optional: false,
        };
        rule.sides = super::asked::sides(&self.table, &words[..used], rest);
        rule.links = self.links(&words[..used], rule.sides.is_some());
        let mut words = words[used..].iter().copied().peekable();
        while let Some(word) = words.next() {
            match word {
                "tcp" => rule.filter.proto = Some(Proto::Tcp),
                "udp" => rule.filter.proto = Some(Proto::Udp),
                "new" => rule.filter.flow = Some(FlowAge::New),
                "established" => rule.filter.flow = Some(FlowAge::Established),
                "port" => rule.filter.port = Some(number(value(&mut words)) as u16),
                "chance" => {
                    let percent = number(value(&mut words).trim_end_matches('%')) as u64;
                    rule.filter.chance = Some((percent << 32) / 100);
                }
                "at" => rule.window.at = time(value(&mut words)),
                "for" => rule.window.lasts = Some(time(value(&mut words))),
                "every" => rule.window.every = Some(time(value(&mut words))),
                "until" => rule.window.until = time(value(&mut words)),
                "keep-held" => rule.keeps_held = true,
                "times" => rule.window.times = Some(number(value(&mut words)) as u32),
                "kill" | "crash" => {
                    let nodes = value(&mut words);
                    let trigger = match &mut rule.sides {
                        Some(sides) => {
                            sides.node = super::asked::set(&self.table, nodes);
                            self.trigger(word, "sender")
                        }
                        None => self.trigger(word, nodes),
                    };
                    rule.actions.push(Action::Trigger(trigger));
                }
                _ if super::asked::condition(word, &mut words, &mut rule) => {}
                _ => rule.actions.push(action(word, &mut words)),
            }
        }
        super::asked::settle(&mut rule);
        rule
    }

    /// A fault has the number of its rule.
    fn trigger(&self, word: &str, nodes: &str) -> Trigger {
        let nodes = nodes.split(',').filter(|name| *name != "sender");
        Trigger {
            fault: self.table.rules.len() as u16,
            nodes: nodes.fold(0, |bits, name| bits | 1 << self.node(name).0),
            drops_held: word == "crash",
        }
    }

    /// Where only the engine knows, all that there are.
    fn links(&self, words: &[&str], open: bool) -> Vec<LinkId> {
        let words = if open { &["any"] } else { words };
        let set = |names: &str| -> Vec<u16> { names.split(',').map(|n| self.node(n).0).collect() };
        let all: Vec<u16> = (0..self.table.nodes.len() as u16).collect();
        let (from, to, both) = match *words {
            [from, "->", to] => (set(from), set(to), false),
            [from, "<>", to] => (set(from), set(to), true),
            _ => (all.clone(), all, false),
        };
        let mut links = Vec::new();
        for (&a, &b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))) {
            let link = |a, b| LinkId::new(NodeId(a), NodeId(b), self.table.nodes.len());
            if a != b {
                links.push(link(a, b));
                links.extend(both.then(|| link(b, a)));
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }

    pub(crate) fn node(&self, name: &str) -> NodeId {
        self.table.node(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }
}

pub(crate) type Words<'a, 'b> = Peekable<Copied<Iter<'b, &'a str>>>;

pub(crate) fn value<'a>(words: &mut Words<'a, '_>) -> &'a str {
    words.next().expect("a word at the end of a rule lacks its value")
}

fn action(word: &str, words: &mut Words<'_, '_>) -> Action {
    match word {
        "accept" => Action::Accept,
        "drop" if words.next_if_eq(&"data").is_some() => Action::Drop(What::Data),
        "drop" => Action::Drop(What::Packets),
        "reset" => Action::Reset,
        "stall" => {
            let after = words.next_if(|w| w.starts_with(|c: char| c.is_ascii_digit())).map(time);
            Action::Stall { reset_after: after }
        }
        "delay" => Action::Delay(Delay {
            by: time(value(words)),
            jitter: words.next_if(|w| w.starts_with('~')).map_or(Nanos::ZERO, |w| time(&w[1..])),
            distribution: match words.next_if_eq(&"normal") {
                Some(_) => Distribution::Normal,
                None => Distribution::Uniform,
            },
            order: match words.next_if_eq(&"free") {
                Some(_) => Order::Free,
                None => Order::Flow,
            },
            correlation: 0,
        }),
        _ => panic!("{word} means nothing in a rule"),
    }
}

/// `5s`, `1.5ms`, `20us`, `7ns`, `0`.
pub(crate) fn time(text: &str) -> Nanos {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (figure, unit) = text.split_at(split);
    let unit: u64 = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" | "" => 1,
        _ => panic!("{text} is no time"),
    };
    let (whole, part) = figure.split_once('.').unwrap_or((figure, ""));
    let scale = 10_u64.pow(part.len() as u32);
    let part = if part.is_empty() { 0 } else { number(part) as u64 };
    Nanos(number(whole) as u64 * unit + part * unit / scale)
}

/// The shortest form that [`time`] reads.
pub(crate) fn show(time: Nanos) -> String {
    if time == Nanos::MAX {
        return "never".to_owned();
    }
    for (unit, name, digits) in [(1_000_000_000, "s", 9), (1_000_000, "ms", 6), (1_000, "us", 3)] {
        if time.0 >= unit {
            let part = format!("{:0digits$}", time.0 % unit);
            let part = part.trim_end_matches('0');
            let dot = if part.is_empty() { "" } else { "." };
            return format!("{}{dot}{part}{name}", time.0 / unit);
        }
    }
    if time.0 == 0 { "0".to_owned() } else { format!("{}ns", time.0) }
}

pub(crate) fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}
