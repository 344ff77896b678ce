//! The parser's errors in words that say what to do, where the text shows it.

use saphyr_parser::ScanError;

use super::mend::Mend;
use super::tree::{Mistake, Span};

/// The mistake that stopped the parser, in a text that has `before` characters before it.
pub(crate) fn syntax(text: &str, before: u32, error: &ScanError) -> Mistake {
    let at = u32::try_from(error.marker().index()).unwrap_or(u32::MAX);
    let span = Span { start: at, end: at }.after(before);
    let info = error.info();
    if info.contains("recursion limit") {
        return Mistake::new(span, "too many levels are nested here");
    }
    let mut mistake = Mistake::new(span, format!("this is not YAML: {info}"));
    mistake.mend = Mend::of(info);
    let line = error.marker().line().saturating_sub(1);
    let mut lines = text.lines().skip(line.saturating_sub(1));
    let above = if line == 0 { "" } else { lines.next().unwrap_or("") };
    mistake.hint = advice(info, above, lines.next().unwrap_or("")).map(str::to_owned);
    mistake
}

/// What to do about an error in `line`.
fn advice(info: &str, above: &str, line: &str) -> Option<&'static str> {
    let indentation = &line[..line.len() - line.trim_start().len()];
    let said = |words: &str| info.contains(words);
    Some(if indentation.contains('\t') {
        "YAML takes only blanks as indentation: replace the tab"
    } else if line.contains("{{") {
        "this looks like a template: render it first"
    } else if line.contains('\u{a0}') || above.contains('\u{a0}') {
        "there is a no-break space, which looks like a blank: replace it"
    } else if said("mapping values") && line.contains(": ") && line.matches(": ").count() > 1 {
        "put the value in quotes if it contains `: `"
    } else if said("mapping values") {
        "a blank is missing behind a colon above, or the indentation is wrong"
    } else if said("did not find expected key") || said("expected '-' indicator") {
        "the indentation fits no line above"
    } else if said("escape") || said("hexadecimal") {
        "in double quotes a backslash must be doubled; in single quotes it stands for itself"
    } else if said("unexpected character") || said("anchor or alias") || said("unknown anchor") {
        "put it in quotes"
    } else if said("end of stream") {
        "the quote is not closed"
    } else if said("indentation in quoted") {
        "the quote is not closed, or a line within it is indented too little"
    } else if said("expected ',' or") || said("illegal placement") {
        "a bracket is not closed, or a comma is missing"
    } else {
        return None;
    })
}
