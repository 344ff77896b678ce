//! The commands that start and stop pods, in a parser of their own.
//!
//! clap builds every subcommand of a parser before it reads the first word, which for all of podbox's takes a third of a
//! millisecond: a tenth of what a pod's namespaces and network take together. What this parser refuses, and whatever asks
//! for help, goes to the whole one, which knows the words for it.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{Cli, Command, Global, down, up};

#[derive(Debug, Parser)]
#[command(name = "podbox")]
struct Quick {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: QuickCommand,
}

#[derive(Debug, Subcommand)]
enum QuickCommand {
    Up(up::UpArgs),
    Down(down::DownArgs),
}

/// The command line, if it begins with one of these commands and has nothing to be explained.
pub(super) fn parse(words: &[OsString]) -> Option<Cli> {
    let command = words.get(1)?;
    if command != "up" && command != "down" {
        return None;
    }
    let Quick { global, command } = Quick::try_parse_from(words).ok()?;
    let command = match command {
        QuickCommand::Up(args) => Command::Up(args),
        QuickCommand::Down(args) => Command::Down(args),
    };
    Some(Cli { global, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Cli> {
        parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn it_understands_what_the_whole_parser_understands() {
        for line in ["podbox up -d pod.yaml --root /r", "podbox down web --grace-period 0 -q", "podbox up -"]
        {
            let whole = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(format!("{:?}", parsed(line).unwrap()), format!("{whole:?}"), "{line}");
        }
    }

    #[test]
    fn what_has_to_be_explained_goes_to_the_whole_parser() {
        for line in [
            "podbox",
            "podbox get pods",
            "podbox --quiet up a.yaml",
            "podbox up --help",
            "podbox down --wrong",
        ] {
            assert!(parsed(line).is_none(), "{line}");
        }
    }
}
