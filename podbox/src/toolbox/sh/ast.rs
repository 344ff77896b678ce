//! What a script is made of.

use std::cell::OnceCell;
use std::rc::Rc;

/// Commands one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct List(pub(super) Vec<Item>);

/// One entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) chain: Chain,
    pub(super) mode: Mode,
}

/// What ended the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `;` or a newline.
    Foreground,
    /// `&`.
    Background,
}

/// `a && b || c`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    pub(super) first: Pipeline,
    pub(super) rest: Vec<(Link, Pipeline)>,
    /// As it was written, for a shell of its own.
    pub(super) source: String,
}

/// What must be true of the exit code so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    And,
    Or,
}

/// `! a | b`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    pub(super) negated: bool,
    pub(super) commands: Vec<Command>,
}

/// One command with what its descriptors shall be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) kind: Kind,
    pub(super) redirects: Vec<Redirect>,
    /// As it was written, for a shell of its own.
    pub(super) source: String,
}

/// The kinds of commands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    /// `{ …; }`.
    Group(List),
    /// `( … )`.
    Subshell(List),
    If {
        branches: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    Loop {
        until: Until,
        condition: List,
        body: List,
    },
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: List,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, List)>,
    },
    Function {
        name: String,
        body: Rc<Command>,
    },
}

/// When a loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// `while`.
    Fails,
    /// `until`.
    Succeeds,
}

/// `2>file` and its like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Redirect {
    pub(super) fd: usize,
    pub(super) to: Target,
}

/// Where a descriptor leads.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    Read(Word),
    Write(Word),
    Append(Word),
    Both(Word),
    /// `>&1`, or `>&-`, which closes.
    Same(Word),
    /// The body comes after the end of the line, when this value has long been made.
    Here(Rc<OnceCell<Word>>),
}

/// One word, before anything in it is replaced.
pub(super) type Word = Vec<Part>;

/// A piece of a word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// May hold patterns.
    Bare(String),
    /// Stands for itself.
    Quoted(String),
    Parameter(Box<Parameter>, Quotes),
    /// `$(…)`.
    Command(String, Quotes),
    /// `$((…))`.
    Arithmetic(Word, Quotes),
}

/// Whether a replacement stands in double quotes, and so stays one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    None,
    Double,
}

/// `${name…}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) change: Change,
}

/// What is done to a parameter's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    None,
    /// `${#x}`.
    Length,
    /// `${x-w}`, `${x=w}`, `${x+w}`, `${x?w}`; with a colon an empty value counts as none.
    Instead {
        sign: char,
        empty_too: bool,
        word: Word,
    },
    /// `${x#w}`, `${x##w}`, `${x%w}`, `${x%%w}`.
    Trim {
        end: char,
        longest: bool,
        pattern: Word,
    },
}

/// The word's text, if all of it was written as it is.
pub(super) fn literal(word: &Word) -> Option<&str> {
    match &word[..] {
        [Part::Bare(text)] => Some(text),
        _ => None,
    }
}
