//! How objects are printed: kubectl's `-o` formats over plain JSON values.
//!
//! Everything here is a function from values to text; who asks decides where the text goes.

pub mod age;
mod columns;
pub mod describe;
pub mod jsonpath;
pub mod objects;
pub mod pods;
pub mod selector;
pub mod sort;
pub mod table;
pub mod yaml;

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use columns::{Column, ColumnsError};
use jsonpath::{JsonPathError, Template};
use table::Table;

pub use yaml::to_yaml;

/// What `-o` asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Nothing: a table of the important columns.
    Table,
    /// `wide`: a table of all columns.
    Wide,
    /// `json`: the object, indented.
    Json,
    /// `yaml`: the object.
    Yaml,
    /// `name`: `pod/web`, one a line.
    Name,
    /// `jsonpath=…` or `jsonpath-file=…`.
    JsonPath(Template),
    /// `jsonpath-as-json=…`: what the path finds, as a JSON array.
    JsonPathAsJson(Template),
    /// `custom-columns=…` or `custom-columns-file=…`.
    CustomColumns(Vec<Column>),
}

/// Why a format or an object could not be used.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// No such format.
    #[error(
        "print as {given:?}: the formats are json, yaml, name, wide, jsonpath=TEMPLATE, jsonpath-file=FILE, \
         jsonpath-as-json=TEMPLATE, custom-columns=SPEC and custom-columns-file=FILE"
    )]
    Unknown {
        /// What was asked for.
        given: String,
    },
    /// A format that kubectl has by Go's templates.
    #[error(
        "print as {given}: podbox has no Go templates; jsonpath={example} prints the same, and custom-columns=NAME:.metadata.name a table"
    )]
    GoTemplate {
        /// What was asked for.
        given: String,
        /// A template that podbox has.
        example: &'static str,
    },
    /// The format needs something behind `=`.
    #[error("print as {format}: it needs a value, as in {format}={example}")]
    NoValue {
        /// The format's name.
        format: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// The file that holds the template cannot be read.
    #[error("read template {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The template is wrong, or does not fit the object.
    #[error("print by jsonpath")]
    JsonPath(#[from] JsonPathError),
    /// The columns are wrong, or do not fit the object.
    #[error("print custom columns")]
    Columns(#[from] ColumnsError),
    /// The value cannot be written as JSON.
    #[error("print as json")]
    Json(#[from] serde_json::Error),
}

/// What `-o` takes, without the templates that some formats need behind them.
pub const FORMATS: [&str; 9] = [
    "custom-columns-file=",
    "custom-columns=",
    "json",
    "jsonpath-as-json=",
    "jsonpath-file=",
    "jsonpath=",
    "name",
    "wide",
    "yaml",
];

impl Format {
    /// Reads the argument of `-o`; an empty one is the table.
    ///
    /// # Errors
    /// An unknown format, a missing or wrong template, or a template file that cannot be read.
    pub fn parse(text: &str) -> Result<Self, OutputError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let need =
            |format, example| value.filter(|v| !v.is_empty()).ok_or(OutputError::NoValue { format, example });
        Ok(match (name, value) {
            ("", None) => Self::Table,
            ("wide", None) => Self::Wide,
            ("json", None) => Self::Json,
            ("yaml", None) => Self::Yaml,
            ("name", None) => Self::Name,
            ("jsonpath", _) => Self::JsonPath(Template::parse(need("jsonpath", "'{.metadata.name}'")?)?),
            ("jsonpath-as-json", _) => {
                Self::JsonPathAsJson(Template::parse(need("jsonpath-as-json", "'{.metadata.name}'")?)?)
            }
            ("jsonpath-file", _) => {
                Self::JsonPath(Template::parse(read(need("jsonpath-file", "FILE")?)?.trim_end_matches('\n'))?)
            }
            ("custom-columns", _) => {
                Self::CustomColumns(columns::parse(need("custom-columns", "NAME:.metadata.name")?)?)
            }
            ("custom-columns-file", _) => {
                Self::CustomColumns(columns::parse_file(&read(need("custom-columns-file", "FILE")?)?)?)
            }
            ("go-template" | "go-template-file" | "template" | "templatefile", _) => {
                return Err(OutputError::GoTemplate {
                    given: name.to_owned(),
                    example: r#"'{range .items[*]}{.metadata.name}{"\n"}{end}'"#,
                });
            }
            _ => return Err(OutputError::Unknown { given: text.to_owned() }),
        })
    }
}

fn read(path: &str) -> Result<String, OutputError> {
    fs::read_to_string(path).map_err(|source| OutputError::File { path: path.into(), source })
}

/// How one kind of object becomes rows of a table.
pub struct Columns<'a> {
    /// The heads of the columns that are always shown.
    pub heads: &'a [&'a str],
    /// The heads of those that only `wide` shows; they come after the others.
    pub wide: &'a [&'a str],
    /// All cells of an object's row, the wide ones included.
    pub row: &'a dyn Fn(&Value) -> Vec<String>,
}

/// Prints an object, or a List of them, in the given format, newline included where the format has one.
///
/// # Errors
/// Where a jsonpath does not fit the object.
pub fn print(format: &Format, value: &Value, columns: &Columns<'_>) -> Result<String, OutputError> {
    Ok(match format {
        Format::Table => rows(value, columns, columns.heads.to_vec()),
        Format::Wide => rows(value, columns, [columns.heads, columns.wide].concat()),
        Format::Json => to_json(value)?,
        Format::Yaml => to_yaml(value),
        Format::Name => items(value).iter().map(|item| name(item) + "\n").collect(),
        Format::JsonPath(template) => template.print(value)?,
        Format::JsonPathAsJson(template) => {
            let found: Vec<Value> = template.find(value)?.into_iter().cloned().collect();
            to_json(&Value::Array(found))?
        }
        Format::CustomColumns(columns) => columns::print(columns, &items(value))?,
    })
}

/// The object as JSON, indented by four as kubectl does, with a newline.
fn to_json(value: &Value) -> Result<String, serde_json::Error> {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))?;
    out.push(b'\n');
    // The serializer writes what were strings and so can only write UTF-8.
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// A List's objects, or the object itself.
pub fn items(value: &Value) -> Vec<&Value> {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match value.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.iter().collect(),
        _ => vec![value],
    }
}

fn rows(value: &Value, columns: &Columns<'_>, heads: Vec<&str>) -> String {
    let width = heads.len();
    let mut table = Table::new(heads);
    for item in items(value) {
        let mut row = (columns.row)(item);
        row.truncate(width);
        table.push(row);
    }
    table.to_string()
}

/// `pod/web`, `deployment.apps/web`: what other commands take as an object's name.
pub fn name(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    let kind = text("/kind").to_lowercase();
    let kind = match text("/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind,
    };
    format!("{kind}/{}", text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods() -> Value {
        let pod = |name: &str, ip: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "status": {"podIP": ip}});
        json!({"apiVersion": "v1", "kind": "List", "items": [pod("web", "10.244.0.2"), pod("db", "10.244.0.3")]})
    }

    fn printed(format: &str, value: &Value) -> String {
        let row = |pod: &Value| {
            ["/metadata/name", "/status/podIP"]
                .map(|at| pod.pointer(at).unwrap().as_str().unwrap().to_owned())
                .to_vec()
        };
        let columns = Columns { heads: &["NAME"], wide: &["IP"], row: &row };
        print(&Format::parse(format).unwrap(), value, &columns).unwrap()
    }

    #[test]
    fn wide_shows_the_columns_that_the_plain_table_leaves_out() {
        assert_eq!(printed("", &pods()), "NAME\nweb\ndb\n");
        assert_eq!(printed("wide", &pods()), "NAME   IP\nweb    10.244.0.2\ndb     10.244.0.3\n");
    }

    #[test]
    fn names_can_be_given_to_other_commands() {
        assert_eq!(printed("name", &pods()), "pod/web\npod/db\n");
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        assert_eq!(name(&deployment), "deployment.apps/web");
    }

    #[test]
    fn json_is_indented_by_four_and_ends_with_a_newline() {
        assert_eq!(
            printed("json", &json!({"kind": "Pod", "a": [1]})),
            "{\n    \"a\": [\n        1\n    ],\n    \"kind\": \"Pod\"\n}\n"
        );
    }

    #[test]
    fn a_jsonpath_is_printed_without_a_newline_and_as_json_with_one() {
        assert_eq!(printed("jsonpath={.items[*].metadata.name}", &pods()), "web db");
        assert_eq!(
            printed("jsonpath-as-json={.items[*].metadata.name}", &pods()),
            "[\n    \"web\",\n    \"db\"\n]\n"
        );
    }

    #[test]
    fn a_template_may_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("template");
        fs::write(&path, "{.items[0].kind}\n").unwrap();
        assert_eq!(printed(&format!("jsonpath-file={}", path.display()), &pods()), "Pod");
        assert!(matches!(Format::parse("jsonpath-file=/none/such"), Err(OutputError::File { .. })));
    }

    #[test]
    fn an_unknown_format_names_the_ones_there_are() {
        let error = Format::parse("yml").unwrap_err().to_string();
        assert!(error.contains("\"yml\"") && error.contains("yaml"), "{error}");
        assert!(matches!(Format::parse("jsonpath"), Err(OutputError::NoValue { .. })));
        let error = Format::parse("go-template={{.kind}}").unwrap_err().to_string();
        assert!(error.contains("jsonpath="), "{error}");
        assert!(matches!(Format::parse("json=x"), Err(OutputError::Unknown { .. })));
    }
}
