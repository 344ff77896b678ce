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

mod de;
mod defaults;
mod diagnostic;
mod fields;
mod object;
mod paths;
mod refusals;
mod scalar;
mod suggest;
mod tree;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;

pub(crate) use values::yaml_values;

pub use diagnostic::{Color, Diagnostic, Diagnostics, Severity};

use crate::pod::field::{FieldError, Path};
use crate::pod::{self, Pod};
use diagnostic::{Finding, SourceText};
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

/// How to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of a Pod that names none.
    pub namespace: String,
    /// Bounds.
    pub limits: Limits,
    /// Patterns of unsafe kernel parameters that pods may set on this host.
    pub allowed_sysctls: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { namespace: "default".to_owned(), limits: Limits::default(), allowed_sysctls: Vec::new() }
    }
}

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    /// The Pods, in the order of the files; at least one.
    pub pods: Vec<LoadedPod>,
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

/// Reads all files.
///
/// # Errors
///
/// Everything that is wrong in any of them, together with the warnings, if there is at least one error.
pub fn load(sources: &[Source], options: &Options) -> Result<Loaded, Diagnostics> {
    let mut diagnostics = Vec::new();
    let mut pods = Vec::new();
    let mut seen = BTreeMap::new();
    for source in sources {
        let (source, findings) = load_source(source, options, &mut pods, &mut seen);
        let mut findings: Vec<_> = findings.into_iter().map(|one| Diagnostic::new(&source, one)).collect();
        findings.sort_by_key(|one| (one.line, one.column));
        diagnostics.extend(findings);
    }
    let all = Diagnostics(diagnostics);
    if all.has_errors() { Err(all) } else { Ok(Loaded { pods, warnings: all }) }
}

/// Namespace and name of every Pod so far, and where it was.
type Seen = BTreeMap<(String, String), String>;

fn load_source(
    given: &Source,
    options: &Options,
    pods: &mut Vec<LoadedPod>,
    seen: &mut Seen,
) -> (Arc<SourceText>, Vec<Finding>) {
    if given.text.len() > options.limits.bytes {
        let message = format!("the file is larger than {} bytes", options.limits.bytes);
        let source = Arc::new(SourceText::new(&given.name, ""));
        return (source, vec![error(Span::default(), String::new(), message)]);
    }
    let text = match std::str::from_utf8(&given.text) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(why) => {
            let good = String::from_utf8_lossy(&given.text[..why.valid_up_to()]);
            let at = u32::try_from(good.chars().count()).unwrap_or(u32::MAX);
            let message = "the text is not UTF-8 from here on".to_owned();
            let source = Arc::new(SourceText::new(&given.name, &good));
            return (source, vec![error(Span { start: at, end: at }, String::new(), message)]);
        }
    };
    let source = Arc::new(SourceText::new(&given.name, text));
    if let Some((at, control)) = text.chars().enumerate().find(|(_, one)| is_foreign(*one)) {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let message = format!("this is no manifest: it has the control character {control:?} here");
        return (source, vec![error(Span { start: at, end: at }, String::new(), message)]);
    }
    let (tree, mistakes) = Tree::parse(&source.text, &options.limits);
    let mut findings: Vec<Finding> = mistakes.into_iter().map(from_mistake).collect();
    if tree.documents.is_empty() && findings.is_empty() {
        let nothing = "there is no object in this file".to_owned();
        return (source, vec![error(Span::default(), String::new(), nothing)]);
    }
    let directory = given.directory.as_deref();
    let mut reader =
        Reader { tree: &tree, source: &source, directory, options, pods, seen, findings: &mut findings };
    for document in &tree.documents {
        reader.object(*document, &Path::ROOT);
    }
    (source, findings)
}

/// A control character that YAML takes nowhere, not even in quotes: mostly the file is a program or an archive.
fn is_foreign(one: char) -> bool {
    one.is_control() && !matches!(one, '\t' | '\n' | '\r' | '\u{85}')
}

fn error(span: Span, path: String, message: String) -> Finding {
    Finding { severity: Severity::Error, span, path, message, hint: None, other: None }
}

fn from_mistake(mistake: Mistake) -> Finding {
    Finding {
        hint: mistake.hint,
        other: mistake.other,
        ..error(mistake.span, String::new(), mistake.message)
    }
}

/// Reads the objects of one file.
struct Reader<'a, 't> {
    tree: &'t Tree<'t>,
    source: &'a SourceText,
    directory: Option<&'a std::path::Path>,
    options: &'a Options,
    pods: &'a mut Vec<LoadedPod>,
    seen: &'a mut Seen,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_, '_> {
    fn object(&mut self, node: NodeId, path: &Path<'_>) {
        if !matches!(self.tree.node(node).kind, Kind::Map(_)) {
            let message = "this is no Kubernetes object: it must be a mapping with apiVersion and kind";
            self.refuse(self.tree.node(node).span, path, message.to_owned());
            return;
        }
        let (Some(version), Some(kind)) =
            (self.type_of(node, path, "apiVersion"), self.type_of(node, path, "kind"))
        else {
            return;
        };
        match (version.as_str(), kind.as_str()) {
            ("v1", "Pod") => self.pod(node, path),
            ("v1", "List" | "PodList") => self.list(node, path),
            (_, "Pod") => {
                let message = format!("no kind \"Pod\" is registered for version \"{version}\"");
                self.refuse_key(node, path, "apiVersion", message);
                self.hint("write apiVersion: v1");
            }
            _ => {
                let message = format!("kind {kind} is not supported yet: podbox runs kind Pod");
                self.refuse_key(node, path, "kind", message);
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
                self.hint(hint);
                None
            }
        }
    }

    fn list(&mut self, node: NodeId, path: &Path<'_>) {
        let path = path.field("items");
        let Some(items) = self.tree.entry(node, "items") else { return };
        match &self.tree.node(items.value).kind {
            Kind::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.object(*item, &path.index(index));
                }
            }
            Kind::Map(_) | Kind::Scalar(_) => {
                self.refuse(items.key_span, &path, "Invalid value: it must be a list".to_owned());
            }
        }
    }

    fn pod(&mut self, node: NodeId, path: &Path<'_>) {
        let found = RefCell::new(Vec::new());
        let typed: Option<k8s::Pod> = de::read(self.tree, node, path, &found);
        let mut found = found.into_inner();
        fields::check(self.tree, node, path, &mut found);
        let causes = found.len();
        if let Some(mut typed) = typed {
            defaults::fill(&mut typed, &self.options.namespace);
            let wrong = pod::validate(&typed, path);
            found.extend(wrong.into_iter().map(|wrong| self.placed(node, path, wrong)));
            self.unique(node, path, &typed, &mut found);
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
        Finding { hint: wrong.hint, ..error(span, wrong.path, wrong.message) }
    }

    /// Two Pods of one name would be one Pod.
    fn unique(&mut self, node: NodeId, path: &Path<'_>, typed: &k8s::Pod, found: &mut Vec<Finding>) {
        let key = |text: &Option<String>| text.clone().unwrap_or_default();
        let (namespace, name) = (key(&typed.metadata.namespace), key(&typed.metadata.name));
        let span = object::locate(self.tree, node, "metadata.name");
        let here = format!("{}:{}", self.source.name, self.source.line_of(span.start));
        if name.is_empty() {
            return;
        }
        if let Some(there) = self.seen.get(&(namespace.clone(), name.clone())) {
            let path = path.field("metadata").field("name").to_string();
            let hint = Some(format!("{there} has a Pod of this name in namespace {namespace}"));
            found.push(Finding { hint, ..error(span, path, format!("Duplicate value: {name:?}")) });
        } else {
            self.seen.insert((namespace, name), here);
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
                found.extend(
                    foreseen
                        .map(|one| Finding { severity: Severity::Warning, ..self.placed(node, path, one) }),
                );
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
mod tests;
