//! Reads the tables of `docs/equivalents.md`: what each line names, and the rules in it.

use crate::engine_support::lab::{Lab, compile};
use raftq::rules::{Roles, Table};

/// A line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The heading of its section.
    pub(crate) tool: String,
    /// The other tool's option, as it is written there.
    pub(crate) option: String,
    /// Each rule, as a file has it.
    pub(crate) rules: Vec<String>,
    /// What stands beside the rules.
    pub(crate) top: String,
    /// Whether it says that there is no equivalent.
    pub(crate) none: bool,
    /// What differs.
    pub(crate) remark: String,
}

impl Line {
    pub(crate) fn table(&self, roles: Option<Roles>) -> Table {
        compile(&self.rules, &self.top, roles)
            .unwrap_or_else(|wrong| panic!("{}, {}: {wrong}", self.tool, self.option))
    }

    /// The cluster with these rules.
    pub(crate) fn lab(&self) -> Lab {
        Lab::new(self.table(None))
    }
}

pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut tool = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut tool);
        }
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else {
            continue;
        };
        // An empty last cell leaves one bar alone.
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [option, ours, remark] = cells[..] else { panic!("three cells, not {line}") };
        if option == tool || option.starts_with("---") {
            continue;
        }
        let spans = code(ours);
        let (rules, top): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.starts_with('{'));
        lines.push(Line {
            tool: tool.clone(),
            option: option.replace('`', ""),
            rules: rules.iter().map(|rule| (**rule).clone()).collect(),
            top: top.iter().map(|line| (**line).clone()).collect::<Vec<_>>().join("\n"),
            none: ours.starts_with("*None*"),
            remark: remark.to_owned(),
        });
    }
    lines
}

/// What stands in backquotes.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
