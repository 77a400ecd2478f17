//! An adapter's YAML as a tree in which every value knows its place, variants merged into it.
//!
//! A variant's values keep their own places, so that what is wrong with a merged file is told
//! where it was written.

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};
use serde_yaml::Spanned;
use std::fmt;

/// A line and a column, counted from 1.
pub(super) type Place = (u64, u64);

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) form: Form,
    pub(super) at: Place,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// Nothing, a truth or a number.
    Plain(Value),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A map in the order of the file; each key with its own place.
    Map(Vec<(String, Place, Tree)>),
}

impl Tree {
    /// Reads a text; its errors have line and column.
    pub(super) fn read(text: &str) -> Result<Self, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[(String, Place, Self)] {
        match &self.form {
            Form::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(own, ..)| own == key).map(|(.., value)| value)
    }

    /// The place of what a path of keys leads to, or of the last thing on the way.
    pub(super) fn place(&self, path: &[&str]) -> Place {
        let mut at = self.at;
        let mut here = self;
        for step in path {
            let Some((_, key, next)) = here.entries().iter().find(|(own, ..)| own == step) else {
                break;
            };
            (at, here) = (*key, next);
        }
        at
    }

    /// Puts a change over it: maps key by key, `more_args` one after the other, and anything
    /// else replaced.
    pub(super) fn merge(&mut self, change: &Self) {
        let (Form::Map(entries), Form::Map(changes)) = (&mut self.form, &change.form) else {
            *self = change.clone();
            return;
        };
        for (key, at, value) in changes {
            match entries.iter_mut().find(|(own, ..)| own == key) {
                None => entries.push((key.clone(), *at, value.clone())),
                Some((_, _, old)) => match (&mut old.form, &value.form) {
                    (Form::List(old), Form::List(more)) if key == "more_args" => {
                        old.extend_from_slice(more);
                    }
                    _ => old.merge(value),
                },
            }
        }
    }

    /// The same without places.
    pub(super) fn json(&self) -> Value {
        match &self.form {
            Form::Plain(value) => value.clone(),
            Form::Text(text) => Value::String(text.clone()),
            Form::List(items) => items.iter().map(Self::json).collect(),
            Form::Map(entries) => {
                entries.iter().map(|(key, _, value)| (key.clone(), value.json())).collect()
            }
        }
    }
}

/// Where an aliased value was written, not where it is used: there it has to be mended.
fn place<T>(spanned: &Spanned<T>) -> Place {
    (spanned.defined.line(), spanned.defined.column())
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Form>::deserialize(deserializer)?;
        let at = place(&spanned);
        Ok(Self { form: spanned.value, at })
    }
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Form;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Form, E> {
        Ok(Form::Plain(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Form, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Form, D::Error> {
        Form::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Form, E> {
        Ok(Form::Plain(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Form, E> {
        Ok(Form::Plain(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Form, E> {
        Ok(Form::Plain(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Form, E> {
        Ok(Form::Plain(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Form, E> {
        Ok(Form::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Form, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Form::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Form, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Tree>()? {
            let at = place(&key);
            entries.push((key.value, at, value));
        }
        Ok(Form::Map(entries))
    }
}
