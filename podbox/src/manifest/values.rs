//! YAML that is no object of Kubernetes, as plain values.

use serde_json::{Map, Number, Value};

use super::Limits;
use super::scalar::Value as Scalar;
use super::tree::{Kind, NodeId, Tree};

/// The documents of a text.
///
/// # Errors
/// The first mistake in it.
pub(crate) fn yaml_values(text: &str) -> Result<Vec<Value>, String> {
    let (tree, mistakes) = Tree::parse(text, &Limits::default());
    if let Some(mistake) = mistakes.into_iter().next() {
        return Err(mistake.message);
    }
    Ok(tree.documents.iter().map(|document| value(&tree, *document)).collect())
}

fn value(tree: &Tree<'_>, node: NodeId) -> Value {
    match &tree.node(node).kind {
        Kind::Map(entries) => {
            let fields = entries.iter().map(|entry| (entry.key.to_string(), value(tree, entry.value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Kind::Seq(items) => items.iter().map(|item| value(tree, *item)).collect(),
        Kind::Scalar(scalar) => match scalar.value() {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Int(number) => Number::from_i128(number).map_or(Value::Null, Value::Number),
            Scalar::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            Scalar::Str(text) => Value::String(text.to_owned()),
        },
    }
}
