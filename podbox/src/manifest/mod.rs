//! The manifest as the user wrote it, and its way to a [`Pod`](crate::pod::Pod).
//!
//! ```text
//! text ─ tree ─► spanned tree ─ de ─► k8s types ─ defaults ─► v1 Pod ─ pod::validate, pod::convert ─► pod::Pod
//!           │                    │                                        │
//!           └── fields: is every field honoured? ──── findings ◄──────────┘
//! ```
//!
//! Nothing stops at the first mistake: each step notes what it finds, with the place where it stands, and the
//! user sees all of it at once, for all files.

mod advice;
mod annotations;
mod de;
mod defaults;
mod diagnostic;
mod fields;
mod kinds;
mod mend;
mod notes;
mod object;
mod objects;
mod paths;
mod plain;
mod refusals;
mod resource_name;
mod scalar;
mod stream;
mod suggest;
mod tree;
mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;

pub(crate) use values::yaml_values;

pub use diagnostic::{Color, Diagnostic, Diagnostics, Severity};
pub use notes::Strictness;
pub use plain::value;

use crate::pod::field::{FieldError, Path};
use crate::pod::{self, Pod};
use crate::services::Bounds;
use crate::store::ObjectKind;
use diagnostic::{Finding, SourceText};
use notes::Notes;
use tree::{Kind, Mistake, NodeId, Span, Tree};

/// One file, or standard input.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it: the file's name as it was given, `<stdin>`.
    pub name: String,
    /// Its bytes: UTF-8, YAML or JSON, any number of documents.
    pub text: Vec<u8>,
    /// What relative paths in it start from: the file's directory; `None` for the working directory.
    pub directory: Option<PathBuf>,
}

impl Source {
    /// A source from text that is at hand.
    pub fn new(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), text: text.into(), directory: None }
    }

    /// The same, of a file in `directory`.
    #[must_use]
    pub fn in_directory(self, directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()), ..self }
    }
}

/// What a file may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file. The API server takes requests of up to 3 MiB.
    pub bytes: usize,
    /// Lists and mappings nested in each other.
    pub depth: usize,
    /// Values in one file, each alias counted with all that it stands for.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 3 << 20, depth: 100, nodes: 200_000 }
    }
}

/// What networks a host has.
#[derive(Clone, Debug, Default)]
pub enum Networks {
    /// That is not known.
    #[default]
    Unknown,
    /// podbox's own, the one that every pod is on first.
    Own(Vec<netplugin::NetworkConfig>),
    /// A CNI network, whose plugins know by themselves which addresses they have to give.
    Chain {
        /// Its name.
        name: String,
        /// Whether it leads ports of the host to pods.
        maps_ports: bool,
    },
}

/// How to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of a Pod that names none.
    pub namespace: String,
    /// Bounds.
    pub limits: Limits,
    /// Patterns of unsafe kernel parameters that pods may set on this host.
    pub allowed_sysctls: Vec<String>,
    /// What the pods' annotations about networks are compared with.
    pub networks: Networks,
    /// Whether an address is one of this host's, if it is this one that the pods are for.
    pub is_of_host: Option<fn(IpAddr) -> bool>,
    /// What Services' addresses and ports are compared with, if that is known.
    pub services: Option<Bounds>,
    /// What becomes of fields that nobody knows.
    pub strictness: Strictness,
    /// The Pods are there already: they may have `ephemeralContainers`.
    pub existing: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            limits: Limits::default(),
            allowed_sysctls: Vec::new(),
            networks: Networks::default(),
            is_of_host: None,
            services: None,
            strictness: Strictness::default(),
            existing: false,
        }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The Pods, in the order of the files.
    pub pods: Vec<LoadedPod>,
    /// All else, in the order in which it is needed; together with the Pods at least one.
    pub objects: Vec<LoadedObject>,
    /// What is accepted but has no effect.
    pub warnings: Diagnostics,
}

/// One Pod and where it came from.
#[derive(Debug)]
pub struct LoadedPod {
    /// Validated and defaulted; `uid` is empty, for the caller to fill in.
    pub pod: Pod,
    /// The v1 Pod after the API server's defaulting: `apiVersion`, `kind`, `metadata`, `spec`.
    pub object: serde_json::Value,
    /// The file's name.
    pub file: String,
    /// The line where the object begins, from 1.
    pub line: usize,
}

/// One object that is no Pod, and where it came from.
#[derive(Clone, Debug)]
pub struct LoadedObject {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace; empty where the kind knows none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The v1 object with its defaults.
    pub object: serde_json::Value,
}

/// Reads all files.
///
/// # Errors
///
/// Everything that is wrong in any of them, together with the warnings, if there is at least one error.
pub fn load(sources: &[Source], options: &Options) -> Result<Loaded, Diagnostics> {
    let mut diagnostics = Vec::new();
    let (mut pods, mut objects) = (Vec::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for source in sources {
        let (source, findings) = load_source(source, options, (&mut pods, &mut objects), &mut seen);
        let mut findings: Vec<_> = findings.into_iter().map(|one| Diagnostic::new(&source, one)).collect();
        findings.sort_by_key(|one| (one.line, one.column));
        diagnostics.extend(findings);
    }
    let all = Diagnostics(diagnostics);
    // Stable: objects of one kind stay in the order of the files.
    objects.sort_by_key(|object| object.kind);
    if all.has_errors() { Err(all) } else { Ok(Loaded { pods, objects, warnings: all }) }
}

/// Kind, namespace and name of every object so far, and where it was.
type Seen = BTreeMap<(&'static str, String, String), String>;

fn load_source(
    given: &Source,
    options: &Options,
    (pods, objects): (&mut Vec<LoadedPod>, &mut Vec<LoadedObject>),
    seen: &mut Seen,
) -> (Arc<SourceText>, Vec<Finding>) {
    if given.text.len() > options.limits.bytes {
        let message = format!("the file is larger than {} bytes", options.limits.bytes);
        let source = Arc::new(SourceText::new(&given.name, ""));
        return (source, vec![error(Span::default(), String::new(), message)]);
    }
    if let Some(encoding) = foreign_encoding(&given.text) {
        let source = Arc::new(SourceText::new(&given.name, ""));
        let message = format!("the text is {encoding}, and a manifest must be UTF-8");
        let hint = Some("convert it: iconv -f UTF-16 -t UTF-8".replace("UTF-16", encoding));
        return (source, vec![Finding { hint, ..error(Span::default(), String::new(), message) }]);
    }
    let text = match std::str::from_utf8(&given.text) {
        Ok(text) => text.strip_prefix(BOM).unwrap_or(text),
        Err(why) => {
            let good = String::from_utf8_lossy(&given.text[..why.valid_up_to()]);
            let at = u32::try_from(good.chars().count()).unwrap_or(u32::MAX);
            let message = "the text is not UTF-8 from here on".to_owned();
            let source = Arc::new(SourceText::new(&given.name, &good));
            return (source, vec![error(Span { start: at, end: at }, String::new(), message)]);
        }
    };
    // Files that were put together have more than one.
    let text = if text.contains(BOM) {
        Cow::Owned(text.replace("---\n\u{feff}", "---\n").replace("---\r\n\u{feff}", "---\r\n"))
    } else {
        Cow::Borrowed(text)
    };
    let source = Arc::new(SourceText::new(&given.name, &text));
    if let Some((at, control)) = text.chars().enumerate().find(|(_, one)| is_foreign(*one)) {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let message = format!("this is no manifest: it has the control character {control:?} here");
        return (source, vec![error(Span { start: at, end: at }, String::new(), message)]);
    }
    let findings = read_text(given, &source, options, (pods, objects), seen);
    (source, findings)
}

/// Reads a text, mending what kubectl reads and the parser does not.
fn read_text(
    given: &Source,
    source: &SourceText,
    options: &Options,
    (pods, objects): (&mut Vec<LoadedPod>, &mut Vec<LoadedObject>),
    seen: &mut Seen,
) -> Vec<Finding> {
    let borders = stream::borders(&source.text);
    let mut text = mend::surrogates(&source.text);
    let mut tries = mend::tries(text.len());
    loop {
        let (tree, mistakes) = Tree::parse(&text, &borders, &options.limits);
        if let Some(mended) = mend::mended(&text, &mistakes).filter(|_| tries > 0) {
            tries -= 1;
            text = Cow::Owned(mended);
            continue;
        }
        let mut findings: Vec<Finding> =
            mistakes.into_iter().filter_map(|mistake| from_mistake(mistake, options.strictness)).collect();
        if tree.documents.is_empty() && findings.is_empty() {
            let nothing = "there is no object in this file".to_owned();
            return vec![error(Span::default(), String::new(), nothing)];
        }
        let directory = given.directory.as_deref();
        let mut reader =
            Reader { tree: &tree, source, directory, options, pods, objects, seen, findings: &mut findings };
        for document in &tree.documents {
            reader.object(*document, &Path::ROOT, "");
        }
        return findings;
    }
}

/// What some editors put at the beginning of a text; it says nothing, and nobody sees it.
const BOM: char = '\u{feff}';

/// The encoding that a text says it has, if it is another than UTF-8: by its byte order mark, or because every other
/// byte of its beginning is zero.
fn foreign_encoding(text: &[u8]) -> Option<&'static str> {
    match text {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [b' '..=b'~', 0, b' '..=b'~', 0, ..] => Some("UTF-16LE"),
        [0, b' '..=b'~', 0, b' '..=b'~', ..] => Some("UTF-16BE"),
        _ => None,
    }
}

/// A control character that YAML takes nowhere, not even in quotes: mostly the file is a program or an archive.
fn is_foreign(one: char) -> bool {
    one.is_control() && !matches!(one, '\t' | '\n' | '\r' | '\u{85}')
}

fn error(span: Span, path: String, message: String) -> Finding {
    Finding { severity: Severity::Error, span, path, message, hint: None, other: None }
}

/// `None` if nothing is to be said about it.
fn from_mistake(mistake: Mistake, strictness: Strictness) -> Option<Finding> {
    let severity = if mistake.is_duplicate { strictness.severity()? } else { Severity::Error };
    let Mistake { span, message, hint, other, .. } = mistake;
    Some(Finding { severity, span, path: String::new(), message, hint, other })
}

/// Reads the objects of one file.
struct Reader<'a, 't> {
    tree: &'t Tree<'t>,
    source: &'a SourceText,
    directory: Option<&'a std::path::Path>,
    options: &'a Options,
    pods: &'a mut Vec<LoadedPod>,
    objects: &'a mut Vec<LoadedObject>,
    seen: &'a mut Seen,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_, '_> {
    /// Reads an object; `assumed` is its kind where it says nothing itself, as elements of a list of one kind.
    fn object(&mut self, node: NodeId, path: &Path<'_>, assumed: &str) {
        if !matches!(self.tree.node(node).kind, Kind::Map(_)) {
            let message = "this is no Kubernetes object: it must be a mapping with apiVersion and kind";
            self.refuse(self.tree.node(node).span, path, message.to_owned());
            if matches!(&self.tree.node(node).kind, Kind::Scalar(scalar) if scalar.text().contains(':')) {
                self.hint("a blank is missing behind the colon");
            }
            return;
        }
        let silent = ["apiVersion", "kind"].iter().all(|key| self.tree.entry(node, key).is_none());
        let (version, kind) = if silent && !assumed.is_empty() {
            (kinds::list_version(assumed).to_owned(), assumed.to_owned())
        } else {
            let both = (self.type_of(node, path, "apiVersion"), self.type_of(node, path, "kind"));
            let (Some(version), Some(kind)) = both else { return };
            (version, kind)
        };
        match (version.as_str(), kinds::stored(&kind), kinds::of_list(&kind)) {
            ("v1", _, _) if kind == "Pod" => self.pod(node, path),
            (version, Some(kind), _) if version == kind.api_version() => self.stored(kind, node, path),
            (version, _, Some(of)) if version == kinds::list_version(of) => self.list(node, path, of),
            _ => {
                let refusal = kinds::refuse(&version, &kind);
                self.refuse_key(node, path, refusal.key, refusal.message);
                if let (Some(hint), Some(last)) = (refusal.hint, self.findings.last_mut()) {
                    last.hint = Some(hint);
                }
            }
        }
    }

    /// `apiVersion` or `kind`; reports it if it is missing or no string.
    fn type_of(&mut self, node: NodeId, path: &Path<'_>, key: &'static str) -> Option<String> {
        let value = self.tree.entry(node, key).map(|entry| &self.tree.node(entry.value).kind);
        match value {
            Some(Kind::Scalar(scalar)) if matches!(scalar.value(), scalar::Value::Str(text) if !text.is_empty()) => {
                Some(scalar.text().to_owned())
            }
            _ => {
                let span = object::locate(self.tree, node, key);
                self.refuse(span, &path.field(key), "Required value: every object needs it".to_owned());
                let hint = if key == "kind" { "write kind: Pod" } else { "write apiVersion: v1" };
                let near = match &self.tree.node(node).kind {
                    Kind::Map(entries) => entries.iter().any(|entry| entry.key.eq_ignore_ascii_case(key)),
                    _ => false,
                };
                self.hint(&if near { format!("did you mean `{key}`?") } else { hint.to_owned() });
                None
            }
        }
    }

    fn list(&mut self, node: NodeId, path: &Path<'_>, of: &str) {
        let path = path.field("items");
        let Some(items) = self.tree.entry(node, "items") else {
            return self.refuse_empty(object::locate(self.tree, node, "kind"), &path);
        };
        match &self.tree.node(items.value).kind {
            Kind::Seq(inside) if inside.is_empty() => self.refuse_empty(items.key_span, &path),
            Kind::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.object(*item, &path.index(index), of);
                }
            }
            Kind::Scalar(_) if self.tree.is_null(items.value) => self.refuse_empty(items.key_span, &path),
            Kind::Map(_) | Kind::Scalar(_) => {
                self.refuse(items.key_span, &path, "Invalid value: it must be a list".to_owned());
            }
        }
    }

    fn stored(&mut self, kind: ObjectKind, node: NodeId, path: &Path<'_>) {
        let notes = Notes::new(self.options.strictness);
        let place = objects::Place { tree: self.tree, node, path };
        let read = objects::read(kind, place, &self.options.namespace, &notes);
        let mut found = notes.into_found();
        let causes = found.len();
        if let Some(read) = read {
            found.extend(read.wrong.into_iter().map(|wrong| self.placed(node, path, wrong)));
            let warning =
                |one: FieldError| Finding { severity: Severity::Warning, ..self.placed(node, path, one) };
            found.extend(read.without_effect.into_iter().map(warning));
            self.unique((node, path), (kind.kind(), &read.namespace, &read.name), &mut found);
            if let Some(object) = read.object {
                if let (ObjectKind::Service, Some(bounds)) = (kind, &self.options.services) {
                    let wrong = bounds.check(&object, path).into_iter();
                    found.extend(wrong.map(|wrong| self.placed(node, path, wrong)));
                }
                self.objects.push(LoadedObject { kind, namespace: read.namespace, name: read.name, object });
            }
        }
        object::without_consequences(&mut found, causes);
        self.findings.append(&mut found);
    }

    fn refuse_empty(&mut self, span: Span, path: &Path<'_>) {
        self.refuse(span, path, "there is no object in this list".to_owned());
    }

    fn pod(&mut self, node: NodeId, path: &Path<'_>) {
        let notes = Notes::new(self.options.strictness);
        let typed: Option<k8s::Pod> = de::read(self.tree, node, path, &notes);
        let unhonoured = fields::check(self.tree, node, path, (self.options.existing, &notes));
        let mut found = notes.into_found();
        found.extend(unhonoured);
        let causes = found.len();
        if let Some(mut typed) = typed {
            defaults::fill(&mut typed, &self.options.namespace);
            objects::leave_set(&mut typed.metadata);
            let wrong = pod::validate(&typed, path);
            found.extend(wrong.into_iter().map(|wrong| self.placed(node, path, wrong)));
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (namespace, name) = (text(&typed.metadata.namespace), text(&typed.metadata.name));
            self.unique((node, path), ("Pod", &namespace, &name), &mut found);
            if !found.iter().any(|one| one.severity == Severity::Error) {
                self.accept((node, path), &typed, &mut found);
            }
        }
        object::without_consequences(&mut found, causes);
        self.findings.append(&mut found);
    }

    /// A mistake of the API server's kind, at the place where it was made.
    fn placed(&self, node: NodeId, path: &Path<'_>, wrong: FieldError) -> Finding {
        let culprit = wrong.culprit.as_ref().unwrap_or(&wrong.path);
        let span = object::locate_below(self.tree, node, path, culprit);
        // Whoever has written a zero knows how octal numbers begin.
        let told = |hint: &String| hint.starts_with("octal") && self.source.begins(span.start, "0");
        Finding { hint: wrong.hint.filter(|hint| !told(hint)), ..error(span, wrong.path, wrong.message) }
    }

    /// Two objects of one kind and name would be one object.
    fn unique(
        &mut self,
        (node, path): (NodeId, &Path<'_>),
        (kind, namespace, name): (&'static str, &str, &str),
        found: &mut Vec<Finding>,
    ) {
        let span = object::locate(self.tree, node, "metadata.name");
        let here = format!("{}:{}", self.source.name, self.source.line_of(span.start));
        if name.is_empty() {
            return;
        }
        let key = (kind, namespace.to_owned(), name.to_owned());
        if let Some(there) = self.seen.get(&key) {
            let path = path.field("metadata").field("name").to_string();
            let place =
                if namespace.is_empty() { String::new() } else { format!(" in namespace {namespace}") };
            let hint = Some(format!("{there} has a {kind} of this name{place}"));
            found.push(Finding { hint, ..error(span, path, format!("Duplicate value: {name:?}")) });
        } else {
            self.seen.insert(key, here);
        }
    }

    fn accept(&mut self, (node, path): (NodeId, &Path<'_>), typed: &k8s::Pod, found: &mut Vec<Finding>) {
        let span = self.tree.node(node).span;
        let mut rooted = typed.clone();
        paths::make_absolute(&mut rooted, self.directory);
        // The hash is of what runs: the same text in another directory may mean another image.
        let both =
            object::to_json(typed).and_then(|object| Ok((object::hash(&object::to_json(&rooted)?), object)));
        match both {
            Ok((hash, object)) => {
                let pod = pod::convert(&rooted, hash);
                let foreseen =
                    refusals::foresee(typed, &pod, path, &self.options.allowed_sysctls).into_iter();
                let foreseen = foreseen.chain(annotations::without_effect(&pod, path));
                let foreseen = foreseen.chain(refusals::strange_addresses(typed, path, self.options));
                found.extend(
                    foreseen
                        .map(|one| Finding { severity: Severity::Warning, ..self.placed(node, path, one) }),
                );
                let refused = refusals::networks(&pod, path, &self.options.networks).into_iter();
                let refused = refused.chain(refusals::host_ports(typed, path, &self.options.networks));
                found.extend(refused.map(|one| self.placed(node, path, one)));
                let line = self.source.line_of(span.start);
                self.pods.push(LoadedPod { pod, object, file: self.source.name.clone(), line });
            }
            Err(why) => found.push(error(span, String::new(), format!("cannot be written as JSON: {why}"))),
        }
    }

    fn refuse(&mut self, span: Span, path: &Path<'_>, message: String) {
        self.findings.push(error(span, path.to_string(), message));
    }

    fn hint(&mut self, hint: &str) {
        if let Some(last) = self.findings.last_mut() {
            last.hint = Some(hint.to_owned());
        }
    }

    fn refuse_key(&mut self, node: NodeId, path: &Path<'_>, key: &'static str, message: String) {
        let span = object::locate(self.tree, node, key);
        self.refuse(span, &path.field(key), message);
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
