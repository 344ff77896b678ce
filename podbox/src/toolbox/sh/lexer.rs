//! From characters to words and signs, as POSIX' shell grammar has them (XCU 2.3).
//!
//! A word keeps how each of its parts was quoted, since that decides later what is split and what is a
//! pattern. What stands in `$(…)` is kept as text and read when it is run.

use std::cell::OnceCell;
use std::rc::Rc;

use super::ast::{Change, Parameter, Part, Quotes, Word};

/// Why a script cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    /// More lines could mend it.
    #[error("the script ends where {0} is missing")]
    Incomplete(&'static str),
    /// Nothing can.
    #[error("{0} is not expected here")]
    Unexpected(String),
    /// It is right, but this shell is small.
    #[error("this small shell has no {0}")]
    Unsupported(&'static str),
}

type Result<T> = std::result::Result<T, SyntaxError>;

/// What the parser sees.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(Word),
    /// A number right before `<` or `>`.
    Number(usize),
    Sign(&'static str),
    Newline,
    End,
}

const SIGNS: &[&str] =
    &["&&", "||", ";;", "<<-", "<<", ">>", "<&", ">&", "<>", ">|", ";", "&", "|", "<", ">", "(", ")"];

/// A script that is being read.
pub(super) struct Lexer {
    letters: Vec<char>,
    pub(super) at: usize,
    here: Vec<Here>,
}

/// A here-document whose body is still to come.
struct Here {
    end: String,
    quoted: bool,
    tabs: bool,
    body: Rc<OnceCell<Word>>,
}

fn is_name_start(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_'
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

impl Lexer {
    pub(super) fn new(text: &str) -> Self {
        Self { letters: text.chars().collect(), at: 0, here: Vec::new() }
    }

    /// The script's text between two places.
    pub(super) fn text(&self, from: usize, to: usize) -> String {
        self.letters[from..to].iter().collect()
    }

    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn after(&self, steps: usize) -> Option<char> {
        self.letters.get(self.at + steps).copied()
    }

    fn eat(&mut self, letter: char) -> bool {
        let found = self.peek() == Some(letter);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek();
        self.at += usize::from(letter.is_some());
        letter
    }

    /// Skips what separates words and says nothing.
    fn blanks(&mut self) {
        loop {
            match (self.peek(), self.after(1)) {
                (Some(' ' | '\t'), _) => self.at += 1,
                (Some('\\'), Some('\n')) => self.at += 2,
                (Some('#'), _) => {
                    while self.peek().is_some_and(|letter| letter != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// The next token.
    pub(super) fn token(&mut self) -> Result<Token> {
        self.blanks();
        let Some(letter) = self.peek() else {
            return if self.here.is_empty() {
                Ok(Token::End)
            } else {
                Err(SyntaxError::Incomplete("a here-document"))
            };
        };
        if letter == '\n' {
            self.at += 1;
            self.bodies()?;
            return Ok(Token::Newline);
        }
        if let Some(sign) = SIGNS.iter().find(|sign| self.starts_with(sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        let digits = self.letters[self.at..].iter().take_while(|letter| letter.is_ascii_digit()).count();
        if digits > 0 && matches!(self.after(digits), Some('<' | '>')) {
            let text = self.text(self.at, self.at + digits);
            self.at += digits;
            return text.parse().map(Token::Number).map_err(|_| SyntaxError::Unexpected(text));
        }
        self.word().map(Token::Word)
    }

    fn starts_with(&self, sign: &str) -> bool {
        sign.chars().enumerate().all(|(step, letter)| self.after(step) == Some(letter))
    }

    /// A word up to a blank or a sign.
    fn word(&mut self) -> Result<Word> {
        let mut word = Word::new();
        let mut bare = String::new();
        while let Some(letter) = self.peek() {
            match letter {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                _ => self.part(&mut word, &mut bare)?,
            }
        }
        flush(&mut word, bare);
        Ok(word)
    }

    /// One letter, or one quoted or replaced piece, outside of double quotes.
    fn part(&mut self, word: &mut Word, bare: &mut String) -> Result<()> {
        let mut push = |word: &mut Word, part: Part| {
            flush(word, std::mem::take(bare));
            word.push(part);
        };
        match self.peek() {
            Some('\\') => {
                self.at += 1;
                match self.next() {
                    Some('\n') => {}
                    Some(letter) => push(word, Part::Quoted(letter.into())),
                    None => return Err(SyntaxError::Incomplete("what a backslash quotes")),
                }
            }
            Some('\'') => {
                self.at += 1;
                let text = self.until('\'', "a closing '")?;
                push(word, Part::Quoted(text));
            }
            Some('"') => {
                self.at += 1;
                let parts = self.quoted(Some('"'))?;
                self.at += 1;
                // Empty quotes are a word all the same.
                push(word, Part::Quoted(String::new()));
                word.extend(parts);
            }
            Some('$' | '`') => match self.replacement(Quotes::None)? {
                Some(part) => push(word, part),
                None => bare.push('$'),
            },
            Some(letter) => {
                self.at += 1;
                bare.push(letter);
            }
            None => {}
        }
        Ok(())
    }

    fn until(&mut self, end: char, missing: &'static str) -> Result<String> {
        let from = self.at;
        loop {
            match self.next() {
                None => return Err(SyntaxError::Incomplete(missing)),
                Some(letter) if letter == end => return Ok(self.text(from, self.at - 1)),
                Some(_) => {}
            }
        }
    }

    /// The inside of double quotes, up to but not including `end`; up to the end of all text if it is `None`.
    fn quoted(&mut self, end: Option<char>) -> Result<Word> {
        let mut word = Word::new();
        let mut text = String::new();
        loop {
            let Some(letter) = self.peek() else {
                if end.is_some() {
                    return Err(SyntaxError::Incomplete("a closing \""));
                }
                break;
            };
            match letter {
                _ if Some(letter) == end => break,
                '\\' => {
                    self.at += 1;
                    match self.next() {
                        Some('\n') => {}
                        Some(letter @ ('$' | '`' | '"' | '\\')) => text.push(letter),
                        other => text.extend(['\\'].into_iter().chain(other)),
                    }
                }
                '$' | '`' => match self.replacement(Quotes::Double)? {
                    Some(part) => {
                        word.push(Part::Quoted(std::mem::take(&mut text)));
                        word.push(part);
                    }
                    None => text.push('$'),
                },
                letter => {
                    self.at += 1;
                    text.push(letter);
                }
            }
        }
        word.push(Part::Quoted(text));
        Ok(word)
    }

    /// What begins with `$` or a backquote; `None` for a dollar sign that means nothing, which is eaten.
    fn replacement(&mut self, quotes: Quotes) -> Result<Option<Part>> {
        if self.eat('`') {
            let text = self.backquoted()?;
            return Ok(Some(Part::Command(text, quotes)));
        }
        self.at += 1;
        let part = match self.peek() {
            Some('(') if self.after(1) == Some('(') => {
                self.at += 2;
                let from = self.at;
                self.balanced()?;
                let text = self.text(from, self.at - 1);
                if !self.eat(')') {
                    return Err(SyntaxError::Incomplete("))"));
                }
                Part::Arithmetic(Self::new(&text).quoted(None)?, quotes)
            }
            Some('(') => {
                self.at += 1;
                let from = self.at;
                self.balanced()?;
                Part::Command(self.text(from, self.at - 1), quotes)
            }
            Some('{') => {
                self.at += 1;
                Part::Parameter(Box::new(self.braces()?), quotes)
            }
            Some(letter) if is_name_start(letter) => {
                let name = self.name();
                Part::Parameter(Box::new(Parameter { name, change: Change::None }), quotes)
            }
            Some(letter) if letter.is_ascii_digit() || "?$!#@*-".contains(letter) => {
                self.at += 1;
                Part::Parameter(Box::new(Parameter { name: letter.into(), change: Change::None }), quotes)
            }
            _ => return Ok(None),
        };
        Ok(Some(part))
    }

    fn name(&mut self) -> String {
        let from = self.at;
        while self.peek().is_some_and(is_name) {
            self.at += 1;
        }
        self.text(from, self.at)
    }

    fn backquoted(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(SyntaxError::Incomplete("a closing `")),
                Some('`') => return Ok(text),
                Some('\\') => match self.next() {
                    Some(letter @ ('`' | '\\' | '$')) => text.push(letter),
                    other => text.extend(['\\'].into_iter().chain(other)),
                },
                Some(letter) => text.push(letter),
            }
        }
    }

    /// Goes past the parenthesis that closes the one just read; quotes and inner parentheses are skipped.
    fn balanced(&mut self) -> Result<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                None => return Err(SyntaxError::Incomplete(")")),
                Some('(') => depth += 1,
                Some(')') => depth -= 1,
                Some('\\') => drop(self.next()),
                Some('\'') => drop(self.until('\'', "a closing '")?),
                Some('"') => {
                    self.quoted(Some('"'))?;
                    self.at += 1;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// `${…}` after its brace.
    fn braces(&mut self) -> Result<Parameter> {
        if self.peek() == Some('#') && self.after(1) != Some('}') {
            self.at += 1;
            let name = self.parameter_name()?;
            return self.close(Parameter { name, change: Change::Length });
        }
        let name = self.parameter_name()?;
        let empty_too = self.eat(':');
        let change = match self.peek() {
            Some('}') if !empty_too => Change::None,
            Some(sign @ ('-' | '=' | '+' | '?')) => {
                self.at += 1;
                Change::Instead { sign, empty_too, word: self.in_braces()? }
            }
            Some(end @ ('#' | '%')) if !empty_too => {
                self.at += 1;
                let longest = self.eat(end);
                Change::Trim { end, longest, pattern: self.in_braces()? }
            }
            Some(_) => return Err(SyntaxError::Unsupported("such change of a parameter")),
            None => return Err(SyntaxError::Incomplete("}")),
        };
        self.close(Parameter { name, change })
    }

    fn parameter_name(&mut self) -> Result<String> {
        match self.peek() {
            Some(letter) if is_name_start(letter) => Ok(self.name()),
            Some(letter) if letter.is_ascii_digit() => {
                let digits =
                    self.letters[self.at..].iter().take_while(|letter| letter.is_ascii_digit()).count();
                self.at += digits;
                Ok(self.text(self.at - digits, self.at))
            }
            Some(letter) if "?$!#@*-".contains(letter) => {
                self.at += 1;
                Ok(letter.into())
            }
            Some(letter) => Err(SyntaxError::Unexpected(format!("{letter:?} in ${{"))),
            None => Err(SyntaxError::Incomplete("}")),
        }
    }

    fn in_braces(&mut self) -> Result<Word> {
        let mut word = Word::new();
        let mut bare = String::new();
        loop {
            match self.peek() {
                None => return Err(SyntaxError::Incomplete("}")),
                Some('}') => break,
                Some(_) => self.part(&mut word, &mut bare)?,
            }
        }
        flush(&mut word, bare);
        Ok(word)
    }

    fn close(&mut self, parameter: Parameter) -> Result<Parameter> {
        if self.eat('}') { Ok(parameter) } else { Err(SyntaxError::Incomplete("}")) }
    }

    /// Announces a here-document; its body begins after the next newline.
    pub(super) fn here(&mut self, end: &Word, sign: &str) -> Rc<OnceCell<Word>> {
        let quoted = end.iter().any(|part| matches!(part, Part::Quoted(_)));
        let text = |part: &Part| match part {
            Part::Bare(text) | Part::Quoted(text) => text.clone(),
            _ => String::new(),
        };
        let body = Rc::new(OnceCell::new());
        let end = end.iter().map(text).collect();
        self.here.push(Here { end, quoted, tabs: sign == "<<-", body: Rc::clone(&body) });
        body
    }

    fn bodies(&mut self) -> Result<()> {
        for here in std::mem::take(&mut self.here) {
            let mut body = String::new();
            loop {
                if self.peek().is_none() {
                    return Err(SyntaxError::Incomplete("the end of a here-document"));
                }
                let from = self.at;
                while self.peek().is_some_and(|letter| letter != '\n') {
                    self.at += 1;
                }
                let line = self.text(from, self.at);
                self.at += usize::from(self.peek().is_some());
                let line = if here.tabs { line.trim_start_matches('\t') } else { &line };
                if line == here.end {
                    break;
                }
                body.push_str(line);
                body.push('\n');
            }
            let word = if here.quoted { vec![Part::Quoted(body)] } else { Self::new(&body).quoted(None)? };
            let _ = here.body.set(word);
        }
        Ok(())
    }
}

fn flush(word: &mut Word, bare: String) {
    if !bare.is_empty() {
        word.push(Part::Bare(bare));
    }
}
