//! YAML or JSON as a JSON value, where it is no object of the API: a part of one, on a command line.

use serde_json::{Map, Number, Value};

use super::diagnostic::{Diagnostic, Diagnostics, SourceText};
use super::scalar;
use super::tree::{Kind, NodeId, Tree};
use super::{Limits, Source, Strictness, from_mistake};

/// The first document; null if there is none.
///
/// # Errors
/// If the text is no YAML.
pub fn value(source: &Source) -> Result<Value, Diagnostics> {
    let text = String::from_utf8_lossy(&source.text);
    let text = std::sync::Arc::new(SourceText::new(&source.name, &text));
    let (tree, mistakes) = Tree::parse(&text.text, &[], &Limits::default());
    if !mistakes.is_empty() {
        let findings = mistakes.into_iter().filter_map(|mistake| from_mistake(mistake, Strictness::Strict));
        return Err(Diagnostics(findings.map(|one| Diagnostic::new(&text, one)).collect()));
    }
    Ok(tree.documents.first().map_or(Value::Null, |root| of_node(&tree, *root)))
}

fn of_node(tree: &Tree<'_>, node: NodeId) -> Value {
    match &tree.node(node).kind {
        Kind::Scalar(scalar) => match scalar.value() {
            scalar::Value::Null => Value::Null,
            scalar::Value::Bool(value) => Value::Bool(value),
            scalar::Value::Int(number) => i64::try_from(number).map_or(Value::Null, Into::into),
            scalar::Value::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            scalar::Value::Str(text) => Value::String(text.to_owned()),
        },
        Kind::Seq(items) => items.iter().map(|item| of_node(tree, *item)).collect(),
        Kind::Map(entries) => {
            let pair = |entry: &super::tree::Entry<'_>| (entry.key.to_string(), of_node(tree, entry.value));
            Value::Object(entries.iter().map(pair).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_give_the_same_value() {
        let read = |text: &str| value(&Source::new("f", text)).unwrap();
        let same = json!({"env": [{"name": "A", "value": "1"}], "tty": true, "count": 3, "none": null});
        assert_eq!(read("env:\n- {name: A, value: '1'}\ntty: yes\ncount: 3\nnone:\n"), same);
        assert_eq!(read(&same.to_string()), same);
        assert_eq!(read(""), Value::Null);
        assert!(value(&Source::new("f", "a: [")).is_err());
    }
}
