//! Label and field selectors: `-l 'app=web,tier in (a, b),!legacy'`, `--field-selector status.phase!=Running`.
//!
//! The grammar of apimachinery's `labels.Parse`: requirements parted by commas, all of which must hold.

use std::collections::BTreeMap;

use serde_json::Value;

/// Why a selector makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A requirement that is none.
    #[error("selector {selector:?}: {reason} at {part:?}")]
    Syntax {
        /// The whole selector.
        selector: String,
        /// The rest of it from where it is wrong.
        part: String,
        /// What was expected.
        reason: &'static str,
    },
    /// A key or a value that no label can have.
    #[error("selector {selector:?}: {word:?} cannot be a label's {role}")]
    Label {
        /// The whole selector.
        selector: String,
        /// The word.
        word: String,
        /// `key` or `value`.
        role: &'static str,
    },
    /// A field that pods are not selected by.
    #[error("field label not supported: {field}; the supported ones are {}", POD_FIELDS.join(", "))]
    Field {
        /// The field.
        field: String,
    },
}

/// What an API server selects pods by (`pkg/registry/core/pod/strategy.go`, ToSelectableFields), sorted.
const POD_FIELDS: [&str; 11] = [
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
        let mut reader = Reader { whole: text, rest: text.trim() };
        let mut requirements = Vec::new();
        if reader.rest.is_empty() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(reader.requirement()?);
            if reader.rest.is_empty() {
                return Ok(Self(requirements));
            }
            if !reader.eat(",") {
                return Err(reader.wrong("expected a comma"));
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

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn wrong(&self, reason: &'static str) -> SelectorError {
        SelectorError::Syntax { selector: self.whole.to_owned(), part: self.rest.to_owned(), reason }
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
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        match self.word() {
            "" => Err(self.wrong("expected a label's key")),
            key if is_key(key) => Ok(key.to_owned()),
            key => Err(self.no_label(key, "key")),
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        match self.word() {
            value if value.is_empty() || is_name(value) => Ok(value.to_owned()),
            value => Err(self.no_label(value, "value")),
        }
    }

    fn no_label(&self, word: &str, role: &'static str) -> SelectorError {
        SelectorError::Label { selector: self.whole.to_owned(), word: word.to_owned(), role }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.eat("!") {
            return Ok(Requirement { key: self.key()?, test: Test::Absent });
        }
        let key = self.key()?;
        let test = if self.eat("==") || self.eat("=") {
            Test::In(vec![self.value()?])
        } else if self.eat("!=") {
            Test::NotIn(vec![self.value()?])
        } else if self.eat(">") {
            Test::Above(self.number()?)
        } else if self.eat("<") {
            Test::Below(self.number()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else {
            let before = self.rest;
            match self.word() {
                "in" => Test::In(self.set()?),
                "notin" => Test::NotIn(self.set()?),
                _ => {
                    self.rest = before;
                    return Err(self.wrong("expected =, !=, <, >, in, notin or a comma"));
                }
            }
        };
        Ok(Requirement { key, test })
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let before = self.rest;
        self.word().parse().map_err(|_| {
            self.rest = before;
            self.wrong("expected a whole number")
        })
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.eat("(") {
            return Err(self.wrong("expected ("));
        }
        let mut values = vec![self.value()?];
        while self.eat(",") {
            values.push(self.value()?);
        }
        if self.eat(")") { Ok(values) } else { Err(self.wrong("expected )")) }
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
    /// Reads a selector; the empty one matches everything. A backslash keeps a comma or a sign in a value.
    ///
    /// # Errors
    /// Says which requirement has no `=`, `==` or `!=`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parts = split_unescaped(text);
        parts
            .iter()
            .filter(|part| !part.trim().is_empty())
            .map(|part| Condition::parse(text, part))
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
    fn parse(whole: &str, part: &str) -> Result<Self, SelectorError> {
        let (field, value, wanted) = if let Some((field, value)) = part.split_once("!=") {
            (field, value, Wanted::Different)
        } else if let Some((field, value)) = part.split_once('=') {
            (field, value.strip_prefix('=').unwrap_or(value), Wanted::Equal)
        } else {
            return Err(SelectorError::Syntax {
                selector: whole.to_owned(),
                part: part.to_owned(),
                reason: "expected FIELD=VALUE or FIELD!=VALUE",
            });
        };
        let name = field.trim();
        let field = POD_FIELDS.into_iter().find(|known| *known == name);
        let field = field.ok_or_else(|| SelectorError::Field { field: name.to_owned() })?;
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
        assert_eq!(error("app=a b"), "selector \"app=a b\": expected a comma at \"b\"");
        assert_eq!(error("app in a"), "selector \"app in a\": expected ( at \"a\"");
        assert_eq!(
            error("app is x"),
            "selector \"app is x\": expected =, !=, <, >, in, notin or a comma at \"is x\""
        );
        assert_eq!(error("a=b,"), "selector \"a=b,\": expected a label's key at \"\"");
        assert_eq!(error("-x=1"), "selector \"-x=1\": \"-x\" cannot be a label's key");
        assert_eq!(error("x=a/b"), "selector \"x=a/b\": \"a/b\" cannot be a label's value");
    }

    #[test]
    fn fields_are_found_by_their_path() {
        let pod = json!({"metadata": {"name": "web"}, "status": {"phase": "Running"}, "spec": {"hostNetwork": true}});
        let matches = |text| FieldSelector::parse(text).unwrap().matches(&pod);
        assert!(
            matches("metadata.name=web,status.phase!=Failed")
                && matches("spec.hostNetwork==true")
                && matches("")
        );
        assert!(!matches("metadata.name!=web") && matches("spec.nodeName=") && !matches("spec.nodeName=x"));
        assert!(FieldSelector::parse("metadata.name").unwrap_err().to_string().contains("FIELD=VALUE"));
        let error = FieldSelector::parse("status.phas=Running").unwrap_err().to_string();
        assert!(error.starts_with("field label not supported: status.phas;"), "{error}");
    }
}
