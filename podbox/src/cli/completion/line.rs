//! The command line that is being completed, as far as it is written.

use std::ffi::OsString;

use clap::{Command, CommandFactory};

use super::super::Cli;

/// What has been written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The command and its subcommand: `["image", "rm"]`.
    pub(super) commands: Vec<String>,
    /// What is no option, before the word at the cursor.
    pub(super) words: Vec<String>,
    /// Options that take a value, under their long names, wherever they are.
    options: Vec<(String, String)>,
}

impl Line {
    /// The line that the shell's script has given to this process: `podbox -- podbox WORD…`.
    pub(super) fn of_this_process() -> Line {
        let words = std::env::args_os().skip_while(|word| word != "--").skip(2);
        let words: Vec<String> = words.map(|word: OsString| word.to_string_lossy().into_owned()).collect();
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse::<usize>().ok());
        let last = words.len().saturating_sub(1);
        Line::read(&words, index.map_or(last, |index| index.saturating_sub(1)))
    }

    /// Reads the words of a line, of which one is at the cursor.
    fn read(words: &[String], cursor: usize) -> Line {
        let mut line = Line::default();
        let root = Cli::command();
        let mut command = &root;
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            if at - 1 == cursor {
                continue;
            }
            if word == "--" {
                break;
            }
            match option(&root, command, word) {
                Some((name, Some(value))) => line.options.push((name, value)),
                Some((name, None)) => {
                    // The value at the cursor is not known yet.
                    let value = words.get(at).filter(|_| at != cursor);
                    line.options.extend(value.map(|value| (name, value.clone())));
                    at += 1;
                }
                None if word.starts_with('-') && word.len() > 1 => {}
                None => match command.find_subcommand(word).filter(|_| line.words.is_empty()) {
                    Some(found) => {
                        line.commands.push(found.get_name().to_owned());
                        command = found;
                    }
                    None if at - 1 < cursor => line.words.push(word.clone()),
                    None => {}
                },
            }
        }
        line
    }

    /// The value of an option, by its long name.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether this is one of these commands.
    pub(super) fn is(&self, commands: &[&str]) -> bool {
        self.commands.first().is_some_and(|command| commands.contains(&command.as_str()))
    }
}

/// The long name of an option that takes a value, and the value if it is in the same word.
fn option(root: &Command, command: &Command, word: &str) -> Option<(String, Option<String>)> {
    let all = || command.get_arguments().chain(root.get_arguments());
    let (found, value) = if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        (all().find(|arg| arg.get_long() == Some(name))?, value)
    } else {
        let mut letters = word.strip_prefix('-')?.char_indices();
        // Flags may stand before it, as in -itn; what is behind it is its value.
        letters.find_map(|(at, letter)| {
            let arg = all().find(|arg| arg.get_short() == Some(letter) && arg.get_action().takes_values())?;
            let rest = &word[1 + at + letter.len_utf8()..];
            Some((arg, (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest))))
        })?
    };
    let name = found.get_long().filter(|_| found.get_action().takes_values())?;
    Some((name.to_owned(), value.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a line whose last word is at the cursor.
    fn read(line: &str) -> Line {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Line::read(&words, words.len() - 1)
    }

    #[test]
    fn options_and_their_values_are_told_from_words() {
        for text in [
            "exec -n team web -c ",
            "exec --namespace team web -c ",
            "exec --namespace=team web -c ",
            "exec -nteam web -c ",
            "exec -it -n=team web -c ",
            "--root /r exec -itn team web -c ",
        ] {
            let line = read(text);
            assert_eq!(line.commands, ["exec"], "{text}");
            assert_eq!(line.words, ["web"], "{text}");
            assert_eq!(line.option("namespace"), Some("team"), "{text}");
        }
        assert_eq!(read("image rm a b ").commands, ["image", "rm"]);
        assert_eq!(read("get pods get ").words, ["pods", "get"]);
        assert_eq!(read("get -n ").option("namespace"), None);
    }

    #[test]
    fn what_stands_behind_the_cursor_counts_only_as_an_option() {
        let words = ["logs", "", "later", "-n", "team"].map(str::to_owned);
        let line = Line::read(&words, 1);
        assert!(line.words.is_empty());
        assert_eq!(line.option("namespace"), Some("team"));
    }
}
