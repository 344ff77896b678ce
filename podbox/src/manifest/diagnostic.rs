//! What is wrong with a manifest, shown at the place where it stands.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

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

/// A file's text, kept to show lines of it, with what finds a place in it quickly.
pub(crate) struct SourceText {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    /// Where every [`STRIDE`]th character is, in bytes; empty if a character is a byte.
    marks: Vec<usize>,
}

const STRIDE: usize = 256;

impl SourceText {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let marks = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().step_by(STRIDE).map(|(at, _)| at).collect(),
        };
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            lines: std::iter::once(0).chain(ends).collect(),
            marks,
        }
    }

    /// The line that holds the character, from 1.
    pub(crate) fn line_of(&self, character: u32) -> usize {
        self.line(self.offset(character))
    }

    /// Whether the text from the character on begins so.
    pub(crate) fn begins(&self, character: u32, with: &str) -> bool {
        self.text.get(self.offset(character)..).is_some_and(|rest| rest.starts_with(with))
    }

    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// Where a character is, in bytes.
    fn offset(&self, character: u32) -> usize {
        let character = character as usize;
        if self.marks.is_empty() {
            return character.min(self.text.len());
        }
        let Some(mark) = self.marks.get(character / STRIDE) else { return self.text.len() };
        let mut rest = self.text[*mark..].char_indices();
        rest.nth(character % STRIDE).map_or(self.text.len(), |(at, _)| mark + at)
    }

    /// Turns a range of characters into one of bytes that ends on the line where it starts.
    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        let end = start.max(self.offset(span.end)).min(self.line_end(start));
        start..start + self.text[start..end].trim_end().len()
    }

    /// The end of the line that holds an offset, without its line feed.
    fn line_end(&self, offset: usize) -> usize {
        self.lines.get(self.line(offset)).map_or(self.text.len(), |next| next - 1)
    }
}

impl std::fmt::Debug for SourceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceText").field("name", &self.name).finish_non_exhaustive()
    }
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
        let span = source.bytes(finding.span);
        let line = source.line(span.start);
        Self {
            severity: finding.severity,
            file: source.name.clone(),
            line,
            column: source.text[source.lines[line - 1]..span.start].chars().count() + 1,
            field_path: harmless(finding.path),
            message: harmless(finding.message),
            hint: finding.hint.map(harmless),
            other: finding.other.map(|(span, label)| (source.bytes(span), label)),
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
        let (snippet, cut) = self.snippet();
        let group = level.primary_title(self.text());
        // A snippet counts columns from its own beginning, which is not the line's if that was cut.
        let mut group = if cut {
            let origin = Origin::path(self.file.as_str()).line(self.line).char_column(self.column);
            group.element(origin).element(snippet)
        } else {
            group.element(snippet.path(self.file.as_str()))
        };
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

    /// Only the lines that matter are handed on: the rest of the file is cut away, and most of a line that is
    /// a whole file in JSON (then it comes with `true`).
    fn snippet(&self) -> (Snippet<'_, Annotation<'_>>, bool) {
        let source = &self.source;
        let both = || std::iter::once(&self.span).chain(self.other.as_ref().map(|(span, _)| span));
        let first = both().map(|span| span.start).min().unwrap_or(0);
        let last = both().map(|span| span.end).max().unwrap_or(0);
        let mut start = source.lines[source.line(first) - 1];
        let mut end = source.line_end(last);
        let wide = end - start > WIDE && source.line(first) == source.line(last);
        let shown = |span: &Range<usize>| !wide || span == &self.span;
        if wide {
            start = source.text.floor_char_boundary(self.span.start.saturating_sub(AROUND).max(start));
            end = source
                .text
                .ceil_char_boundary((self.span.end.min(self.span.start + AROUND) + AROUND).min(end));
        }
        let shift = |span: &Range<usize>| span.start - start..span.end.min(end) - start;
        let mut snippet = Snippet::source(&source.text[start..end])
            .line_start(source.line(start))
            .annotation(AnnotationKind::Primary.span(shift(&self.span)));
        if let Some((span, label)) = self.other.as_ref().filter(|(span, _)| shown(span)) {
            snippet = snippet.annotation(AnnotationKind::Context.span(shift(span)).label(*label));
        }
        (snippet, wide)
    }
}

/// Control characters of a manifest must not reach the terminal.
fn harmless(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A line longer than this is shown only around the mistake.
const WIDE: usize = 400;
const AROUND: usize = 60;

/// Everything that was found, in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// So many mistakes are noted at most in one object; a file can hold more than anyone would read.
pub(crate) const NOTED: usize = 200;

/// Above this many, the rest is only counted: whoever mends a file wants all of it at once, nobody wants a screen
/// that never ends.
const SHOWN: usize = 1000;

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
