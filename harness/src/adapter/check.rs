//! Reading an adapter file: everything that is wrong with it at once, each with its place.
//!
//! A file is first checked by the schema of [`AdapterFile`], so that editors and raftq say the
//! same, and a new section of the type needs no code here; then by what a schema cannot say.
//! Every variant is checked, also those that were not asked for: merged into the plain file, by
//! itself. What a schema may hold is what `schemars` makes of our types, no more.

use super::file::{AdapterFile, Ask, Length};
use super::template::Templates;
use super::tree::{Form, Place, Tree};
use crate::{Error, Result, schema};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The schema of adapter files.
#[must_use]
pub fn schema() -> String {
    schema::text(&schema::of::<AdapterFile>(TITLE))
}

const TITLE: &str = "raftq adapter";

/// The most that is told at once.
const TOLD_MAX: usize = 20;

/// Reads a file with the variants chosen, in this order. `origin` is what errors call it.
pub(super) fn read(
    text: &str,
    origin: &str,
    variants: &[&str],
    templates: &Templates,
) -> Result<AdapterFile> {
    let plain = Tree::read(text).map_err(|e| not_yaml(origin, &e))?;
    let mut checker = Checker::new(templates);
    checker.file(&plain);
    for (_, _, change) in plain.get("variants").map(Tree::entries).unwrap_or_default() {
        let mut merged = plain.clone();
        merged.merge(change);
        checker.file(&merged);
    }
    let mut merged = plain.clone();
    for name in variants {
        match plain.get("variants").and_then(|all| all.get(name)) {
            Some(change) => merged.merge(change),
            None => checker.no_variant(&plain, name),
        }
    }
    let file = checker.file(&merged);
    checker.verdict(origin)?;
    file.ok_or_else(|| Error::new(format!("{origin}: the schema fits, and the file does not")))
}

fn not_yaml(origin: &str, error: &serde_yaml::Error) -> Error {
    let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column()));
    let why = error.without_snippet().to_string();
    Error::new(format!("{origin}{}: {why}", place.unwrap_or_default()))
}

/// What is wrong so far, in the order of the file.
struct Checker<'t> {
    templates: &'t Templates,
    root: Value,
    found: BTreeSet<(Place, String)>,
}

impl<'t> Checker<'t> {
    fn new(templates: &'t Templates) -> Self {
        let root = schema::of::<AdapterFile>(TITLE).to_value();
        Self { templates, root, found: BTreeSet::new() }
    }

    /// Checks a whole file; it is one if nothing is wrong.
    fn file(&mut self, tree: &Tree) -> Option<AdapterFile> {
        let before = self.found.len();
        let root = self.root.clone();
        self.value(tree, &root, "");
        if self.found.len() > before {
            return None;
        }
        match serde_json::from_value::<AdapterFile>(tree.json()) {
            Ok(file) => {
                self.meaning(tree, &file);
                Some(file)
            }
            // Only where an earlier pass has told it already, or the schema says too little.
            Err(error) => {
                if self.found.is_empty() {
                    self.wrong(tree.at, "", &error.to_string());
                }
                None
            }
        }
    }

    fn wrong(&mut self, at: Place, path: &str, what: &str) {
        let of = if path.is_empty() { String::new() } else { format!("{path}: ") };
        self.found.insert((at, format!("{of}{what}")));
    }

    fn verdict(&self, origin: &str) -> Result<()> {
        let mut told = String::new();
        for ((line, column), what) in self.found.iter().take(TOLD_MAX) {
            let _ = write!(told, "\n{origin}:{line}:{column}: {what}");
        }
        match self.found.len() {
            0 => Ok(()),
            n if n > TOLD_MAX => Err(Error::new(format!("{told}\nand more of them").trim_start())),
            _ => Err(Error::new(told.trim_start())),
        }
    }

    fn value(&mut self, tree: &Tree, schema: &Value, path: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let target = name.trim_start_matches("#/definitions/");
            let target = self.root["definitions"][target].clone();
            return self.value(tree, &target, path);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.value(tree, part, path);
        }
        let words = words(schema);
        match (&tree.form, schema["type"].as_str()) {
            (Form::Map(_), Some("object")) => self.map(tree, schema, path),
            (Form::List(items), Some("array")) => self.list(tree, items, schema, path),
            (Form::Text(text), _) if !words.is_empty() => {
                if !words.contains(&text.as_str()) {
                    let help = nearest(text, &words);
                    self.wrong(tree.at, path, &format!("`{text}` is not valid here; {help}"));
                }
            }
            (Form::Text(text), Some("string")) => self.text(tree, text, schema, path),
            (Form::Plain(value), Some(kind)) if fits(value, schema, kind) => {}
            (_, None) if words.is_empty() => {}
            (form, kind) => {
                let kind = if words.is_empty() { kind.unwrap_or("string") } else { "string" };
                let plain = kind == "string" && matches!(form, Form::Plain(v) if !v.is_null());
                let help = if plain { "; put it in quotes" } else { "" };
                let what = format!("{} is needed here, not {}{help}", called(kind), shown(form));
                self.wrong(tree.at, path, &what);
            }
        }
    }

    fn map(&mut self, tree: &Tree, schema: &Value, path: &str) {
        let empty = serde_json::Map::new();
        let known = schema["properties"].as_object().unwrap_or(&empty);
        let others = &schema["additionalProperties"];
        let names = words(&schema["propertyNames"]);
        let names = known.keys().map(String::as_str).chain(names).collect::<Vec<_>>();
        for (key, at, value) in tree.entries() {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match known.get(key) {
                Some(schema) => self.value(value, schema, &below),
                None if !names.is_empty() && !names.contains(&key.as_str()) => {
                    let help = nearest(key, &names);
                    self.wrong(*at, path, &format!("there is no key `{key}` here; {help}"));
                }
                None if others.is_object() => self.value(value, others, &below),
                None => {}
            }
        }
        let has = |key: &Value| key.as_str().is_some_and(|key| tree.get(key).is_some());
        for key in schema["required"].as_array().into_iter().flatten() {
            if !has(key) {
                let key = key.as_str().unwrap_or_default();
                let whole = if path.is_empty() { "an adapter" } else { path };
                self.wrong(tree.at, "", &format!("{whole} needs `{key}`"));
            }
        }
        self.exactly_one(tree, schema, path);
    }

    fn exactly_one(&mut self, tree: &Tree, schema: &Value, path: &str) {
        let forms = schema["oneOf"].as_array().into_iter().flatten();
        let keys: Vec<&str> = forms.filter_map(|form| form["required"][0].as_str()).collect();
        let there: Vec<&str> = keys.iter().copied().filter(|key| tree.get(key).is_some()).collect();
        if keys.is_empty() || there.len() == 1 {
            return;
        }
        // The second is the one too many; where none is, the map lacks it.
        let at = there.get(1).map_or(tree.at, |key| tree.place(&[key]));
        self.wrong(at, path, &format!("it needs exactly one of {}", keys.join(", ")));
    }

    fn list(&mut self, tree: &Tree, items: &[Tree], schema: &Value, path: &str) {
        for (i, item) in items.iter().enumerate() {
            self.value(item, &schema["items"], &format!("{path}[{}]", i + 1));
        }
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            self.wrong(tree.at, path, "an empty list says nothing");
        }
    }

    fn text(&mut self, tree: &Tree, text: &str, schema: &Value, path: &str) {
        let read = match schema["format"].as_str() {
            Some("template") => self.templates.check(text),
            Some("expression") => self.templates.check_expression(text),
            Some("duration") if Length::parse(text).is_none() => {
                Err(Error::new(format!("`{text}` is no duration such as 20s or 500ms")))
            }
            _ => Ok(()),
        };
        if let Err(error) = read {
            self.wrong(tree.at, path, &error.to_string());
        }
    }

    /// What a schema cannot say.
    fn meaning(&mut self, tree: &Tree, file: &AdapterFile) {
        self.bears_no_data(tree, file);
        for (path, ask) in file.asks() {
            let (name, here) = (path.join("."), |key| [&path[..], &[key]].concat());
            if ask.line().is_some() && file.base.is_none() {
                let what = "an HTTP call needs `base` at the top of the file";
                self.wrong(tree.place(&path), &name, what);
            }
            if ask.driver.is_some() && file.driver.is_none() {
                let what = "there is no `driver` at the top of the file";
                self.wrong(tree.place(&here("driver")), &name, what);
            }
            self.only_with(tree, ask, &path);
            let answers = path.iter().try_fold(tree, |tree, key| tree.get(key));
            let says = answers.is_some_and(|call| call.get("answers").is_some());
            match (says, ask.driver.is_some()) {
                (true, true) => {
                    let what = "a driver says itself what its answers mean; leave `answers` out";
                    self.wrong(tree.place(&here("answers")), &name, what);
                }
                (false, false) if path != ["status"] => {
                    self.wrong(tree.place(&path), "", &format!("{name} needs `answers`"));
                }
                _ => {}
            }
        }
    }

    /// Nobody waits for data from the cluster itself.
    fn bears_no_data(&mut self, tree: &Tree, file: &AdapterFile) {
        for (what, call) in &file.admin {
            if call.answers.iter().any(|meaning| meaning.is.is_none()) {
                let path = ["admin", what.word(), "answers"];
                let told = format!("admin.{what}");
                self.wrong(tree.place(&path), &told, "its answers bear no data; write `is`");
            }
        }
    }

    fn only_with(&mut self, tree: &Tree, ask: &Ask, path: &[&str]) {
        for (key, there, with, fits) in [
            ("body", ask.body.is_some(), "an HTTP call", ask.line().is_some()),
            ("stdin", ask.stdin.is_some(), "a command", ask.command.is_some()),
        ] {
            if there && !fits {
                let at = tree.place(&[path, &[key]].concat());
                self.wrong(at, &path.join("."), &format!("`{key}` belongs to {with}"));
            }
        }
    }

    fn no_variant(&mut self, plain: &Tree, name: &str) {
        let all = plain.get("variants").map(Tree::entries).unwrap_or_default();
        let known: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
        let what = match known.as_slice() {
            [] => format!("it has no variants, so none is called `{name}`"),
            known => format!("no variant is called `{name}`; {}", nearest(name, known)),
        };
        self.wrong(plain.place(&["variants"]), "", &what);
    }
}

/// The words that a schema allows.
fn words(schema: &Value) -> Vec<&str> {
    let described = schema["oneOf"].as_array().into_iter().flatten();
    let described = described.flat_map(|form| {
        let plain = form["enum"].as_array().into_iter().flatten();
        plain.chain(Some(&form["const"]))
    });
    let plain = schema["enum"].as_array().into_iter().flatten();
    plain.chain(described).filter_map(Value::as_str).collect()
}

fn fits(value: &Value, schema: &Value, kind: &str) -> bool {
    match kind {
        "boolean" => value.is_boolean(),
        "integer" => value.as_u64().is_some_and(|number| {
            let at_most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
            number as f64 <= at_most
        }),
        "number" => value.is_number(),
        _ => false,
    }
}

fn called(kind: &str) -> &str {
    match kind {
        "object" => "a map",
        "array" => "a list",
        "boolean" => "true or false",
        "integer" => "a whole number in range",
        "number" => "a number",
        _ => "text",
    }
}

fn shown(form: &Form) -> String {
    match form {
        Form::Plain(Value::Null) => "nothing".to_owned(),
        Form::Plain(value) => value.to_string(),
        Form::Text(text) => format!("the text `{text}`"),
        Form::List(_) => "a list".to_owned(),
        Form::Map(_) => "a map".to_owned(),
    }
}

/// The word that was probably meant, else all of them.
fn nearest(word: &str, known: &[&str]) -> String {
    let close = known.iter().map(|known| (strsim::jaro_winkler(word, known), known));
    match close.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, known)) if likeness > 0.8 => format!("did you mean `{known}`?"),
        _ => format!("there are {}", known.join(", ")),
    }
}
