//! From text to a template: a recursive descent over characters, since the dialect has no tokens of its own
//! (what ends a name depends on where it stands).

use serde_json::Value;

use super::ast::{Comparison, Filter, Node, Operand, Path, Slice, Step};
use super::{JsonPathError, Template};

/// Deeper nesting of ranges, unions and filters is a mistake, and would eat the stack.
const DEEPEST: usize = 32;

pub(super) fn template(text: &str) -> Result<Template, JsonPathError> {
    let mut parser = Parser { text, letters: text.chars().collect(), at: 0, depth: 0 };
    let nodes = parser.nodes(Until::TemplateEnds)?;
    Ok(Template { nodes })
}

struct Parser<'a> {
    text: &'a str,
    letters: Vec<char>,
    at: usize,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    TemplateEnds,
    RangeEnds,
}

/// Where a path stands, which decides where its names end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Action,
    Filter,
}

enum Action {
    Node(Node),
    Range(Path),
    End,
}

impl Parser<'_> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T, JsonPathError> {
        Err(JsonPathError::Syntax {
            template: self.text.to_owned(),
            at: self.at + 1,
            message: message.into(),
        })
    }

    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found =
            sign.chars().enumerate().all(|(at, letter)| self.letters.get(self.at + at) == Some(&letter));
        self.at += if found { sign.chars().count() } else { 0 };
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), JsonPathError> {
        if self.eat(sign) {
            return Ok(());
        }
        match self.peek() {
            Some(letter) => self.error(format!("expected {sign:?}, found {letter:?}")),
            None => self.error(format!("expected {sign:?}, but the template ends")),
        }
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let from = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.letters[from..self.at].iter().collect()
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, JsonPathError>,
    ) -> Result<T, JsonPathError> {
        if self.depth == DEEPEST {
            return self.error("too deeply nested");
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn nodes(&mut self, until: Until) -> Result<Vec<Node>, JsonPathError> {
        let mut nodes = Vec::new();
        loop {
            let text = self.take_while(|letter| !matches!(letter, '{' | '}'));
            if !text.is_empty() {
                nodes.push(Node::Text(text));
            }
            match self.peek() {
                None if until == Until::RangeEnds => return self.error("{range} has no {end}"),
                None => return Ok(nodes),
                Some('}') => return self.error("} without {"),
                Some(_) => self.at += 1,
            }
            match self.action()? {
                Action::Node(node) => nodes.push(node),
                Action::Range(path) => {
                    let inner = self.deeper(|parser| parser.nodes(Until::RangeEnds))?;
                    nodes.push(Node::Range(path, inner));
                }
                Action::End if until == Until::RangeEnds => return Ok(nodes),
                Action::End => return self.error("{end} without {range}"),
            }
        }
    }

    /// What stands between braces; the first is read already.
    fn action(&mut self) -> Result<Action, JsonPathError> {
        self.spaces();
        let action = match self.peek() {
            Some('"' | '\'') => Action::Node(Node::Text(self.quoted()?)),
            Some(letter) if letter.is_alphanumeric() || letter == '_' => self.word()?,
            _ => Action::Node(Node::Path(self.path(Place::Action)?)),
        };
        self.spaces();
        self.expect("}")?;
        Ok(action)
    }

    fn word(&mut self) -> Result<Action, JsonPathError> {
        let from = self.at;
        let word = self.take_while(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '+'));
        match word.as_str() {
            "range" => {
                self.spaces();
                self.path(Place::Action).map(Action::Range)
            }
            "end" => Ok(Action::End),
            // A literal prints itself.
            "true" | "false" => Ok(Action::Node(Node::Text(word))),
            _ if word.parse::<f64>().is_ok() => Ok(Action::Node(Node::Text(word))),
            _ => {
                self.at = from;
                self.error(format!("{word:?} is not a path; did you mean .{word}"))
            }
        }
    }

    fn path(&mut self, place: Place) -> Result<Path, JsonPathError> {
        let from = self.at;
        let rooted = self.eat("$") || self.eat("@");
        let mut path = Path::new();
        loop {
            if self.eat("..") {
                path.push(Step::Deep);
                if self.peek().is_some_and(|letter| !self.ends_name(letter, place)) {
                    path.push(self.field(place)?);
                }
            } else if self.eat(".") {
                // `{.}` is the object itself, and `.[0]` the same as `[0]`.
                match self.peek() {
                    Some(letter) if !self.ends_name(letter, place) => path.push(self.field(place)?),
                    Some('[') => {}
                    _ if path.is_empty() => return Ok(path),
                    _ => return self.error("expected a name after the dot"),
                }
            } else if self.eat("[") {
                path.push(self.deeper(Self::brackets)?);
            } else if self.at == from && !rooted {
                return self.error("expected a path such as .metadata.name");
            } else {
                return Ok(path);
            }
        }
    }

    fn ends_name(&self, letter: char, place: Place) -> bool {
        letter.is_whitespace()
            || ".,[]{}@$\"'".contains(letter)
            || place == Place::Filter && "=!<>()&|".contains(letter)
    }

    fn field(&mut self, place: Place) -> Result<Step, JsonPathError> {
        let from = self.at;
        let mut name = String::new();
        while let Some(letter) = self.peek() {
            if letter == '\\' {
                self.at += 1;
                match self.peek() {
                    Some(escaped) => name.push(escaped),
                    None => return self.error("the template ends after a backslash"),
                }
            } else if self.ends_name(letter, place) {
                break;
            } else {
                name.push(letter);
            }
            self.at += 1;
        }
        // An escaped star is a name.
        Ok(if name == "*" && self.at == from + 1 { Step::All } else { Step::Field(name) })
    }

    /// What stands between brackets; the first is read already.
    fn brackets(&mut self) -> Result<Step, JsonPathError> {
        self.spaces();
        if self.eat("?") {
            let filter = self.filter()?;
            self.spaces();
            self.expect("]")?;
            return Ok(Step::Filter(filter));
        }
        let mut members = vec![self.member()?];
        while self.eat(",") {
            self.spaces();
            members.push(self.member()?);
        }
        self.expect("]")?;
        match (members.pop(), members.is_empty()) {
            // One name with dots is several steps, which only a union can hold in one.
            (Some(mut only), true) if only.len() == 1 => Ok(only.remove(0)),
            (last, _) => {
                members.extend(last);
                Ok(Step::Union(members))
            }
        }
    }

    /// One member of brackets, with the spaces after it.
    fn member(&mut self) -> Result<Path, JsonPathError> {
        let path = match self.peek() {
            Some('*') => {
                self.at += 1;
                vec![Step::All]
            }
            Some('"' | '\'') => self.name_in_quotes()?,
            Some('-' | ':' | '0'..='9') => vec![self.index()?],
            _ => return self.error("expected an index, a slice, *, a quoted name or ?(…) in brackets"),
        };
        self.spaces();
        Ok(path)
    }

    /// `'metadata.name'`: the dots part names, and `\.` is a dot, as outside of quotes.
    fn name_in_quotes(&mut self) -> Result<Path, JsonPathError> {
        let quote = self.peek();
        self.at += 1;
        let mut names = vec![String::new()];
        loop {
            let letter = self.peek();
            self.at += 1;
            match letter {
                None => return self.error("the quotes do not end"),
                _ if letter == quote => break,
                Some('.') => names.push(String::new()),
                Some(letter) => {
                    let letter = if letter == '\\' { self.escaped()? } else { letter };
                    names.iter_mut().last().into_iter().for_each(|name| name.push(letter));
                }
            }
        }
        if names.iter().any(String::is_empty) {
            return self.error("an empty name in brackets");
        }
        Ok(names.into_iter().map(Step::Field).collect())
    }

    fn escaped(&mut self) -> Result<char, JsonPathError> {
        let letter = self.peek();
        self.at += 1;
        letter.map_or_else(|| self.error("the template ends after a backslash"), Ok)
    }

    fn index(&mut self) -> Result<Step, JsonPathError> {
        let first = self.whole()?;
        if !self.eat(":") {
            return match first {
                Some(index) => Ok(Step::Index(index)),
                None => self.error("expected a number"),
            };
        }
        let to = self.whole()?;
        let step = if self.eat(":") { self.whole()? } else { None };
        Ok(Step::Slice(Slice { from: first, to, step }))
    }

    fn whole(&mut self) -> Result<Option<i64>, JsonPathError> {
        let text = self.take_while(|letter| letter == '-' || letter.is_ascii_digit());
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => self.error(format!("{text:?} is not an index")),
        }
    }

    fn filter(&mut self) -> Result<Filter, JsonPathError> {
        self.expect("(")?;
        let from = self.at;
        self.spaces();
        let left = self.operand()?;
        self.spaces();
        let test = match self.comparison()? {
            None => None,
            Some(comparison) => {
                self.spaces();
                Some((comparison, self.operand()?))
            }
        };
        self.spaces();
        if matches!(self.peek(), Some('&' | '|')) {
            return self.error("kubectl's filters hold one condition; && and || do not exist");
        }
        let text = self.letters[from..self.at].iter().collect::<String>().trim().to_owned();
        self.expect(")")?;
        Ok(Filter { left, test, text })
    }

    fn comparison(&mut self) -> Result<Option<Comparison>, JsonPathError> {
        for (sign, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::Different),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.eat(sign) {
                return Ok(Some(comparison));
            }
        }
        if self.eat("=~") {
            return self.error("regular expressions are not part of kubectl's jsonpath");
        }
        if self.peek() == Some('=') {
            return self.error("a comparison is written ==");
        }
        Ok(None)
    }

    fn operand(&mut self) -> Result<Operand, JsonPathError> {
        let literal = match self.peek() {
            Some('"' | '\'') => Value::String(self.quoted()?),
            Some('@' | '$' | '.' | '[') => return self.path(Place::Filter).map(Operand::Path),
            _ => {
                let word = self.take_while(|letter| !letter.is_whitespace() && !"=!<>)&|]".contains(letter));
                match serde_json::from_str::<Value>(&word) {
                    Ok(value) if !value.is_array() && !value.is_object() => value,
                    _ if word.is_empty() => return self.error("expected a path or a value"),
                    _ => {
                        return self
                            .error(format!("{word:?} is neither a path (@.{word}) nor a value (\"{word}\")"));
                    }
                }
            }
        };
        Ok(Operand::Literal(literal))
    }

    /// A text in single or double quotes, with the escapes of a Go string.
    fn quoted(&mut self) -> Result<String, JsonPathError> {
        let quote = self.peek();
        self.at += 1;
        let mut text = String::new();
        loop {
            let letter = self.peek();
            self.at += 1;
            match letter {
                None => return self.error("the quotes do not end"),
                _ if letter == quote => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(letter) => text.push(letter),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonPathError> {
        let letter = self.escaped()?;
        let digits = match letter {
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'v' => return Ok('\u{b}'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => return Ok(other),
        };
        let end = (self.at + digits).min(self.letters.len());
        let text: String = self.letters[self.at..end].iter().collect();
        let letter =
            u32::from_str_radix(&text, 16).ok().and_then(char::from_u32).filter(|_| text.len() == digits);
        match letter {
            Some(letter) => {
                self.at = end;
                Ok(letter)
            }
            None => self.error(format!("{text:?} is not a character's number")),
        }
    }
}
