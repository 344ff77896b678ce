//! What a template is made of.

use std::fmt;

use serde_json::Value;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Printed as it is.
    Text(String),
    /// Printed as what it finds.
    Path(Path),
    /// Its nodes are printed once for each value that the path finds.
    Range(Path, Vec<Node>),
}

/// Steps from the object at hand.
pub(super) type Path = Vec<Step>;

/// One step of a path: from each value to some others.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// `.name`.
    Field(String),
    /// `.*` and `[*]`.
    All,
    /// `..`: every object and list below, and this one.
    Deep,
    /// `[n]`, counted from the end if negative.
    Index(i64),
    /// `[from:to:step]`.
    Slice(Slice),
    /// `[a,b]`: all that the first finds, then all that the second finds.
    Union(Vec<Path>),
    /// `[?(…)]`.
    Filter(Filter),
}

/// The parts of a slice that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slice {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) step: Option<i64>,
}

/// The condition of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) left: Operand,
    /// Without a comparison the left side has only to be there.
    pub(super) test: Option<(Comparison, Operand)>,
    /// As it was written, for messages.
    pub(super) text: String,
}

/// A side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    Literal(Value),
}

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        match self {
            Self::Field(name) => write!(f, ".{}", name.replace('.', "\\.")),
            Self::All => f.write_str("[*]"),
            Self::Deep => f.write_str(".."),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Slice(slice) => match slice.step {
                Some(step) => write!(f, "[{}:{}:{step}]", part(slice.from), part(slice.to)),
                None => write!(f, "[{}:{}]", part(slice.from), part(slice.to)),
            },
            Self::Union(paths) => {
                f.write_str("[")?;
                for (at, path) in paths.iter().enumerate() {
                    f.write_str(if at > 0 { "," } else { "" })?;
                    path.iter().try_for_each(|step| write!(f, "{step}"))?;
                }
                f.write_str("]")
            }
            Self::Filter(filter) => write!(f, "[?({})]", filter.text),
        }
    }
}
