//! From words to arguments: parameters, commands and arithmetic are replaced, what was not quoted is split
//! into fields, and patterns become file names (XCU 2.6).

use super::arithmetic::{self, Names};
use super::ast::{Change, Parameter, Part, Quotes, Word};
use super::pattern::{self, Letter};
use super::process;
use super::shell::{Ran, Shell, Stop};

/// Fields in the making.
struct Fields {
    done: Vec<Vec<Letter>>,
    current: Option<Vec<Letter>>,
    /// The separators; `None` where nothing is split.
    separators: Option<String>,
}

impl Fields {
    fn letters(&mut self, text: &str, quoted: impl Into<bool>) {
        let quoted = quoted.into();
        self.current.get_or_insert_default().extend(text.chars().map(|letter| (letter, quoted)));
    }

    /// What came from a replacement outside of quotes.
    fn split(&mut self, text: &str) {
        let Some(separators) = self.separators.clone() else { return self.letters(text, false) };
        for letter in text.chars() {
            if !separators.contains(letter) {
                self.current.get_or_insert_default().push((letter, false));
            } else if letter.is_whitespace() {
                self.done.extend(self.current.take());
            } else {
                self.done.push(self.current.take().unwrap_or_default());
            }
        }
    }

    fn end(&mut self) {
        self.done.extend(self.current.take());
    }
}

impl Shell {
    /// The arguments that the words stand for.
    pub(super) fn fields(&mut self, words: &[Word]) -> Result<Vec<String>, Stop> {
        let separators = self.variable("IFS").unwrap_or_else(|| " \t\n".to_owned());
        let mut fields = Fields { done: Vec::new(), current: None, separators: Some(separators) };
        for word in words {
            self.expand(word, &mut fields)?;
            fields.end();
        }
        let mut arguments = Vec::new();
        for field in fields.done {
            let found = if pattern::is_pattern(&field) { pattern::files(&field) } else { Vec::new() };
            if found.is_empty() {
                arguments.push(text(&field));
            } else {
                arguments.extend(found);
            }
        }
        Ok(arguments)
    }

    /// The one text that the word stands for, where nothing is split.
    pub(super) fn single(&mut self, word: &Word) -> Result<String, Stop> {
        Ok(text(&self.pattern(word)?))
    }

    /// The same, with what was quoted marked.
    pub(super) fn pattern(&mut self, word: &Word) -> Result<Vec<Letter>, Stop> {
        let mut fields = Fields { done: Vec::new(), current: None, separators: None };
        self.expand(word, &mut fields)?;
        fields.end();
        Ok(fields.done.join(&(' ', false)))
    }

    fn expand(&mut self, word: &Word, fields: &mut Fields) -> Result<(), Stop> {
        for (at, part) in word.iter().enumerate() {
            match part {
                Part::Bare(text) if at == 0 && text.starts_with('~') => {
                    let (tilde, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
                    match self.variable("HOME").filter(|_| tilde == "~") {
                        Some(home) => fields.letters(&home, true),
                        None => fields.letters(tilde, false),
                    }
                    fields.letters(rest, false);
                }
                Part::Bare(text) => fields.letters(text, false),
                // Empty quotes before `"$@"` make no field of their own.
                Part::Quoted(text)
                    if text.is_empty() && is_all_arguments(&word[at + 1..]) && self.args.is_empty() => {}
                Part::Quoted(text)
                    if text.is_empty()
                        && at > 0
                        && fields.current.is_none()
                        && is_all_arguments(&word[at - 1..at]) => {}
                Part::Quoted(text) => fields.letters(text, true),
                Part::Parameter(parameter, quotes) => self.parameter(parameter, *quotes, fields)?,
                Part::Command(source, quotes) => {
                    let output = self.output_of(source)?;
                    put(&output, *quotes, fields);
                }
                Part::Arithmetic(word, quotes) => {
                    let expression = self.single(word)?;
                    match arithmetic::evaluate(&expression, self) {
                        Ok(value) => put(&value.to_string(), *quotes, fields),
                        Err(message) => return self.fail(&message),
                    }
                }
            }
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &Parameter, quotes: Quotes, fields: &mut Fields) -> Result<(), Stop> {
        let name = parameter.name.as_str();
        if name == "@" && parameter.change == Change::None && fields.separators.is_some() {
            for (at, argument) in self.args.clone().iter().enumerate() {
                if at > 0 {
                    fields.end();
                }
                put(argument, quotes, fields);
            }
            return Ok(());
        }
        let value = self.value_of(name);
        let value = match &parameter.change {
            Change::None => value,
            Change::Length => Some(value.unwrap_or_default().chars().count().to_string()),
            Change::Trim { end, longest, pattern } => {
                let pattern = self.pattern(pattern)?;
                value.map(|value| trim(&value, *end, *longest, &pattern))
            }
            Change::Instead { sign, empty_too, word } => {
                let there = value.as_ref().is_some_and(|value| !(*empty_too && value.is_empty()));
                match sign {
                    '+' if there => return self.inner(word, quotes, fields),
                    '+' => Some(String::new()),
                    _ if there => value,
                    '-' => return self.inner(word, quotes, fields),
                    '=' => {
                        let value = self.single(word)?;
                        self.assign(name, value.clone());
                        Some(value)
                    }
                    _ => {
                        let message = self.single(word)?;
                        let message = if message.is_empty() { "not set" } else { &message };
                        return self.fail(&format!("{name}: {message}"));
                    }
                }
            }
        };
        if value.is_none() && self.options.nounset && !matches!(name, "@" | "*") {
            return self.fail(&format!("{name}: not set"));
        }
        put(&value.unwrap_or_default(), quotes, fields);
        Ok(())
    }

    /// The word of `${x-word}`: in double quotes all of it is quoted.
    fn inner(&mut self, word: &Word, quotes: Quotes, fields: &mut Fields) -> Result<(), Stop> {
        match quotes {
            Quotes::Double => {
                let text = self.single(word)?;
                fields.letters(&text, true);
                Ok(())
            }
            // Even what was written here is split, as if it had been the value.
            Quotes::None => word.iter().try_for_each(|part| match part {
                Part::Bare(text) if !text.starts_with('~') => {
                    fields.split(text);
                    Ok(())
                }
                other => self.expand(&vec![other.clone()], fields),
            }),
        }
    }

    fn value_of(&self, name: &str) -> Option<String> {
        Some(match name {
            "?" => self.status.to_string(),
            "$" => self.pid.to_string(),
            "!" => self.children.last()?.to_string(),
            "#" => self.args.len().to_string(),
            "-" => self.options.letters(),
            "0" => self.name.clone(),
            "@" | "*" => self.args.join(" "),
            _ => match name.parse::<usize>() {
                Ok(number) => self.args.get(number - 1)?.clone(),
                Err(_) => self.variable(name)?,
            },
        })
    }

    /// What a command prints, without the newlines at its end.
    fn output_of(&mut self, source: &str) -> Result<String, Stop> {
        let file = match process::scratch() {
            Ok(file) => file,
            Err(error) => return self.fail(&format!("$(…): {error}")),
        };
        let file = std::rc::Rc::new(file);
        let inner = std::rc::Rc::clone(&file);
        let status = self.apart(|shell: &mut Self| -> Ran {
            shell.io.0[1] = Some(inner);
            shell.text(source)
        });
        (self.status, self.replaced) = (status, Some(status));
        let bytes = process::content(&file).unwrap_or_default();
        let output = String::from_utf8_lossy(&bytes).replace('\0', "");
        Ok(output.trim_end_matches('\n').to_owned())
    }
}

fn is_all_arguments(parts: &[Part]) -> bool {
    matches!(parts.first(), Some(Part::Parameter(parameter, Quotes::Double)) if parameter.name == "@")
}

fn put(value: &str, quotes: Quotes, fields: &mut Fields) {
    match quotes {
        Quotes::Double => fields.letters(value, true),
        Quotes::None => fields.split(value),
    }
}

fn text(letters: &[Letter]) -> String {
    letters.iter().map(|(letter, _)| *letter).collect()
}

/// The value without the shortest or longest beginning or end that fits the pattern.
fn trim(value: &str, end: char, longest: impl Into<bool>, pattern: &[Letter]) -> String {
    let letters: Vec<char> = value.chars().collect();
    let mut lengths: Vec<usize> = (0..=letters.len()).collect();
    if longest.into() {
        lengths.reverse();
    }
    for length in lengths {
        let (cut, kept) = match end {
            '#' => letters.split_at(length),
            _ => {
                let (kept, cut) = letters.split_at(letters.len() - length);
                (cut, kept)
            }
        };
        if pattern::matches(pattern, cut) {
            return kept.iter().collect();
        }
    }
    value.to_owned()
}

impl Names for Shell {
    fn value(&self, name: &str) -> Result<i64, String> {
        match self.variable(name) {
            None if self.options.nounset => Err(format!("{name}: not set")),
            None => Ok(0),
            Some(value) if value.trim().is_empty() => Ok(0),
            Some(value) => {
                let (sign, digits) = match value.trim().strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, value.trim()),
                };
                let number = arithmetic::number(digits)
                    .ok_or_else(|| format!("arithmetic: {value:?} is not a number"));
                number.map(|number| number * sign)
            }
        }
    }

    fn set(&mut self, name: &str, value: i64) {
        self.assign(name, value.to_string());
    }
}
