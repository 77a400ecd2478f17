//! Rule files: from YAML to a compiled [`Table`], with every error of a file at once.
//!
//! The way of a text, one file a step:
//!
//! ```text
//! source.rs      path to text; what is too large is refused unread
//! document.rs    text to a tree whose values know their places
//! parse.rs       tree to file.rs, what was written (fields.rs, scalar.rs: single values)
//! compile.rs     what was written to table.rs, what is meant
//!                (cluster.rs: nodes; groups.rs, sets.rs, reach.rs: node sets to links;
//!                times.rs, phases.rs: times to window.rs;
//!                messages.rs: what is asked of Raft; about.rs: what that comes to;
//!                random.rs, dist.rs: models of loss, distributions of delays;
//!                hold.rs: delays against the queue; preempt.rs: rules that never match)
//! matrix.rs      the table for people, json.rs for machines; schema.rs for editors
//! ```
//!
//! Pure apart from `source.rs`: no clock, no network, no privileges. Whatever the text, the
//! answer is a table or a [`Report`] with at least one error, never a panic, never a part.

mod about;
mod actions;
mod cluster;
mod compile;
mod conditions;
mod diagnostic;
mod dist;
mod document;
mod fields;
mod file;
mod forms;
mod groups;
mod hold;
pub mod impair;
mod json;
mod json_actions;
mod matrix;
mod messages;
mod narrow;
mod parse;
mod parse_actions;
mod parse_where;
mod phases;
mod preempt;
mod processes;
mod random;
mod reach;
mod roles;
mod scalar;
pub mod scenario;
mod schema;
mod sets;
mod source;
pub mod table;
mod times;
mod window;
mod words;
mod written;

pub use diagnostic::{Diagnostic, FileId, Place, Report, Severity, Span};
pub use dist::{DistError, DistTable, VALUES_MAX};
pub use groups::SetArg;
pub use json::table_json;
pub use matrix::{deeds, matrix};
pub use random::{TABLE_SCALE, scaled};
pub use roles::Roles;
pub use schema::schema;
pub use source::{SIZE_MAX, Source};
pub use table::Table;

use crate::time::Nanos;
use compile::Given;
use diagnostic::Sink;
use fields::Reader;
use file::RuleFile;
use std::path::Path;

/// A table, and what looked suspicious on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// The table.
    pub table: Table,
    /// Warnings only.
    pub warnings: Report,
}

/// All that a table is compiled from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The rule file.
    pub rules: Source,
    /// A cluster file; its `cluster` replaces the one of the rule file, and its groups those
    /// of the same name.
    pub cluster: Option<Source>,
    /// The `--set` arguments; they replace groups of both files.
    pub sets: Vec<SetArg>,
    /// Who leads, where somebody can tell: then rules may name `leader` and the like.
    pub roles: Option<Roles>,
    /// A seed that replaces the file's.
    pub seed: Option<u64>,
}

impl Inputs {
    /// Reads the files. The report names each that cannot be read.
    pub fn read(rules: &Path, cluster: Option<&Path>, sets: &[SetArg]) -> Result<Self, Report> {
        let cluster = cluster.map(Source::read).transpose();
        match (Source::read(rules), cluster) {
            (Ok(rules), Ok(cluster)) => {
                Ok(Self { rules, cluster, sets: sets.to_vec(), roles: None, seed: None })
            }
            (rules, cluster) => {
                let wrong = [rules.err(), cluster.err()].into_iter().flatten().collect();
                Err(Report::without_place(wrong))
            }
        }
    }

    /// The same without rules: everything passes until some are loaded.
    pub fn without_rules(cluster: Option<&Path>, sets: &[SetArg]) -> Result<Self, Report> {
        let cluster = cluster.map(Source::read).transpose();
        let cluster = cluster.map_err(|wrong| Report::without_place(vec![wrong]))?;
        let rules = Source::new("no rules", "rules: []\n");
        Ok(Self { rules, cluster, sets: sets.to_vec(), roles: None, seed: None })
    }

    /// Compiles. Either a whole table, or a report with every error.
    pub fn compile(self) -> Result<Compiled, Report> {
        let mut sink = Sink::default();
        let file = read_tree(&self.rules, FileId::Rules, &mut sink);
        let cluster = match &self.cluster {
            Some(source) => read_tree(source, FileId::Cluster, &mut sink).map(Some),
            None => Some(None),
        };
        let table = match (file, cluster) {
            (Some(file), Some(cluster)) => {
                let load = |path: &str| source::dist(&self.rules, path);
                let (roles, seed) = (self.roles, self.seed);
                let given = Given { sets: &self.sets, roles, seed, load: &load };
                compile::table(&file, cluster.as_ref(), &given, &mut sink)
            }
            _ => None,
        };
        let failed = sink.errors() > 0;
        let report = sink.into_report(std::iter::once(self.rules).chain(self.cluster).collect());
        match table {
            Some(table) if !failed => Ok(Compiled { table, warnings: report }),
            _ => Err(report),
        }
    }
}

fn read_tree(source: &Source, file: FileId, sink: &mut Sink) -> Option<RuleFile> {
    let root = document::read(source.text(), file, sink)?;
    let mut reader = Reader { sink, rule: None, path: Vec::new() };
    match file {
        FileId::Rules => parse::rule_file(&mut reader, &root),
        FileId::Cluster => parse::cluster_file(&mut reader, &root),
    }
}

/// The word among `valid` that was probably meant.
pub fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    diagnostic::nearest(word, valid)
}

/// Reads a duration as rule files write it: `10s`, `1m30s`, `1.5s`. The error says what is
/// wrong and what to write instead.
pub fn duration(text: &str) -> Result<Nanos, String> {
    scalar::duration(text).map_err(|refused| format!("{}: {}", refused.why, refused.help))
}

/// Reads a number of bytes as rule files write it: `1500`, `64KiB`, `1MB`. The error says what is
/// wrong and what to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    scalar::size(text).map_err(|refused| format!("{}: {}", refused.why, refused.help))
}

/// Reads and compiles a rule file.
pub fn load(path: &Path, sets: &[SetArg]) -> Result<Compiled, Report> {
    Inputs::read(path, None, sets)?.compile()
}

/// Compiles the text of a rule file; `name` is what diagnostics call it.
pub fn compile(name: &str, text: &str, sets: &[SetArg]) -> Result<Compiled, Report> {
    let rules = Source::new(name, text);
    Inputs { rules, cluster: None, sets: sets.to_vec(), roles: None, seed: None }.compile()
}
