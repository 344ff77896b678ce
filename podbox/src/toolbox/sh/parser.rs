//! From tokens to commands: the grammar of XCU 2.10, by recursive descent.
//!
//! ```text
//! list     = chain {(";" | "&" | newline) chain}
//! chain    = pipeline {("&&" | "||") pipeline}
//! pipeline = ["!"] command {"|" command}
//! command  = simple | compound {redirect} | name "()" compound
//! ```

use std::rc::Rc;

use super::ast::{
    Chain, Command, Item, Kind, Link, List, Mode, Part, Pipeline, Redirect, Target, Until, Word, literal,
};
use super::lexer::{Lexer, SyntaxError, Token};

type Result<T> = std::result::Result<T, SyntaxError>;

/// Deeper nesting is no script, and would eat the stack.
const DEEPEST: usize = 100;

/// Words that end a list, where a command could begin.
const ENDS: &[&str] = &["then", "else", "elif", "fi", "do", "done", "esac", "}"];

/// Reads a whole script.
pub(super) fn parse(text: &str) -> Result<List> {
    let mut parser = Parser { lexer: Lexer::new(text), token: Token::End, from: 0, end: 0, depth: 0 };
    parser.advance()?;
    let list = parser.list()?;
    match &parser.token {
        Token::End => Ok(list),
        other => Err(SyntaxError::Unexpected(shown(other))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => literal(word).map_or_else(|| "a word".to_owned(), |text| format!("{text:?}")),
        Token::Number(number) => number.to_string(),
        Token::Sign(sign) => format!("{sign:?}"),
        Token::Newline => "a newline".to_owned(),
        Token::End => "the end".to_owned(),
    }
}

struct Parser {
    lexer: Lexer,
    token: Token,
    /// Where the token begins.
    from: usize,
    /// Where the token before it ends.
    end: usize,
    depth: usize,
}

impl Parser {
    fn advance(&mut self) -> Result<Token> {
        self.end = self.lexer.at;
        let next = self.lexer.token()?;
        // Blanks before a token belong to nobody, but a source text with them is the same text.
        self.from = self.end;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn sign(&mut self, sign: &str) -> Result<bool> {
        let found = matches!(&self.token, Token::Sign(here) if *here == sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn is_word(&self, text: &str) -> bool {
        matches!(&self.token, Token::Word(word) if literal(word) == Some(text))
    }

    fn reserved(&mut self, text: &str) -> Result<bool> {
        let found = self.is_word(text);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, text: &'static str) -> Result<()> {
        if self.reserved(text)? || self.sign(text)? { Ok(()) } else { Err(self.missing(text)) }
    }

    fn missing(&self, what: &'static str) -> SyntaxError {
        match &self.token {
            Token::End => SyntaxError::Incomplete(what),
            other => SyntaxError::Unexpected(shown(other)),
        }
    }

    fn newlines(&mut self) -> Result<()> {
        while self.token == Token::Newline {
            self.advance()?;
        }
        Ok(())
    }

    fn at_end_of_list(&self) -> bool {
        match &self.token {
            Token::End | Token::Sign(")" | ";;") => true,
            Token::Word(word) => literal(word).is_some_and(|text| ENDS.contains(&text)),
            _ => false,
        }
    }

    fn list(&mut self) -> Result<List> {
        if self.depth == DEEPEST {
            return Err(SyntaxError::Unsupported("room for such deep nesting"));
        }
        self.depth += 1;
        let mut items = Vec::new();
        self.newlines()?;
        while !self.at_end_of_list() {
            let chain = self.chain()?;
            let mode = if self.sign("&")? { Mode::Background } else { Mode::Foreground };
            let parted = mode == Mode::Background || self.sign(";")? || self.token == Token::Newline;
            items.push(Item { chain, mode });
            self.newlines()?;
            if !parted && !self.at_end_of_list() {
                return Err(SyntaxError::Unexpected(shown(&self.token)));
            }
        }
        self.depth -= 1;
        Ok(List(items))
    }

    /// A list that may not be empty.
    fn body(&mut self) -> Result<List> {
        let list = self.list()?;
        if list.0.is_empty() { Err(self.missing("a command")) } else { Ok(list) }
    }

    fn chain(&mut self) -> Result<Chain> {
        let from = self.from;
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let link = if self.sign("&&")? {
                Link::And
            } else if self.sign("||")? {
                Link::Or
            } else {
                return Ok(Chain { first, rest, source: self.lexer.text(from, self.end) });
            };
            self.newlines()?;
            rest.push((link, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        let negated = self.reserved("!")?;
        let mut commands = vec![self.command()?];
        while self.sign("|")? {
            self.newlines()?;
            commands.push(self.command()?);
        }
        Ok(Pipeline { negated, commands })
    }

    fn command(&mut self) -> Result<Command> {
        let from = self.from;
        let Some(kind) = self.compound()? else { return self.simple(from) };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(Command { kind, redirects, source: self.lexer.text(from, self.end) })
    }

    fn compound(&mut self) -> Result<Option<Kind>> {
        if self.sign("(")? {
            let list = self.body()?;
            self.expect(")")?;
            return Ok(Some(Kind::Subshell(list)));
        }
        if self.reserved("{")? {
            let list = self.body()?;
            self.expect("}")?;
            return Ok(Some(Kind::Group(list)));
        }
        if self.reserved("if")? {
            return self.conditional().map(Some);
        }
        for (word, until) in [("while", Until::Fails), ("until", Until::Succeeds)] {
            if self.reserved(word)? {
                let condition = self.body()?;
                return Ok(Some(Kind::Loop { until, condition, body: self.do_done()? }));
            }
        }
        if self.reserved("for")? {
            return self.for_loop().map(Some);
        }
        if self.reserved("case")? {
            return self.case().map(Some);
        }
        Ok(None)
    }

    fn do_done(&mut self) -> Result<List> {
        self.expect("do")?;
        let body = self.body()?;
        self.expect("done")?;
        Ok(body)
    }

    fn conditional(&mut self) -> Result<Kind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.body()?;
            self.expect("then")?;
            branches.push((condition, self.body()?));
            if !self.reserved("elif")? {
                break;
            }
        }
        let otherwise = if self.reserved("else")? { Some(self.body()?) } else { None };
        self.expect("fi")?;
        Ok(Kind::If { branches, otherwise })
    }

    fn any_word(&mut self, what: &'static str) -> Result<Word> {
        match &self.token {
            Token::Word(_) => match self.advance()? {
                Token::Word(word) => Ok(word),
                other => Err(SyntaxError::Unexpected(shown(&other))),
            },
            _ => Err(self.missing(what)),
        }
    }

    fn for_loop(&mut self) -> Result<Kind> {
        let name = self.any_word("a name")?;
        let Some(name) = literal(&name).map(str::to_owned) else {
            return Err(SyntaxError::Unexpected("what follows \"for\"".to_owned()));
        };
        self.newlines()?;
        let mut words = None;
        if self.reserved("in")? {
            let mut list = Vec::new();
            while matches!(self.token, Token::Word(_)) {
                list.push(self.any_word("a word")?);
            }
            words = Some(list);
        }
        self.sign(";")?;
        self.newlines()?;
        Ok(Kind::For { name, words, body: self.do_done()? })
    }

    fn case(&mut self) -> Result<Kind> {
        let word = self.any_word("a word")?;
        self.newlines()?;
        self.expect("in")?;
        self.newlines()?;
        let mut arms = Vec::new();
        while !self.reserved("esac")? {
            self.sign("(")?;
            let mut patterns = vec![self.any_word("a pattern")?];
            while self.sign("|")? {
                patterns.push(self.any_word("a pattern")?);
            }
            self.expect(")")?;
            arms.push((patterns, self.list()?));
            if !self.sign(";;")? && !self.is_word("esac") {
                return Err(self.missing("esac"));
            }
            self.newlines()?;
        }
        Ok(Kind::Case { word, arms })
    }

    fn redirect(&mut self) -> Result<Option<Redirect>> {
        let number = match self.token {
            Token::Number(number) => {
                self.advance()?;
                Some(number)
            }
            _ => None,
        };
        let Token::Sign(sign @ ("<" | ">" | ">>" | "<>" | ">|" | "<&" | ">&" | "<<" | "<<-")) = self.token
        else {
            return Ok(None);
        };
        self.advance()?;
        let word = self.any_here_or_word(sign)?;
        let fd = number.unwrap_or(usize::from(sign.starts_with('>')));
        if fd > 2 {
            return Err(SyntaxError::Unsupported("descriptors but 0, 1 and 2"));
        }
        Ok(Some(Redirect { fd, to: word }))
    }

    fn any_here_or_word(&mut self, sign: &'static str) -> Result<Target> {
        if let ("<<" | "<<-", Token::Word(word)) = (sign, &self.token) {
            // Announced before the newline is read, which may be the very next token.
            let body = self.lexer.here(word, sign);
            self.advance()?;
            return Ok(Target::Here(body));
        }
        let word = self.any_word("where a redirection leads")?;
        Ok(match sign {
            "<" => Target::Read(word),
            ">>" => Target::Append(word),
            "<>" => Target::Both(word),
            "<&" | ">&" => Target::Same(word),
            _ => Target::Write(word),
        })
    }

    fn simple(&mut self, from: usize) -> Result<Command> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if !matches!(self.token, Token::Word(_)) {
                break;
            }
            let word = self.any_word("a word")?;
            match assignment(&word).filter(|_| words.is_empty()) {
                Some(assignment) => assignments.push(assignment),
                None => words.push(word),
            }
            if words.len() == 1 && assignments.is_empty() && self.sign("(")? {
                return self.function(&words[0], from);
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.missing("a command"));
        }
        let source = self.lexer.text(from, self.end);
        Ok(Command { kind: Kind::Simple { assignments, words }, redirects, source })
    }

    fn function(&mut self, name: &Word, from: usize) -> Result<Command> {
        self.expect(")")?;
        self.newlines()?;
        let Some(name) = literal(name).map(str::to_owned) else {
            return Err(SyntaxError::Unexpected("\"(\"".to_owned()));
        };
        let body = Rc::new(self.command()?);
        let source = self.lexer.text(from, self.end);
        Ok(Command { kind: Kind::Function { name, body }, redirects: Vec::new(), source })
    }
}

/// `NAME=…`: the name must have been written as it is.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Part::Bare(text)) = word.first() else { return None };
    let (name, value) = text.split_once('=')?;
    let first = name.chars().next()?;
    let is_name =
        !first.is_ascii_digit() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name {
        return None;
    }
    let mut rest = word[1..].to_vec();
    if !value.is_empty() {
        rest.insert(0, Part::Bare(value.to_owned()));
    }
    Some((name.to_owned(), rest))
}
