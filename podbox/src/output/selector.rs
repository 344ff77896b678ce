//! Label and field selectors: `-l 'app=web,tier in (a, b),!legacy'`, `--field-selector status.phase!=Running`.
//!
//! The grammar of apimachinery's `labels.Parse`: requirements parted by commas, all of which must hold.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pod::names::{label_value, qualified};

/// Why a selector makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A requirement that is none.
    #[error("unable to parse requirement: found '{found}', expected: {expected}")]
    Requirement {
        /// The next word or sign.
        found: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// Something between two requirements that does not belong there.
    #[error("found '{found}', expected: {expected}")]
    Between {
        /// The next word or sign.
        found: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// A key that no label can have.
    #[error("unable to parse requirement: <nil>: Invalid value: {word:?}: {}", qualified(word).join("; "))]
    Key {
        /// The word.
        word: String,
    },
    /// A value that no label can have.
    #[error(
        "unable to parse requirement: values[0][{key}]: Invalid value: {word:?}: {}", label_value(word).join("; ")
    )]
    Value {
        /// The label.
        key: String,
        /// The word.
        word: String,
    },
    /// What is compared with a number is none.
    #[error(
        "unable to parse requirement: values[0]: Invalid value: {word:?}: for 'Gt', 'Lt' operators, the value must \
         be an integer"
    )]
    Number {
        /// The word.
        word: String,
    },
    /// A condition on a field that is none.
    #[error("invalid selector: '{part}'; can't understand '{part}'")]
    FieldSyntax {
        /// The condition.
        part: String,
    },
    /// A field that objects of the kind are not selected by.
    #[error("field label not supported: {field}; the supported ones are {}", supported.join(", "))]
    Field {
        /// The field.
        field: String,
        /// Those that they are selected by.
        supported: &'static [&'static str],
    },
}

/// What an API server selects pods by (`pkg/registry/core/pod/strategy.go`, ToSelectableFields), sorted.
pub const POD_FIELDS: [&str; 11] = [
    "metadata.name",
    "metadata.namespace",
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Also true where the label is absent.
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        let listed = |values: &[String]| value.is_some_and(|value| values.iter().any(|known| known == value));
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => listed(values),
            Test::NotIn(values) => !listed(values),
            Test::Above(limit) => number().is_some_and(|number| number > *limit),
            Test::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

impl Selector {
    /// Reads a selector; the empty one matches everything.
    ///
    /// # Errors
    /// Says where it stops making sense.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut reader = Reader { rest: text.trim() };
        let mut requirements = Vec::new();
        if reader.rest.is_empty() {
            return Ok(Self::default());
        }
        if reader.ends_a_requirement() || reader.rest.starts_with(['=', '<', '>', '(', ')']) {
            return Err(reader.between("!, identifier, or 'end of string'"));
        }
        loop {
            requirements.push(reader.requirement()?);
            if reader.rest.is_empty() {
                return Ok(Self(requirements));
            }
            if !reader.eat(",") {
                return Err(reader.between("',' or 'end of string'"));
            }
            if reader.rest.is_empty() || reader.rest.starts_with([',', '=', '<', '>', '(', ')']) {
                return Err(reader.between("identifier after ','"));
            }
        }
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels.get(&requirement.key).map(String::as_str)))
    }

    /// Whether this object, by its `metadata.labels`, is meant.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.0.iter().all(|requirement| requirement.holds(label(&requirement.key)))
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What no word of a selector holds.
const SIGNS: &str = "=!<>(),";

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn wrong(&self, expected: &'static str) -> SelectorError {
        SelectorError::Requirement { found: self.next(), expected }
    }

    fn between(&self, expected: &'static str) -> SelectorError {
        SelectorError::Between { found: self.next(), expected }
    }

    /// The next word or sign; nothing at the end.
    fn next(&self) -> String {
        let signs = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];
        let sign = signs.into_iter().find(|sign| self.rest.starts_with(sign));
        let word = || self.rest.split(|c: char| c.is_whitespace() || SIGNS.contains(c)).next();
        sign.or_else(word).unwrap_or_default().to_owned()
    }

    fn ends_a_requirement(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(',')
    }

    fn eat(&mut self, sign: &str) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || SIGNS.contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let before = self.rest;
        match self.word() {
            "" => {
                self.rest = before;
                Err(self.wrong("identifier"))
            }
            key if is_key(key) => Ok(key.to_owned()),
            key => Err(SelectorError::Key { word: key.to_owned() }),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, SelectorError> {
        match self.word() {
            value if value.is_empty() || is_name(value) => Ok(value.to_owned()),
            value => Err(SelectorError::Value { key: key.to_owned(), word: value.to_owned() }),
        }
    }

    /// The one value behind a sign; it may be empty, but only at the end of its requirement.
    fn only_value(&mut self, key: &str) -> Result<String, SelectorError> {
        if self.rest.starts_with(|sign| SIGNS.contains(sign)) && !self.ends_a_requirement() {
            return Err(self.wrong("identifier"));
        }
        self.value(key)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.eat("!") {
            return Ok(Requirement { key: self.key()?, test: Test::Absent });
        }
        let key = self.key()?;
        let test = if self.eat("==") || self.eat("=") {
            Test::In(vec![self.only_value(&key)?])
        } else if self.eat("!=") {
            Test::NotIn(vec![self.only_value(&key)?])
        } else if self.eat(">") {
            Test::Above(self.number()?)
        } else if self.eat("<") {
            Test::Below(self.number()?)
        } else if self.ends_a_requirement() {
            Test::Exists
        } else {
            let before = self.rest;
            match self.word() {
                "in" => Test::In(self.set(&key)?),
                "notin" => Test::NotIn(self.set(&key)?),
                _ => {
                    self.rest = before;
                    return Err(self.wrong("in, notin, =, ==, !=, gt, lt"));
                }
            }
        };
        Ok(Requirement { key, test })
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let word = self.word();
        word.parse().map_err(|_| SelectorError::Number { word: word.to_owned() })
    }

    fn set(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        if !self.eat("(") {
            return Err(self.wrong("'('"));
        }
        let mut values = vec![self.value(key)?];
        while self.eat(",") {
            values.push(self.value(key)?);
        }
        if self.eat(")") { Ok(values) } else { Err(self.wrong("',' or ')'")) }
    }
}

/// Whether a text is a qualified name, `[prefix/]name`: a DNS subdomain, and a name as a label's value has it.
pub fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_name(text),
        Some((prefix, name)) => {
            let label = |part: &str| is_name(part) && !part.contains('_') && part.to_lowercase() == part;
            is_name(name) && prefix.len() <= 253 && prefix.split('.').all(label)
        }
    }
}

/// Up to 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// A field selector: `metadata.name=web,status.phase!=Running`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    field: &'static str,
    value: String,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Equal,
    Different,
}

impl FieldSelector {
    /// Reads a selector of objects that are selected by these fields; the empty one matches everything. A backslash keeps
    /// a comma or a sign in a value.
    ///
    /// # Errors
    /// Says which requirement has no `=`, `==` or `!=`, or a field that is none of these.
    pub fn parse(text: &str, supported: &'static [&'static str]) -> Result<Self, SelectorError> {
        let parts = split_unescaped(text);
        parts
            .iter()
            .filter(|part| !part.trim().is_empty())
            .map(|part| Condition::parse(part, supported))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether this object is meant. A field that is not there counts as empty.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|condition| {
            let found = field_text(object, condition.field);
            (found == condition.value) == (condition.wanted == Wanted::Equal)
        })
    }
}

impl Condition {
    fn parse(part: &str, supported: &'static [&'static str]) -> Result<Self, SelectorError> {
        let (field, value, wanted) = if let Some((field, value)) = part.split_once("!=") {
            (field, value, Wanted::Different)
        } else if let Some((field, value)) = part.split_once('=') {
            (field, value.strip_prefix('=').unwrap_or(value), Wanted::Equal)
        } else {
            return Err(SelectorError::FieldSyntax { part: part.to_owned() });
        };
        let name = field.trim();
        let field = supported.iter().find(|known| **known == name);
        let field = field.ok_or_else(|| SelectorError::Field { field: name.to_owned(), supported })?;
        let value = value.trim().replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\");
        Ok(Self { field, value, wanted })
    }
}

/// A field as a selector sees it: a flag that is not there is false, several addresses are joined by commas.
fn field_text(object: &Value, field: &str) -> String {
    let found = object.pointer(&format!("/{}", field.replace('.', "/")));
    match found {
        None | Some(Value::Null) if field == "spec.hostNetwork" => "false".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(ips)) => {
            ips.iter().filter_map(|ip| ip["ip"].as_str()).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut escaped) = (0, false);
    for (at, letter) in text.char_indices() {
        if letter == ',' && !escaped {
            parts.push(&text[from..at]);
            from = at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(selector: &str) -> bool {
        let labels = [("app", "web"), ("tier", "a"), ("example.com/rank", "7"), ("empty", "")];
        let labels: BTreeMap<String, String> = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let selector = Selector::parse(selector).unwrap();
        let object = json!({"metadata": {"labels": labels}});
        assert_eq!(selector.matches(&labels), selector.matches_object(&object));
        selector.matches(&labels)
    }

    #[test]
    fn every_requirement_must_hold() {
        assert!(matches("app=web,tier in (a, b), !legacy , app"));
        assert!(!matches("app=web,tier in (b)"));
        assert!(matches(""));
    }

    #[test]
    fn not_equal_and_notin_also_match_what_has_no_such_label() {
        assert!(matches("none!=x") && matches("none notin (x,y)") && matches("app != db"));
        assert!(!matches("app!=web") && !matches("app notin (web)") && !matches("none=x"));
    }

    #[test]
    fn numbers_compare_as_numbers() {
        assert!(matches("example.com/rank>6") && matches("example.com/rank < 10") && !matches("app>1"));
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert!(matches("empty=") && matches("empty in (,x)") && matches("empty") && !matches("app="));
    }

    #[test]
    fn what_is_wrong_is_shown_from_where_it_is_wrong() {
        let error = |text| Selector::parse(text).unwrap_err().to_string();
        for (selector, words) in [
            ("app=a b", "found 'b', expected: ',' or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a=b,,c", "found ',', expected: identifier after ','"),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("app in a", "unable to parse requirement: found 'a', expected: '('"),
            ("app in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
            ("app is x", "unable to parse requirement: found 'is', expected: in, notin, =, ==, !=, gt, lt"),
            ("a==!b", "unable to parse requirement: found '!', expected: identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
        ] {
            assert_eq!(error(selector), words, "{selector}");
        }
        for (selector, beginning) in [
            ("-x=1", "unable to parse requirement: <nil>: Invalid value: \"-x\": name part must consist of "),
            (
                "x=a/b",
                "unable to parse requirement: values[0][x]: Invalid value: \"a/b\": a valid label must be ",
            ),
            (
                "x>y",
                "unable to parse requirement: values[0]: Invalid value: \"y\": for 'Gt', 'Lt' operators, ",
            ),
        ] {
            assert!(error(selector).starts_with(beginning), "{}", error(selector));
        }
    }

    #[test]
    fn fields_are_found_by_their_path() {
        let pod = json!({"metadata": {"name": "web"}, "status": {"phase": "Running"}, "spec": {"hostNetwork": true}});
        let matches = |text| FieldSelector::parse(text, &POD_FIELDS).unwrap().matches(&pod);
        assert!(
            matches("metadata.name=web,status.phase!=Failed")
                && matches("spec.hostNetwork==true")
                && matches("")
        );
        assert!(!matches("metadata.name!=web") && matches("spec.nodeName=") && !matches("spec.nodeName=x"));
        let error = |text| FieldSelector::parse(text, &POD_FIELDS).unwrap_err().to_string();
        let words = "invalid selector: 'metadata.name'; can't understand 'metadata.name'";
        assert_eq!(error("metadata.name"), words);
        let error = error("status.phas=Running");
        assert!(error.starts_with("field label not supported: status.phas;"), "{error}");
    }
}
