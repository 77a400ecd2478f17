//! The compiled table for people: who can reach whom, phase by phase, and the rules.
//!
//! Time is cut wherever a rule begins or ends; between two cuts the table does not change, so
//! each phase is one grid of links. What does not fit into 80 columns is not drawn: the rules
//! below the grids say everything.

use super::scalar::show;
use super::table::{
    Action, Draws, Filter, FlowAge, MessageFilter, On, OpenSet, OpenSides, Phase, Role, Rule,
    Table, Window,
};
use super::words;
use crate::packet::{LinkId, NodeId, Proto};
use crate::time::Nanos;
use crate::wire::Kind;
use std::collections::HashMap;
use std::fmt::Write;

/// Phases that are shown.
const PHASES_MAX: usize = 16;

/// The most starts and ends that are looked at for them.
const EDGES_MAX: usize = 1_000;

/// Rules that are listed.
const RULES_SHOWN_MAX: usize = 200;

/// Steps that one cell lists.
const STEPS_SHOWN_MAX: usize = 6;

/// Starts that are told of a rule that draws them.
const STARTS_SHOWN_MAX: usize = 5;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// Nodes up to which a grid is tried; more never fit.
const GRID_NODES_MAX: usize = 26;

/// The table as text, ending with a newline.
#[must_use]
pub fn matrix(table: &Table) -> String {
    let mut out = String::new();
    let rate = table.max_rate;
    let (nodes, rules) = (plural(table.nodes.len(), "node"), plural(table.rules.len(), "rule"));
    let _ = writeln!(out, "{nodes}, {rules}, seed {}, at most {rate} packets/s", table.seed);
    if let Some(protocol) = table.protocol {
        let group = table.group.as_ref().map(|group| format!(", group {group}"));
        let _ = writeln!(out, "reads {}{}", protocol.word(), group.unwrap_or_default());
    }
    if !table.phases.is_empty() {
        out.push('\n');
    }
    for Phase { name, start, end } in &table.phases {
        let _ = writeln!(out, "phase {name}: {} to {}", show(*start), show(*end));
    }
    if table.rules.is_empty() {
        out.push_str("\nnothing is disturbed\n");
        return out;
    }
    let drawn = table.rules.iter().any(is_drawn);
    if table.nodes.len() <= GRID_NODES_MAX && drawn {
        phases(table, &mut out);
    }
    if !table.rules.iter().all(is_drawn) {
        out.push_str("\nnot drawn: rules that follow an event or whoever leads\n");
    }
    for (rule, number) in table.rules.iter().zip(1..).take(RULES_SHOWN_MAX) {
        let _ = write!(out, "\n{}", describe(table, rule, number));
    }
    if let Some(more) = table.rules.len().checked_sub(RULES_SHOWN_MAX).filter(|more| *more > 0) {
        let _ = writeln!(out, "\nand {}; --json lists all", plural(more, "more rule"));
    }
    out
}

/// Whether it is known when a rule is active, and where.
fn is_drawn(rule: &Rule) -> bool {
    rule.on.is_none() && rule.sides.is_none()
}

fn phases(table: &Table, out: &mut String) {
    let mut painter = Painter { table, letters: Vec::new(), drawn: HashMap::new() };
    let mut start = Nanos::ZERO;
    let mut current = cells(table, start);
    let mut now = Nanos::ZERO;
    let mut shown = 0;
    let mut marked = false;
    // Rules that come back without end may look the same for ever.
    let mut edges = 0;
    loop {
        edges += 1;
        marked |= current.iter().any(|cell| cell.contains('?'));
        let edge = next_edge(table, now);
        let next = edge.map(|edge| (edge, cells(table, edge)));
        match next {
            // Two phases that look alike are one to the reader.
            Some((edge, next)) if next == current => now = edge,
            Some((edge, next)) => {
                painter.phase(start, Some(edge), &current, out);
                shown += 1;
                (start, now, current) = (edge, edge, next);
            }
            None => {
                painter.phase(start, None, &current, out);
                break;
            }
        }
        if shown == PHASES_MAX || edges == EDGES_MAX {
            let _ = writeln!(out, "\nfrom {} on: more changes, not shown", show(start));
            break;
        }
    }
    if marked {
        out.push_str("\n?: only the packets that the rule's `where` selects\n");
    }
}

/// The next time at which a rule begins or ends.
fn next_edge(table: &Table, t: Nanos) -> Option<Nanos> {
    let next = |rule: &Rule| {
        let (start, end) = rule.window.activation(t)?;
        Some(if start > t { start } else { end })
    };
    table
        .rules
        .iter()
        .filter(|rule| is_drawn(rule))
        .filter_map(next)
        .min()
        .filter(|edge| *edge < Nanos::MAX)
}

/// What happens on each link at a time, as short words; empty where nothing does.
fn cells(table: &Table, t: Nanos) -> Vec<String> {
    let mut cells = vec![Cell::default(); table.links()];
    let active = |rule: &&Rule| rule.window.activation(t).is_some_and(|(start, _)| start <= t);
    for rule in table.rules.iter().filter(|rule| is_drawn(rule)).filter(active) {
        let some = rule.filter != Filter::default();
        let words: Vec<String> =
            rule.actions.iter().map(|a| words::short(a) + if some { "?" } else { "" }).collect();
        for link in &rule.links {
            cells[usize::from(link.0)].add(&words, rule.ends() && !some);
        }
    }
    cells.into_iter().map(Cell::text).collect()
}

#[derive(Clone, Default)]
struct Cell {
    words: Vec<String>,
    more: bool,
    ended: bool,
}

impl Cell {
    fn add(&mut self, words: &[String], ends: bool) {
        if self.ended {
            return;
        }
        for word in words {
            if self.words.len() < STEPS_SHOWN_MAX {
                self.words.push(word.clone());
            } else {
                self.more = true;
            }
        }
        self.ended = ends;
    }

    fn text(self) -> String {
        let more = if self.more { " ..." } else { "" };
        self.words.join(" ") + more
    }
}

/// Draws the phases, each kind of grid once.
struct Painter<'t> {
    table: &'t Table,
    /// What the letters stand for, the same in all phases.
    letters: Vec<String>,
    /// Grids drawn before, and the phase that has them.
    drawn: HashMap<Vec<String>, String>,
}

impl Painter<'_> {
    fn phase(&mut self, start: Nanos, end: Option<Nanos>, cells: &[String], out: &mut String) {
        let time = match end {
            Some(end) => format!("{} to {}", show(start), show(end)),
            None if start == Nanos::ZERO => "always".to_owned(),
            None => format!("from {} on", show(start)),
        };
        if cells.iter().all(String::is_empty) {
            let _ = writeln!(out, "\n{time}: nothing is disturbed");
            return;
        }
        if let Some(former) = self.drawn.get(cells) {
            let _ = writeln!(out, "\n{time}: as {former}");
            return;
        }
        self.drawn.insert(cells.to_vec(), time.clone());
        let _ = writeln!(out, "\n{time}");
        let words = |cell: &String| if cell.is_empty() { ".".to_owned() } else { cell.clone() };
        let words: Vec<String> = cells.iter().map(words).collect();
        match grid(self.table, &words).or_else(|| self.with_letters(cells)) {
            Some(grid) => out.push_str(&grid),
            None => out.push_str("  too wide to draw; see the rules\n"),
        }
    }

    /// Letters are narrower than words; what they stand for is listed below the grid.
    fn with_letters(&mut self, cells: &[String]) -> Option<String> {
        let alphabet = || ('a'..='z').chain('A'..='Z');
        for cell in cells.iter().filter(|cell| !cell.is_empty()) {
            if !self.letters.contains(cell) {
                self.letters.push(cell.clone());
            }
        }
        let letter = |cell: &String| {
            if cell.is_empty() {
                return Some('.');
            }
            let kind = self.letters.iter().position(|kind| kind == cell)?;
            alphabet().nth(kind)
        };
        let short: Option<Vec<char>> = cells.iter().map(letter).collect();
        let short = short?;
        let mut out = grid(self.table, &short.iter().map(char::to_string).collect::<Vec<_>>())?;
        for (kind, letter) in self.letters.iter().zip(alphabet()) {
            if short.contains(&letter) {
                let _ = writeln!(out, "  {letter}: {kind}");
            }
        }
        Some(out)
    }
}

/// Senders down, receivers across. `None` if it is too wide.
fn grid(table: &Table, cells: &[String]) -> Option<String> {
    const CORNER: &str = "from \\ to";
    let nodes = table.nodes.len();
    let width = |text: &str| text.chars().count();
    let first = table.nodes.iter().map(|n| width(&n.name)).max()?.max(width(CORNER));
    let mut columns = Vec::with_capacity(nodes);
    for to in 0..nodes {
        let cells = (0..nodes).map(|from| width(&cells[from * nodes + to])).max()?;
        columns.push(cells.max(width(&table.nodes[to].name)));
    }
    if 2 + first + columns.iter().map(|column| column + 2).sum::<usize>() > WIDTH {
        return None;
    }
    let mut out = String::new();
    let mut row = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
        let mut line = format!("  {name:<first$}");
        for (cell, column) in cells.zip(&columns) {
            let _ = write!(line, "  {cell:<column$}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row(CORNER, &mut table.nodes.iter().map(|node| node.name.as_str()));
    for (from, node) in table.nodes.iter().enumerate() {
        let cell = |to: usize| if to == from { "-" } else { cells[from * nodes + to].as_str() };
        row(&node.name, &mut (0..nodes).map(cell));
    }
    Some(out)
}

/// What a rule does, in order, for people.
#[must_use]
pub fn deeds(table: &Table, rule: &Rule) -> Vec<String> {
    rule.actions.iter().map(|action| long(table, rule, action)).collect()
}

/// The sides of a rule whose links only events, or whoever leads, decide, for people: such as
/// `leader <-> rest`.
#[must_use]
pub fn open_sides(table: &Table, rule: &Rule) -> Option<String> {
    rule.sides.as_ref().map(|open| sides(table, open))
}

/// Everything about one rule, on a few lines.
fn describe(table: &Table, rule: &Rule, number: usize) -> String {
    let mut out = format!("rule {number}: {}\n", rule.name);
    let mut line = |key: &str, value: String| {
        let _ = writeln!(out, "  {key:<6} {value}");
    };
    line("when", rule.on.as_ref().map_or_else(|| when(&rule.window), |it| on(it, &rule.window)));
    line("links", rule.sides.as_ref().map_or_else(|| links(table, rule), |s| sides(table, s)));
    let conditions = conditions(table, rule);
    if !conditions.is_empty() {
        line("where", conditions);
    }
    let long = |action| long(table, rule, action);
    line("do", rule.actions.iter().map(long).collect::<Vec<_>>().join(", then "));
    if rule.optional {
        line("note", "may end without ever having matched".to_owned());
    }
    out
}

/// The times of a rule; those that are drawn, as they come out with the table's seed.
fn when(window: &Window) -> String {
    if window.by_switch() {
        let lasts = window.lasts.map_or(String::new(), |lasts| format!(", for {}", show(lasts)));
        return format!("when it is switched on by name{lasts}");
    }
    let start = show(window.at);
    let Some((_, end)) = window.activation(window.at).filter(|(_, end)| *end < Nanos::MAX) else {
        return if window.at == Nanos::ZERO {
            "always".to_owned()
        } else {
            format!("from {start} on")
        };
    };
    let mut out = format!("{start} to {}", show(end));
    let draws = window.draws.unwrap_or(Draws {
        key: 0,
        lasts: Nanos::ZERO,
        every: Nanos::ZERO,
        whole: false,
    });
    let range = |least: Nanos, more: Nanos| match more {
        Nanos::ZERO => show(least),
        more => format!("{} to {}", show(least), show(least + more)),
    };
    let Some(every) = window.every else { return out };
    let _ = write!(out, ", again every {}", range(every, draws.every));
    if let (Some(lasts), true) = (window.lasts, draws.lasts > Nanos::ZERO) {
        let _ = write!(out, " for {}", range(lasts, draws.lasts));
    }
    if let Some(times) = window.times {
        let _ = write!(out, ", {times} times in all");
    }
    if window.until < Nanos::MAX {
        let _ = write!(out, ", over at {}", show(window.until));
    }
    if draws.every + draws.lasts > Nanos::ZERO {
        let next = |t: &Nanos| window.activation(*t).filter(|(_, end)| *end < Nanos::MAX);
        let starts = std::iter::successors(next(&window.at), |(_, end)| next(end));
        let starts: Vec<_> = starts.map(|(start, _)| show(start)).take(STARTS_SHOWN_MAX).collect();
        let _ = write!(out, "; drawn: {}", starts.join(", "));
    }
    out
}

fn on(on: &On, window: &Window) -> String {
    let mut out = format!("on {}", on.event.word());
    if on.after > Nanos::ZERO {
        let _ = write!(out, ", {} later", show(on.after));
    }
    if window.until < Nanos::MAX {
        let _ = write!(out, " from {} to {}", show(window.at), show(window.until));
    }
    if let Some(lasts) = on.lasts {
        let _ = write!(out, ", for {}", show(lasts));
    }
    if let Some(draws) = window.draws {
        let _ = write!(out, " to {}", show(on.lasts.unwrap_or(Nanos::ZERO) + draws.lasts));
    }
    out + &match on.times {
        Some(1) => ", once".to_owned(),
        Some(times) => format!(", {times} times in all"),
        None => ", each time".to_owned(),
    }
}

fn sides(table: &Table, sides: &OpenSides) -> String {
    let arrow = if sides.both { "<->" } else { "->" };
    format!("{} {arrow} {}", open_set(table, &sides.from), open_set(table, &sides.to))
}

fn open_set(table: &Table, set: &OpenSet) -> String {
    let nodes = table.nodes.iter().enumerate();
    let named = nodes.filter(|(i, _)| set.named & (1 << i) != 0).map(|(_, node)| node.name.clone());
    let mut words: Vec<String> = match set.named.count_ones() as usize {
        all if all == table.nodes.len() => vec!["any".to_owned()],
        _ => named.collect(),
    };
    words.extend(set.words.iter().map(|word| word.shown()));
    words.extend(set.rest.then(|| "rest".to_owned()));
    words.join(", ")
}

fn links(table: &Table, rule: &Rule) -> String {
    let nodes = table.nodes.len();
    if rule.links.len() == nodes * (nodes - 1) {
        return "all".to_owned();
    }
    let name = |node: NodeId| &table.nodes[usize::from(node.0)].name;
    let mut out = String::new();
    for link in &rule.links {
        let (from, to) = link.ends(nodes);
        let back = rule.links.binary_search(&LinkId::new(to, from, nodes)).is_ok();
        if back && from > to {
            continue;
        }
        let arrow = if back { "<->" } else { "->" };
        let shown = format!("{} {arrow} {}", name(from), name(to));
        if !out.is_empty() {
            out += ", ";
        }
        if 9 + out.chars().count() + shown.chars().count() > WIDTH - 20 {
            let _ = write!(out, "... ({})", plural(rule.links.len(), "link"));
            break;
        }
        out += &shown;
    }
    out
}

fn conditions(table: &Table, rule: &Rule) -> String {
    let filter = &rule.filter;
    let mut words = Vec::new();
    words.extend(filter.proto.map(|proto| match proto {
        Proto::Tcp => "tcp".to_owned(),
        Proto::Udp => "udp".to_owned(),
    }));
    words.extend(filter.port.map(|port| format!("port {port}")));
    words.extend(filter.flow.map(|flow| match flow {
        FlowAge::New => "new flows".to_owned(),
        FlowAge::Established => "established flows".to_owned(),
    }));
    words.extend(words::narrow(table, &filter.narrow));
    words.extend(filter.message.map(|message| about(&message)));
    words.extend(filter.every_nth.map(|nth| format!("one in {nth}")));
    words.extend(filter.first.map(|first| format!("the first {first}")));
    words.extend(filter.chance.map(|share| format!("{} of segments", words::percent(share))));
    words.join(", ")
}

fn about(message: &MessageFilter) -> String {
    let kinds: Vec<&str> = message.kinds().map(Kind::word).collect();
    let mut words = vec![match kinds.len() {
        all if all == Kind::ALL.len() => "any message".to_owned(),
        _ => kinds.join(" or "),
    }];
    words.extend(message.term.map(|term| format!("in term {}", words::bounds(term))));
    words.extend(message.entries.map(|entries| format!("with {} entries", words::bounds(entries))));
    words.extend(message.from_role.map(|role| match role {
        Role::Leader => "from the leader".to_owned(),
        Role::Follower => "from a follower".to_owned(),
        Role::Candidate => "from a candidate".to_owned(),
    }));
    let granted = |granted| if granted { "granted".to_owned() } else { "refused".to_owned() };
    words.extend(message.granted.map(granted));
    words.extend(message.group.map(|group| format!("of group {}", group.text())));
    words.join(" ")
}

/// An action in words.
fn long(table: &Table, rule: &Rule, action: &Action) -> String {
    match action {
        Action::Trigger(trigger) => {
            let fault = &table.faults[usize::from(trigger.fault)];
            let meant = |(i, _): &(usize, _)| trigger.nodes & (1 << i) != 0;
            let nodes = table.nodes.iter().enumerate().filter(meant);
            let names: Vec<&str> = nodes.map(|(_, node)| node.name.as_str()).collect();
            let open = rule.sides.as_ref().map(|sides| open_set(table, &sides.node));
            let open = open.filter(|open| !open.is_empty());
            let who = open.unwrap_or_else(|| {
                if names.is_empty() { "the sender".into() } else { names.join(", ") }
            });
            let by = if rule.on.is_some_and(|on| on.fires) { "" } else { ", by the first packet" };
            format!("{} {who}{by}", fault.action.name())
        }
        Action::Stall { reset_after: Some(after) } => {
            format!("stall, reset after {}", show(*after))
        }
        other => words::long(table, rule, other),
    }
}

fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
