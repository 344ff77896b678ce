//! A YAML (or JSON) stream as a tree in which every node knows where it stands.
//!
//! The parser gives events; this builds nodes from them, resolves anchors, merge keys (`<<`) and tags, and
//! bounds everything that a hostile file could blow up. An alias does not copy what it names: it shares the
//! anchor's children, and each node carries its *weight*, the number of nodes that a reader would meet below
//! it. A file of a few hundred bytes that stands for a billion nodes is so refused at the alias that passes
//! the limit, before anything is expanded.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as ParserSpan, Tag};

use super::Limits;
use super::advice;
use super::diagnostic::NOTED;
use super::mend::Mend;
use super::scalar::{self, Value};
use super::stream;

/// A range of the text, counted in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl From<ParserSpan> for Span {
    fn from(span: ParserSpan) -> Self {
        let at = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        Self { start: at(span.start.index()), end: at(span.end.index()) }
    }
}

impl Span {
    /// The same range in a text that has so many characters more before it.
    pub(crate) fn after(self, before: u32) -> Self {
        Self { start: self.start.saturating_add(before), end: self.end.saturating_add(before) }
    }
}

/// The index of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    pub(crate) kind: Kind<'t>,
    pub(crate) span: Span,
    weight: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind<'t> {
    Scalar(Scalar<'t>),
    Seq(Vec<NodeId>),
    Map(Vec<Entry<'t>>),
}

/// A scalar and how it was written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar<'t> {
    text: Cow<'t, str>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Unquoted: its text decides what it is.
    Plain,
    /// Quoted, a block, or tagged `!!str`.
    String,
}

impl Scalar<'_> {
    /// What it means.
    pub(crate) fn value(&self) -> Value<'_> {
        match self.form {
            Form::Plain => scalar::resolve(&self.text),
            Form::String => Value::Str(&self.text),
        }
    }

    /// What was written, without quotes.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// One `key: value`.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) key_span: Span,
    pub(crate) value: NodeId,
}

/// Something wrong with the text itself, before it means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Another place that belongs to it, and what is there.
    pub(crate) other: Option<(Span, &'static str)>,
    /// A key that is there twice, which need not be an error; the last one counts.
    pub(crate) is_duplicate: bool,
    /// How the text may be mended, so that this is no mistake.
    pub(crate) mend: Option<Mend>,
}

impl Mistake {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { span, message, hint: None, other: None, is_duplicate: false, mend: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A parsed stream.
#[derive(Debug, Default)]
pub(crate) struct Tree<'t> {
    nodes: Vec<Node<'t>>,
    /// The root of each document that is not empty.
    pub(crate) documents: Vec<NodeId>,
}

impl<'t> Tree<'t> {
    pub(crate) fn node(&self, id: NodeId) -> &Node<'t> {
        &self.nodes[id.0 as usize]
    }

    /// The value of a mapping's key; `None` if there is none or this is no mapping.
    pub(crate) fn entry(&self, id: NodeId, key: &str) -> Option<&Entry<'t>> {
        match &self.node(id).kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Kind::Seq(_) | Kind::Scalar(_) => None,
        }
    }

    /// Whether the node is `null`, written or left out.
    pub(crate) fn is_null(&self, id: NodeId) -> bool {
        matches!(&self.node(id).kind, Kind::Scalar(scalar) if scalar.value() == Value::Null)
    }

    /// Reads a stream, at whose `borders` another one begins. What could be read comes back together with every mistake found; after a mistake
    /// that stops the parser, the unfinished document is left out.
    pub(crate) fn parse(text: &'t str, borders: &[usize], limits: &Limits) -> (Self, Vec<Mistake>) {
        let mut builder = Builder {
            tree: Tree::default(),
            mistakes: Vec::new(),
            duplicates: 0,
            stack: Vec::new(),
            anchors: HashMap::new(),
            limits,
            weight: 0,
        };
        'parts: for (part, before) in stream::parts(text, borders) {
            // After its first error the parser repeats it for ever, so this must end there.
            let mut parser = Parser::new_from_str(part);
            while let Some(event) = parser.next_event() {
                let step = match event {
                    Ok((event, span)) => builder.event(event, Span::from(span).after(before)),
                    Err(error) => Err(advice::syntax(part, before, &error)),
                };
                if let Err(mistake) = step {
                    builder.mistakes.push(mistake);
                    break 'parts;
                }
                if builder.mistakes.len() - builder.duplicates >= NOTED {
                    break 'parts;
                }
            }
        }
        (builder.tree, builder.mistakes)
    }
}

struct Builder<'t, 'l> {
    tree: Tree<'t>,
    mistakes: Vec<Mistake>,
    /// How many of the mistakes are keys that are there twice.
    duplicates: usize,
    stack: Vec<Frame<'t>>,
    anchors: HashMap<usize, Anchor>,
    limits: &'l Limits,
    weight: usize,
}

enum Anchor {
    Open,
    Node(NodeId),
}

struct Frame<'t> {
    span: Span,
    anchor: usize,
    weight: u32,
    inside: Inside<'t>,
}

enum Inside<'t> {
    Seq(Vec<NodeId>),
    Map(Box<MapFrame<'t>>),
}

#[derive(Default)]
struct MapFrame<'t> {
    entries: Vec<Entry<'t>>,
    /// A key that waits for its value; the outer `Some` says that there is one.
    pending: Option<Key<'t>>,
    merges: Vec<NodeId>,
    /// Only for mappings so large that looking through them would be quadratic.
    index: Option<HashMap<String, usize>>,
}

enum Key<'t> {
    Name(Cow<'t, str>, Span),
    Merge,
    /// A mistake was reported; the value is dropped.
    Unusable,
}

/// Above this many entries a mapping's keys are looked up by hash.
const INDEXED: usize = 24;

impl<'t> Builder<'t, '_> {
    fn event(&mut self, event: Event<'t>, span: Span) -> Result<(), Mistake> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) | Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let form = self.form(style, tag.as_deref(), span);
                let scalar = Scalar { text, form };
                if self.wants_key() {
                    self.key(scalar, span);
                    return Ok(());
                }
                let id = self.add(Kind::Scalar(scalar), span, 1)?;
                if anchor != 0 {
                    self.anchors.insert(anchor, Anchor::Node(id));
                }
                self.attach(id);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), span);
                self.open(Inside::Seq(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), span);
                self.open(Inside::Map(Box::default()), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(anchor) => self.alias(anchor, span),
        }
    }

    fn form(&mut self, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Form {
        let untagged = if style == ScalarStyle::Plain { Form::Plain } else { Form::String };
        let Some(tag) = tag else { return untagged };
        if tag.is_yaml_core_schema() {
            match tag.suffix.as_str() {
                "str" => return Form::String,
                "int" | "float" | "bool" | "null" => return Form::Plain,
                _ => {}
            }
        } else if tag.handle.is_empty() && tag.suffix == "!" {
            return Form::String;
        }
        self.mistakes.push(Mistake::new(span, format!("the tag {tag} means nothing in a manifest")));
        untagged
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag else { return };
        if !(tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "map" | "seq")) {
            let mistake = Mistake::new(span, format!("the tag {tag} means nothing in a manifest"));
            self.mistakes.push(mistake);
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { inside: Inside::Map(map), .. }) if map.pending.is_none())
    }

    fn key(&mut self, scalar: Scalar<'t>, span: Span) {
        let quote = |what: &str| {
            Mistake::new(span, format!("this key is {what}, not a name"))
                .hint(format!("put it in quotes: \"{}\"", scalar.text))
        };
        let mut mistake = None;
        let key = match scalar.value() {
            Value::Str("<<") if scalar.form == Form::Plain => Key::Merge,
            Value::Str(_) => Key::Name(scalar.text.clone(), span),
            // JSON has only strings as keys, and kubectl writes the number in decimal.
            Value::Int(number) => Key::Name(Cow::Owned(number.to_string()), span),
            other => {
                mistake = Some(quote(match other {
                    Value::Null => "null",
                    Value::Bool(_) => "a boolean",
                    _ => "a number",
                }));
                Key::Unusable
            }
        };
        self.mistakes.extend(mistake);
        if let Some(Frame { inside: Inside::Map(map), .. }) = self.stack.last_mut() {
            map.pending = Some(key);
        }
    }

    fn add(&mut self, kind: Kind<'t>, span: Span, weight: u32) -> Result<NodeId, Mistake> {
        self.weight = self.weight.saturating_add(1);
        let id = u32::try_from(self.tree.nodes.len()).unwrap_or(u32::MAX);
        if self.weight > self.limits.nodes || weight as usize > self.limits.nodes {
            let message = format!("the file stands for more than {} values", self.limits.nodes);
            return Err(Mistake::new(span, message));
        }
        self.tree.nodes.push(Node { kind, span, weight });
        Ok(NodeId(id))
    }

    fn open(&mut self, inside: Inside<'t>, anchor: usize, span: Span) -> Result<(), Mistake> {
        if self.stack.len() >= self.limits.depth {
            let message = format!("more than {} levels are nested here", self.limits.depth);
            return Err(Mistake::new(span, message));
        }
        if self.wants_key() {
            let mistake = Mistake::new(span, "a key must be a name, not a list or a mapping");
            let doubled = self.stack.last().is_some_and(|map| map.span.start + 1 == span.start);
            self.mistakes.push(match doubled {
                true => mistake.hint("`{{` looks like a template: render it first"),
                false => mistake,
            });
            if let Some(Frame { inside: Inside::Map(map), .. }) = self.stack.last_mut() {
                map.pending = Some(Key::Unusable);
            }
            // The collection itself is read as a value of its own and dropped by `attach`.
            self.stack.push(Frame { span, anchor: usize::MAX, weight: 1, inside });
            return Ok(());
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
        self.stack.push(Frame { span, anchor, weight: 1, inside });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Mistake> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let span = Span { start: frame.span.start, end: span.end.max(frame.span.end) };
        let mut weight = frame.weight;
        let kind = match frame.inside {
            Inside::Seq(items) => Kind::Seq(items),
            Inside::Map(map) => Kind::Map(self.merged(*map, &mut weight)),
        };
        let id = self.add(kind, span, weight)?;
        if frame.anchor == usize::MAX {
            return Ok(());
        }
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, Anchor::Node(id));
        }
        self.attach(id);
        Ok(())
    }

    /// The mapping's own entries, then those of its merge keys that it does not have itself.
    fn merged(&self, map: MapFrame<'t>, weight: &mut u32) -> Vec<Entry<'t>> {
        let MapFrame { mut entries, merges, .. } = map;
        if merges.is_empty() {
            return entries;
        }
        let mut known: std::collections::HashSet<String> =
            entries.iter().map(|entry| entry.key.to_string()).collect();
        for source in merges {
            let Kind::Map(more) = &self.tree.node(source).kind else { continue };
            for entry in more {
                if known.insert(entry.key.to_string()) {
                    *weight = weight.saturating_add(self.tree.node(entry.value).weight);
                    entries.push(entry.clone());
                }
            }
        }
        entries
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Mistake> {
        let target = match self.anchors.get(&anchor) {
            Some(Anchor::Node(target)) => *target,
            Some(Anchor::Open) => return Err(Mistake::new(span, "this alias stands for what contains it")),
            None => return Err(Mistake::new(span, "this alias has no anchor in its document")),
        };
        if self.wants_key() {
            return Err(Mistake::new(span, "an alias cannot be a key here"));
        }
        let Node { kind, weight, .. } = self.tree.node(target).clone();
        self.weight = self.weight.saturating_add(weight as usize);
        let id = self.add(kind, span, weight)?;
        self.attach(id);
        Ok(())
    }

    /// Hands a finished node to what contains it.
    fn attach(&mut self, id: NodeId) {
        let added = self.tree.node(id).weight;
        let Some(frame) = self.stack.last_mut() else {
            if !self.tree.is_null(id) {
                self.tree.documents.push(id);
            }
            return;
        };
        frame.weight = frame.weight.saturating_add(added);
        match &mut frame.inside {
            Inside::Seq(items) => items.push(id),
            Inside::Map(map) => match map.pending.take() {
                Some(Key::Name(key, key_span)) => {
                    if let Some(first) = map.insert(Entry { key, key_span, value: id }) {
                        let first = &mut map.entries[first];
                        first.value = id;
                        if self.duplicates < NOTED {
                            self.duplicates += 1;
                            let message = format!("the key \"{}\" is there twice", first.key);
                            let mut mistake = Mistake::new(key_span, message).hint("keep one of them");
                            mistake.other = Some((first.key_span, "first here"));
                            mistake.is_duplicate = true;
                            self.mistakes.push(mistake);
                        }
                    }
                }
                Some(Key::Merge) => self.merge(id),
                Some(Key::Unusable) | None => {}
            },
        }
    }

    fn merge(&mut self, id: NodeId) {
        let node = self.tree.node(id);
        let sources = match &node.kind {
            Kind::Map(_) => vec![id],
            Kind::Seq(items) if items.iter().all(|i| matches!(self.tree.node(*i).kind, Kind::Map(_))) => {
                items.clone()
            }
            Kind::Seq(_) | Kind::Scalar(_) => {
                let mistake = Mistake::new(node.span, "`<<` takes an alias of a mapping, or a list of them");
                self.mistakes.push(mistake);
                return;
            }
        };
        if let Some(Frame { inside: Inside::Map(map), .. }) = self.stack.last_mut() {
            map.merges.extend(sources);
        }
    }
}

impl<'t> MapFrame<'t> {
    /// Adds an entry, or says where its key already is.
    fn insert(&mut self, entry: Entry<'t>) -> Option<usize> {
        let known = match &self.index {
            Some(index) => index.get(entry.key.as_ref()).copied(),
            None => self.entries.iter().position(|other| other.key == entry.key),
        };
        if known.is_some() {
            return known;
        }
        if let Some(index) = &mut self.index {
            index.insert(entry.key.to_string(), self.entries.len());
        } else if self.entries.len() >= INDEXED {
            let all = self.entries.iter().chain([&entry]).enumerate();
            self.index = Some(all.map(|(at, entry)| (entry.key.to_string(), at)).collect());
        }
        self.entries.push(entry);
        None
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
