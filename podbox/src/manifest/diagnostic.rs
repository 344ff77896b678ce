//! What is wrong with a manifest, shown at the place where it stands.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use super::tree::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifest is refused.
    Error,
    /// It is accepted, but not everything in it has an effect.
    Warning,
}

/// Whether to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// Text only.
    #[default]
    Never,
    /// ANSI escapes.
    Ansi,
}

/// A file's text, kept to show lines of it.
#[derive(Debug)]
pub(crate) struct SourceText {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// One mistake or warning.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// `spec.containers[0].livenessProbe`; empty if the text itself is broken.
    pub field_path: String,
    /// What is wrong; where the API server has words for it, those.
    pub message: String,
    /// What would be right, where that can be said.
    pub hint: Option<String>,
    source: Arc<SourceText>,
    span: Range<usize>,
    other: Option<(Range<usize>, &'static str)>,
}

/// A position and a message, before it is tied to its text.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) span: Span,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) other: Option<(Span, &'static str)>,
}

impl Diagnostic {
    pub(crate) fn new(source: &Arc<SourceText>, finding: Finding) -> Self {
        let span = bytes(&source.text, finding.span);
        let before = &source.text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            severity: finding.severity,
            file: source.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            field_path: finding.path,
            message: finding.message,
            hint: finding.hint,
            other: finding.other.map(|(span, label)| (bytes(&source.text, span), label)),
            source: Arc::clone(source),
            span,
        }
    }

    /// `PATH: MESSAGE`, or the message alone if no field is meant.
    #[must_use]
    pub fn text(&self) -> String {
        if self.field_path.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.field_path, self.message)
        }
    }

    /// Shows the mistake in its line: file, position, the line itself with a mark, and what would be right.
    #[must_use]
    pub fn render(&self, color: Color) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(self.text()).element(self.snippet());
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        let report: [Group<'_>; 1] = [group];
        match color {
            Color::Never => Renderer::plain(),
            Color::Ansi => Renderer::styled(),
        }
        .render(&report)
    }

    /// Only the lines that matter are handed on: the rest of the file is cut away.
    fn snippet(&self) -> Snippet<'_, Annotation<'_>> {
        let text = self.source.text.as_str();
        let spans = || std::iter::once(&self.span).chain(self.other.as_ref().map(|(span, _)| span));
        let first = spans().map(|span| span.start).min().unwrap_or(0);
        let last = spans().map(|span| span.end).max().unwrap_or(0);
        let start = text[..first].rfind('\n').map_or(0, |at| at + 1);
        let end = text[last..].find('\n').map_or(text.len(), |at| last + at);
        let shift = |span: &Range<usize>| span.start - start..span.end - start;
        let mut snippet = Snippet::source(&text[start..end])
            .line_start(text[..start].matches('\n').count() + 1)
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(shift(&self.span)));
        if let Some((span, label)) = &self.other {
            snippet = snippet.annotation(AnnotationKind::Context.span(shift(span)).label(*label));
        }
        snippet
    }
}

/// Turns a range of characters into one of bytes that ends on the line where it starts.
fn bytes(text: &str, span: Span) -> Range<usize> {
    let (start, end) = (span.start as usize, span.end as usize);
    let offset = |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    let start = offset(start);
    let end = start.max(offset(end));
    let line = text[start..end].find('\n').map_or(end, |at| start + at);
    start..start + text[start..line].trim_end().len()
}

/// Everything that was found, in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// Above this many, the rest is only counted.
const SHOWN: usize = 50;

impl Diagnostics {
    /// Shows every one, with an empty line between them.
    #[must_use]
    pub fn render(&self, color: Color) -> String {
        let mut shown: Vec<String> = self.0.iter().take(SHOWN).map(|one| one.render(color)).collect();
        if self.0.len() > SHOWN {
            shown.push(format!("… and {} more", self.0.len() - SHOWN));
        }
        shown.join("\n\n")
    }

    /// Whether there is an error among them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|one| one.severity == Severity::Error)
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(Color::Never))
    }
}

impl std::error::Error for Diagnostics {}
