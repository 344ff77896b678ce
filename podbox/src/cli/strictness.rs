//! `--validate`, as kubectl has it.

use clap::{Args, ValueEnum};

use crate::manifest::Strictness;

/// The flag, for the commands that read manifests.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ValidateFlag {
    /// What becomes of fields that Kubernetes does not know, or that are given twice
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = How::Strict,
        default_missing_value = "strict"
    )]
    validate: How,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// They are dropped
    #[value(alias = "false")]
    Ignore,
    /// They are dropped, with a warning
    Warn,
    /// They are errors
    #[value(alias = "true")]
    Strict,
}

impl ValidateFlag {
    /// Every field must be known: what commands do that have no such flag.
    pub(super) const STRICT: Self = Self { validate: How::Strict };

    /// What it asks for.
    pub(super) fn strictness(self) -> Strictness {
        match self.validate {
            How::Ignore => Strictness::Ignore,
            How::Warn => Strictness::Warn,
            How::Strict => Strictness::Strict,
        }
    }
}
