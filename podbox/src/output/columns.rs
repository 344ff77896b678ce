//! `custom-columns=NAME:.metadata.name,IMAGES:.spec.containers[*].image`.

use serde_json::Value;

use super::jsonpath::{JsonPathError, Template};
use super::table::Table;

/// One column: its head and where its cells come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    head: String,
    path: Template,
}

/// Why columns make no sense.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// A part has no colon.
    #[error("column {part:?} is not HEAD:PATH, as in NAME:.metadata.name")]
    NoPath {
        /// The part.
        part: String,
    },
    /// The file's two lines do not fit.
    #[error("a columns file is a line of heads and a line of as many paths; here are {heads} and {paths}")]
    File {
        /// Words in the first line.
        heads: usize,
        /// Words in the second line.
        paths: usize,
    },
    /// A path is wrong, or does not fit the object.
    #[error("column {head}")]
    Path {
        /// The column's head.
        head: String,
        /// What is wrong.
        #[source]
        source: JsonPathError,
    },
}

/// Reads the argument; commas part columns, the first colon parts head and path.
pub(super) fn parse(text: &str) -> Result<Vec<Column>, ColumnsError> {
    let column = |part: &str| {
        let (head, path) = part
            .split_once(':')
            .filter(|(head, path)| !head.is_empty() && !path.is_empty())
            .ok_or_else(|| ColumnsError::NoPath { part: part.to_owned() })?;
        new(head, path)
    };
    text.split(',').map(column).collect()
}

/// Reads a file: heads in the first line, paths in the second.
pub(super) fn parse_file(text: &str) -> Result<Vec<Column>, ColumnsError> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (heads, paths) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if heads.is_empty() || heads.len() != paths.len() {
        return Err(ColumnsError::File { heads: heads.len(), paths: paths.len() });
    }
    heads.iter().zip(paths).map(|(head, path)| new(head, path)).collect()
}

fn new(head: &str, path: &str) -> Result<Column, ColumnsError> {
    let path = Template::parse_relaxed(path)
        .map_err(|source| ColumnsError::Path { head: head.to_owned(), source })?;
    Ok(Column { head: head.to_owned(), path })
}

/// A row per object; several values stand in one cell with commas between, no value is `<none>`.
pub(super) fn print(columns: &[Column], items: &[&Value]) -> Result<String, ColumnsError> {
    let mut table = Table::new(columns.iter().map(|column| column.head.as_str()));
    for item in items {
        let cell = |column: &Column| {
            let found = column.path.find(item);
            let found = found.map_err(|source| ColumnsError::Path { head: column.head.clone(), source })?;
            Ok(found.into_iter().map(cell_text).collect::<Vec<_>>().join(","))
        };
        table.push(columns.iter().map(cell).collect::<Result<Vec<String>, ColumnsError>>()?);
    }
    Ok(table.to_string())
}

/// A value as Go's `fmt` prints it, which is what kubectl puts into a cell: `map[app:web]`, `[a b]`.
fn cell_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(cell_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}:{}", cell_text(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => super::jsonpath::text_of(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_column_finds_its_own_cells() {
        let columns =
            parse("NAME:.metadata.name,IMAGES:{.spec.containers[*].image},NODE:spec.nodeName").unwrap();
        let pod =
            json!({"metadata": {"name": "web"}, "spec": {"containers": [{"image": "a"}, {"image": "b"}]}});
        assert_eq!(print(&columns, &[&pod]).unwrap(), "NAME   IMAGES   NODE\nweb    a,b      <none>\n");
    }

    #[test]
    fn objects_and_lists_stand_in_a_cell_as_go_prints_them() {
        let columns = parse("L:.labels,A:.args").unwrap();
        let pod = json!({"labels": {"app": "web", "n": null}, "args": ["a", "b"]});
        let text = print(&columns, &[&pod]).unwrap();
        assert_eq!(text.lines().nth(1), Some("map[app:web n:<nil>]   [a b]"));
    }

    #[test]
    fn a_file_has_heads_above_paths() {
        let columns = parse_file("NAME  IP\nmetadata.name   status.podIP\n").unwrap();
        assert_eq!(columns, parse("NAME:metadata.name,IP:status.podIP").unwrap());
        let error = parse_file("NAME IP\nmetadata.name\n").unwrap_err();
        assert!(error.to_string().ends_with("here are 2 and 1"), "{error}");
    }

    #[test]
    fn a_column_without_a_path_is_named() {
        let error = parse("NAME:.metadata.name,IP").unwrap_err();
        assert_eq!(error.to_string(), "column \"IP\" is not HEAD:PATH, as in NAME:.metadata.name");
    }
}
