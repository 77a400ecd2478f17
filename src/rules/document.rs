//! YAML text to a tree in which every value knows its place.
//!
//! Scalars keep their text: what is a number and what a word is decided by `parse.rs`, which
//! knows what belongs there. The events come from the parser of the `serde_yaml` dependency;
//! a tree is built from them here, and not by `Deserialize`, because a rule file is to get
//! *all* its errors at once, duplicate keys included, and deserialization stops at the first.
//!
//! Anchors and aliases work; their expansion counts towards [`NODES_MAX`], so that a few
//! lines cannot become gigabytes. Merge keys, tags and several documents are refused.

use super::diagnostic::{Diagnostic, FileId, Sink, Span, quote};
use serde_yaml::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, Span as Marked, options,
};
use std::collections::HashMap;

/// The most values a file may have, repetitions by aliases included.
pub(super) const NODES_MAX: usize = 1_000_000;

/// The deepest nesting that is read; the grammar needs seven levels.
const DEPTH_MAX: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A scalar as written; `plain` if without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, without duplicate keys.
    Map(Vec<(Key, Node)>),
}

/// The key of a map's entry.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Span,
}

impl Node {
    /// Whether nothing is written here, or YAML's word for nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// Reads the one document of a text. `None` if there is no tree; then `sink` has the reason.
pub(super) fn read(text: &str, file: FileId, sink: &mut Sink) -> Option<Node> {
    let options = options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        emit_comments: false,
    };
    let mut builder = Builder {
        file,
        sink,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, place)) => builder.event(event, place),
            Err(error) => {
                let start = byte_offset(text, error.marker());
                let span = Span::new(file, start, start);
                let message = match error.kind() {
                    ErrorKind::RecursionLimitExceeded => too_deep(),
                    _ => format!("this is not YAML: {}", error.info()),
                };
                Err(Box::new(Diagnostic::error(message).at(span)))
            }
        };
        if let Err(diagnostic) = step {
            builder.sink.push(*diagnostic);
            return None;
        }
    }
    let root = builder.root.take();
    if root.is_none() {
        let span = Span::new(file, 0, 0);
        sink.push(
            Diagnostic::error("the file is empty")
                .at(span)
                .help("begin with `cluster:` and `rules:`, or copy one of the shipped rule files"),
        );
    }
    root
}

fn too_deep() -> String {
    format!("values are nested deeper than {DEPTH_MAX} levels")
}

/// Byte offsets come with markers of string input; the rest is for a parser that forgot one.
fn byte_offset(text: &str, marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or_else(|| {
        text.char_indices().nth(marker.index()).map_or(text.len(), |(offset, _)| offset)
    })
}

/// What stops reading at once; boxed because it is rare and large.
type Stop = Box<Diagnostic>;

struct Builder<'a> {
    file: FileId,
    sink: &'a mut Sink,
    open: Vec<Collection>,
    /// Finished anchored values, with the number of values in each.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
}

/// A list or map whose end has not come yet.
struct Collection {
    span: Span,
    anchor: usize,
    /// Count of all values before this one, to know how many are inside.
    before: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<PendingKey>, places: HashMap<String, Span> },
}

/// A key whose value has not come yet.
enum PendingKey {
    Word(Key),
    /// Already reported; its value is dropped.
    Refused,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, place: Marked) -> Result<(), Stop> {
        let span = self.span(place);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Box::new(
                        Diagnostic::error("a second YAML document begins here")
                            .at(span)
                            .help("a rule file is one document: remove the `---`"),
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place, span);
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.count(1, span)?;
                self.finish(Node { value, span }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place, span);
                self.open(Items::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place, span);
                let places = HashMap::new();
                self.open(Items::Map { entries: Vec::new(), key: None, places }, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let Some((_, size)) = self.anchors.get(&id) else {
                    return Err(Box::new(
                        Diagnostic::error("this alias stands inside the value it repeats").at(span),
                    ));
                };
                self.count(*size, span)?;
                let (node, size) = self.anchors[&id].clone();
                self.finish(node, 0, size)
            }
            _ => Ok(()),
        }
    }

    fn span(&self, place: Marked) -> Span {
        let start = place.start.byte_offset().unwrap_or(0);
        let end = place.end.byte_offset().unwrap_or(start).max(start);
        Span::new(self.file, start, end)
    }

    fn refuse_tag(&mut self, tagged: bool, place: Marked, span: Span) {
        if tagged {
            let span = place.tag_span().map_or(span, |tag| self.span(tag));
            self.sink.push(Diagnostic::error("tags are not used in rule files").at(span));
        }
    }

    fn count(&mut self, more: usize, span: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values, aliases counted");
            return Err(Box::new(Diagnostic::error(message).at(span)));
        }
        Ok(())
    }

    fn open(&mut self, items: Items, anchor: usize, span: Span) -> Result<(), Stop> {
        if self.open.len() == DEPTH_MAX {
            return Err(Box::new(Diagnostic::error(too_deep()).at(span)));
        }
        let before = self.nodes;
        self.count(1, span)?;
        self.open.push(Collection { span, anchor, before, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(done) = self.open.pop() else { return Ok(()) };
        let value = match done.items {
            Items::List(items) => Value::List(items),
            Items::Map { entries, .. } => Value::Map(entries),
        };
        let size = self.nodes - done.before;
        self.finish(Node { value, span: done.span }, done.anchor, size)
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Stop> {
        if anchor != 0 {
            // The copy kept for later aliases is paid for like one.
            self.count(size, node.span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, key, places } => match key.take() {
                None => *key = Some(as_key(node, places, self.sink)),
                Some(PendingKey::Word(key)) => {
                    // A value left out has its place somewhere behind; its key says more.
                    let absent = node.span.start == node.span.end && node.is_null();
                    let span = if absent { key.span } else { node.span };
                    entries.push((key, Node { span, ..node }));
                }
                Some(PendingKey::Refused) => {}
            },
        }
        Ok(())
    }
}

fn as_key(node: Node, places: &mut HashMap<String, Span>, sink: &mut Sink) -> PendingKey {
    let Value::Scalar { text, .. } = node.value else {
        sink.push(
            Diagnostic::error("a list or map cannot be a key")
                .at(node.span)
                .help("keys are single words; text with braces or brackets needs quotes"),
        );
        return PendingKey::Refused;
    };
    if text == "<<" {
        sink.push(
            Diagnostic::error("merge keys are not read")
                .at(node.span)
                .help("write the keys out; an alias may repeat a whole value"),
        );
        return PendingKey::Refused;
    }
    if let Some(first) = places.get(&text) {
        let message = format!("the key {} stands here twice", quote(&text));
        let clash = Diagnostic::error(message).at(node.span).first(*first);
        sink.push(clash.help("keep one of the two"));
        return PendingKey::Refused;
    }
    places.insert(text.clone(), node.span);
    PendingKey::Word(Key { text, span: node.span })
}
