//! What is wrong with a rule file, where, and the way out of it.
//!
//! A [`Report`] collects every [`Diagnostic`] of one compilation, in the order of the file,
//! and renders them with the offending line. It decides nothing: what is an error is said
//! by `document.rs`, `parse.rs` and `compile.rs`.

use super::source::Source;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde_json::json;
use std::fmt::Write;

/// Diagnostics kept of one compilation; the rest is only counted.
const DIAGNOSTICS_MAX: usize = 200;

/// Lines longer than this are named by line and column, but not shown.
const SHOWN_LINE_MAX: usize = 2_000;

/// Whether a diagnostic stops the compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// There is no table.
    Error,
    /// There is a table, but it may not do what was meant.
    Warning,
}

/// Which of the inputs a place is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileId {
    /// The rule file.
    Rules,
    /// The cluster file.
    Cluster,
}

/// A stretch of one of the inputs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The input.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
}

impl Span {
    /// A stretch by byte offsets; what lies past 4 GiB is cut off.
    pub(super) fn new(file: FileId, start: usize, end: usize) -> Self {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { file, start: offset(start), end: offset(end) }
    }
}

/// One thing that is wrong, or suspicious.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub help: Option<String>,
    /// Where it stands; `None` for arguments and unreadable files.
    pub span: Option<Span>,
    /// Where the first of two things that clash stands.
    pub first: Option<Span>,
    /// The rule it belongs to, by name or as `rule N`.
    pub rule: Option<Box<str>>,
    /// The field it belongs to, as a path such as `do.delay.by`.
    pub field: Option<Box<str>>,
}

impl Diagnostic {
    /// Something that stops the compilation.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            help: None,
            span: None,
            first: None,
            rule: None,
            field: None,
        }
    }

    /// Something that is probably not meant.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a proposal where there is one.
    #[must_use]
    pub(super) fn nearest(self, word: Option<&str>) -> Self {
        match word {
            Some(word) => self.help(format!("did you mean {}?", quote(word))),
            None => self,
        }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds the place of the first of two things that clash.
    #[must_use]
    pub fn first(mut self, span: Span) -> Self {
        self.first = Some(span);
        self
    }

    /// Adds the rule.
    #[must_use]
    pub fn rule(mut self, name: impl Into<Box<str>>) -> Self {
        self.rule = Some(name.into());
        self
    }

    /// Adds the field.
    #[must_use]
    pub fn field(mut self, path: impl Into<Box<str>>) -> Self {
        self.field = Some(path.into());
        self
    }
}

/// Collects diagnostics while a file is read; never stops at the first.
#[derive(Debug, Default)]
pub(super) struct Sink {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    unlisted: usize,
}

impl Sink {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.diagnostics.len() < DIAGNOSTICS_MAX {
            self.diagnostics.push(diagnostic);
        } else {
            self.unlisted += 1;
        }
    }

    /// Errors so far, those beyond the limit included.
    pub(super) const fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn into_report(mut self, files: Vec<Source>) -> Report {
        self.diagnostics.sort_by_key(|d| d.span);
        // One bad line behind a YAML anchor is seen once for each of its uses.
        let mut seen = std::collections::HashSet::new();
        self.diagnostics.retain(|d| d.span.is_none() || seen.insert((d.span, d.message.clone())));
        Report { files, diagnostics: self.diagnostics, unlisted: self.unlisted }
    }
}

/// Line and column of a diagnostic, both counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Name of the input.
    pub file: &'a str,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// Every diagnostic of one compilation, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    files: Vec<Source>,
    diagnostics: Vec<Diagnostic>,
    unlisted: usize,
}

impl Report {
    /// A report of things that have no place in a file.
    #[must_use]
    pub fn without_place(diagnostics: Vec<Diagnostic>) -> Self {
        Self { files: Vec::new(), diagnostics, unlisted: 0 }
    }

    /// Everything, errors and warnings.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// What stopped the compilation.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.of(Severity::Error)
    }

    /// What is probably not meant.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.of(Severity::Warning)
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Where a diagnostic of this report stands.
    #[must_use]
    pub fn place(&self, diagnostic: &Diagnostic) -> Option<Place<'_>> {
        let span = diagnostic.span?;
        let source = self.source(span)?;
        let (line, column) = source.line_column(span.start as usize);
        Some(Place { file: source.name(), line, column })
    }

    /// The report for people, each diagnostic with its line; ends with a newline.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for diagnostic in &self.diagnostics {
            out += &renderer.render(&[self.group(diagnostic)]);
            out += "\n\n";
        }
        if self.unlisted > 0 {
            let _ = writeln!(out, "and {} more of these", self.unlisted);
        }
        out.truncate(out.trim_end().len());
        if !out.is_empty() {
            out.push('\n');
        }
        out
    }

    /// The report for machines: an array of objects.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let one = |d: &Diagnostic| {
            let place = self.place(d);
            let line = |span: Span| Some(self.source(span)?.line_column(span.start as usize).0);
            json!({
                "severity": if d.severity == Severity::Error { "error" } else { "warning" },
                "message": d.message,
                "help": d.help,
                "file": place.as_ref().map(|p| p.file),
                "line": place.as_ref().map(|p| p.line),
                "column": place.as_ref().map(|p| p.column),
                "first_line": d.first.and_then(line),
                "rule": d.rule,
                "field": d.field,
            })
        };
        self.diagnostics.iter().map(one).collect()
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(move |d| d.severity == severity)
    }

    fn source(&self, span: Span) -> Option<&Source> {
        self.files.get(span.file as usize)
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&diagnostic.message));
        group = group.elements(diagnostic.span.and_then(|span| self.excerpt(span)));
        if let Some(excerpt) = diagnostic.first.and_then(|span| self.excerpt(span)) {
            group = group.element(Level::NOTE.message("the first one is here")).element(excerpt);
        }
        let rule = diagnostic.rule.as_deref().map(|name| match name.strip_prefix("rule ") {
            Some(_) => quote(name),
            None => format!("rule {}", quote(name)),
        });
        let place: Vec<String> =
            rule.into_iter().chain(diagnostic.field.as_deref().map(quote)).collect();
        let place = (!place.is_empty()).then(|| format!("in {}", place.join(", ")));
        let note = place.map(|place| Level::NOTE.message(place));
        let help = diagnostic.help.as_ref().map(|help| Level::HELP.message(help));
        group.elements(note).elements(help)
    }

    /// The line of a place, with the place marked.
    fn excerpt(&self, span: Span) -> Option<Element<'_>> {
        let source = self.source(span)?;
        let (number, column) = source.line_column(span.start as usize);
        let (offset, line) = source.line(number);
        if line.len() > SHOWN_LINE_MAX {
            let origin = Origin::path(source.name()).line(number).char_column(column);
            return Some(origin.into());
        }
        let start = (source.boundary(span.start as usize) - offset).min(line.len());
        let end = source.boundary(span.end as usize).saturating_sub(offset).min(line.len());
        let mark = AnnotationKind::Primary.span(start..end.max(start));
        let snippet = Snippet::source(line).line_start(number).path(source.name());
        Some(snippet.annotation(mark).into())
    }
}

/// A word of the user's, as messages show it: quoted, cut, without control characters.
pub(super) fn quote(word: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut shown: String = word.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if word.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// The word among `valid` that was probably meant.
pub(super) fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const COMPARED_MAX: usize = 64;
    if word.len() > COMPARED_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&lower, &other.to_lowercase());
    let close = valid
        .into_iter()
        .filter(|other| other.len() <= COMPARED_MAX)
        .map(|other| (distance(other), other))
        .min_by_key(|(distance, _)| *distance)?;
    // One slip in a short word, one in three letters of a long one.
    (close.0 <= (word.chars().count() / 3).max(1)).then_some(close.1)
}
