//! Typed reading of tree values: what a field must be, and what is said if it is not.
//!
//! Each reader returns `None` after reporting; the caller goes on with the next field, so
//! that one reading finds every mistake.

use super::diagnostic::{Diagnostic, Sink, Span, nearest, quote};
use super::document::{Key, Node, Value};
use super::file::{At, Chance, NodeSet, Range, Size, Times, Word};
use super::roles::CURRENT_LEADER;
use super::scalar::{self, Refused};
use super::table::Bounds;
use crate::time::Nanos;
use std::borrow::Cow;

/// Reads values, knowing the rule and field it is in.
pub(super) struct Reader<'a> {
    pub(super) sink: &'a mut Sink,
    pub(super) rule: Option<String>,
    pub(super) path: Vec<Cow<'static, str>>,
}

/// A map whose keys were checked.
pub(super) struct Object<'n> {
    entries: &'n [(Key, Node)],
    pub(super) span: Span,
    /// Keys that were probably meant by unknown ones.
    meant: Vec<&'static str>,
}

impl<'n> Object<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    pub(super) fn key(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(k, _)| k.span)
    }
}

impl Reader<'_> {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        let mut diagnostic = diagnostic;
        diagnostic.rule = self.rule.as_deref().map(Box::from);
        if !self.path.is_empty() {
            diagnostic.field = Some(self.path.join(".").into());
        }
        self.sink.push(diagnostic);
    }

    /// Reads one field of an object, if it is there.
    pub(super) fn field<T>(
        &mut self,
        object: &Object<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let node = object.get(key)?;
        self.path.push(Cow::Borrowed(key));
        let value = if node.is_null() {
            self.report(
                Diagnostic::error(format!("{} has no value", quote(key)))
                    .at(node.span)
                    .help("give it one, or remove the key"),
            );
            None
        } else {
            read(self, node)
        };
        self.path.pop();
        value
    }

    /// A map with these keys and no others.
    pub(super) fn object<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &'static [&'static str],
    ) -> Option<Object<'n>> {
        let entries = self.entries(node, what, keys)?;
        let mut meant = Vec::new();
        for (key, _) in entries {
            if !keys.contains(&key.text.as_str()) {
                let unknown = format!("{what} has no key {}", quote(&key.text));
                let near = nearest(&key.text, keys.iter().copied());
                meant.extend(near);
                let help = match near {
                    Some(near) => format!("did you mean {}?", quote(near)),
                    None => format!("its keys are {}", keys.join(", ")),
                };
                self.report(Diagnostic::error(unknown).at(key.span).help(help));
            }
        }
        Some(Object { entries, span: node.span, meant })
    }

    /// A map with any keys.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &[&str],
    ) -> Option<&'n [(Key, Node)]> {
        if let Value::Map(entries) = &node.value {
            return Some(entries);
        }
        let message = format!("{what} is a map of keys and values, not {}", kind(node));
        let help = match keys {
            [] => "write `name: value` on lines of their own".to_owned(),
            keys => format!("its keys are {}", keys.join(", ")),
        };
        self.report(Diagnostic::error(message).at(node.span).help(help));
        None
    }

    /// A key that must be there; one that was misspelt has been reported already.
    pub(super) fn require(&mut self, object: &Object<'_>, key: &str, what: &str, help: &str) {
        if object.get(key).is_none() && !object.meant.contains(&key) {
            let message = format!("{what} needs {}", quote(key));
            self.report(Diagnostic::error(message).at(object.span).help(help));
        }
    }

    pub(super) fn text(&mut self, node: &Node) -> Option<At<String>> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => {
                Some(At { value: text.clone(), span: node.span })
            }
            _ => {
                let message = format!("a word belongs here, not {}", kind(node));
                self.report(Diagnostic::error(message).at(node.span));
                None
            }
        }
    }

    pub(super) fn duration(&mut self, node: &Node) -> Option<At<Nanos>> {
        self.scalar(node, "a duration such as 10s", scalar::duration)
    }

    /// A duration, or a range from which one is drawn.
    pub(super) fn range(&mut self, node: &Node) -> Option<At<Range>> {
        self.scalar(node, "a duration such as 10s", scalar::range)
    }

    pub(super) fn chance(&mut self, node: &Node) -> Option<At<Chance>> {
        let chance = |text: &str| scalar::percentage(text).map(Chance);
        self.scalar(node, "a percentage such as 33%", chance)
    }

    /// A share that may be 0.
    pub(super) fn share(&mut self, node: &Node) -> Option<At<Chance>> {
        let share = |text: &str| scalar::share(text).map(Chance);
        self.scalar(node, "a percentage such as 33%", share)
    }

    /// A number of bytes, at least 1.
    pub(super) fn size(&mut self, node: &Node) -> Option<At<Size>> {
        self.scalar(node, "a number of bytes such as 16KiB", |text| scalar::size(text).map(Size))
    }

    pub(super) fn whole(&mut self, node: &Node, least: u64, most: u64) -> Option<At<u64>> {
        if matches!(node.value, Value::Scalar { plain: false, .. }) {
            let message = "a number belongs here, not a quoted word";
            self.report(Diagnostic::error(message).at(node.span).help("remove the quotes"));
            return None;
        }
        self.scalar(node, "a whole number", |text| scalar::whole(text, least, most))
    }

    pub(super) fn whole_u32(&mut self, node: &Node) -> Option<At<u32>> {
        let number = self.whole(node, 1, u64::from(u32::MAX))?;
        Some(At { value: number.value as u32, span: number.span })
    }

    /// A number that may be 0 here; what 0 means is for later.
    pub(super) fn count(&mut self, node: &Node) -> Option<At<u32>> {
        let number = self.whole(node, 0, u64::from(u32::MAX))?;
        Some(At { value: number.value as u32, span: number.span })
    }

    pub(super) fn port(&mut self, node: &Node) -> Option<At<u16>> {
        let number = self.whole(node, 1, u64::from(u16::MAX))?;
        Some(At { value: number.value as u16, span: number.span })
    }

    pub(super) fn boolean(&mut self, node: &Node) -> Option<At<bool>> {
        self.scalar(node, "true or false", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(Refused {
                why: format!("{} is neither true nor false", quote(other)),
                help: "write true or false".to_owned(),
            }),
        })
    }

    pub(super) fn word<T: Word>(&mut self, node: &Node) -> Option<At<T>> {
        let words = || T::WORDS.iter().map(|(word, _)| *word);
        let choice = words().collect::<Vec<_>>().join(" or ");
        self.scalar(node, &choice, |text| {
            let known = T::WORDS.iter().find(|(word, _)| *word == text);
            known.map(|(_, value)| *value).ok_or_else(|| Refused {
                why: format!("{} is not valid here", quote(text)),
                help: match nearest(text, words()) {
                    Some(near) => format!("did you mean {}?", quote(near)),
                    None => format!("write {choice}"),
                },
            })
        })
    }

    pub(super) fn node_set(&mut self, node: &Node) -> Option<NodeSet> {
        let names = self.one_or_list(node, Self::set_word)?;
        Some(NodeSet { names, span: node.span })
    }

    /// A name, or `leader: current`.
    fn set_word(&mut self, node: &Node) -> Option<At<String>> {
        let follows = |entries: &[(Key, Node)]| entries.iter().any(|(key, _)| key.text == "leader");
        if !matches!(&node.value, Value::Map(entries) if follows(entries)) {
            return self.text(node);
        }
        let object = self.object(node, "a node set", &["leader"])?;
        self.field(&object, "leader", |reader, value| {
            let words = "current, or a name instead of the whole";
            reader.scalar(value, words, |text| match text {
                "current" => Ok(CURRENT_LEADER.to_owned()),
                other => Err(Refused {
                    why: format!("{} is not valid here", quote(other)),
                    help: "write { leader: current } for whoever leads at any time, or `leader` \
                           for who leads as the rule becomes active"
                        .to_owned(),
                }),
            })
        })
    }

    /// A number, or a comparison with one.
    pub(super) fn bounds(&mut self, node: &Node) -> Option<At<Bounds>> {
        self.scalar(node, "a number, or a comparison such as \">3\"", scalar::bounds)
    }

    /// A number of activations.
    pub(super) fn times(&mut self, node: &Node) -> Option<At<Times>> {
        if matches!(&node.value, Value::Scalar { text, .. } if text == "unlimited") {
            return Some(At { value: Times::Unlimited, span: node.span });
        }
        let number = self.count(node)?;
        Some(At { value: Times::Number(number.value), span: number.span })
    }

    /// A value by itself, or a list of such values; not empty.
    pub(super) fn one_or_list<T>(
        &mut self,
        node: &Node,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            return Some(vec![read(self, node)?]);
        };
        if items.is_empty() {
            self.report(
                Diagnostic::error("this list is empty")
                    .at(node.span)
                    .help("name at least one, or remove the key"),
            );
            return None;
        }
        let read: Vec<Option<T>> = items.iter().map(|item| read(self, item)).collect();
        // All are read before any failure counts, so that all failures are reported.
        read.into_iter().collect()
    }

    pub(super) fn scalar<T>(
        &mut self,
        node: &Node,
        what: &str,
        read: impl FnOnce(&str) -> Result<T, Refused>,
    ) -> Option<At<T>> {
        let Value::Scalar { text, .. } = &node.value else {
            let message = format!("{what} belongs here, not {}", kind(node));
            self.report(Diagnostic::error(message).at(node.span));
            return None;
        };
        match read(text) {
            Ok(value) => Some(At { value, span: node.span }),
            Err(Refused { why, help }) => {
                self.report(Diagnostic::error(why).at(node.span).help(help));
                None
            }
        }
    }
}

/// What a value is, for people.
pub(super) fn kind(node: &Node) -> String {
    match &node.value {
        _ if node.is_null() => "nothing".to_owned(),
        Value::Scalar { text, .. } => quote(text),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}
