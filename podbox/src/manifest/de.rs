//! From the tree into Kubernetes' own types, without stopping at the first mistake.
//!
//! serde gives up at the first error. This deserializer does not hand it one: where a value has the wrong
//! type, it notes the mistake with its place and supplies an empty value of the type that was wanted, so that
//! the rest is read as well. Each struct type says which fields it knows; that is how unknown ones are found
//! and what "did you mean" is taken from.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::diagnostic::{Finding, Severity};
use super::notes::Notes;
use super::scalar::Value;
use super::tree::{Entry, Kind, NodeId, Tree};
use crate::pod::field::Path;

/// Reads a node as a `T`. `None` only if the type itself refused, which is noted like the rest.
pub(crate) fn read<'t, T: de::Deserialize<'t>>(
    tree: &'t Tree<'t>,
    node: NodeId,
    path: &Path<'_>,
    notes: &Notes,
) -> Option<T> {
    match T::deserialize(De { tree, node, path, notes }) {
        Ok(value) => Some(value),
        Err(Refused(message)) => {
            De { tree, node, path, notes }.note(message, None);
            None
        }
    }
}

/// Fields that the server of a cluster writes, and that a manifest saved from one still holds. They are left
/// unread; the list of honoured fields says a word about them.
const SERVER_SIDE: [(&str, &[&str]); 9] = [
    ("Pod", OF_OBJECT),
    ("ObjectMeta", SERVER_SIDE_METADATA),
    ("ConfigMap", OF_OBJECT),
    ("Namespace", OF_OBJECT),
    ("PersistentVolume", OF_OBJECT),
    ("PersistentVolumeClaim", OF_OBJECT),
    ("Secret", OF_OBJECT),
    ("Service", OF_OBJECT),
    ("ServiceAccount", OF_OBJECT),
];

const OF_OBJECT: &[&str] = &["status", "apiVersion", "kind"];

/// Those of `metadata`.
pub(super) const SERVER_SIDE_METADATA: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

struct De<'a, 't> {
    tree: &'t Tree<'t>,
    node: NodeId,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

/// A type's own refusal of a value that had the right form.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl<'a, 't> De<'a, 't> {
    fn kind(&self) -> &'t Kind<'t> {
        &self.tree.node(self.node).kind
    }

    fn value(&self) -> Option<Value<'t>> {
        match self.kind() {
            Kind::Scalar(scalar) => Some(scalar.value()),
            Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        self.value() == Some(Value::Null)
    }

    fn note(&self, message: String, hint: Option<String>) {
        if self.notes.is_full() {
            return;
        }
        let (severity, span) = (Severity::Error, self.tree.node(self.node).span);
        let path = self.path.to_string();
        self.notes.add(Finding { severity, span, path, message, hint, other: None });
    }

    /// Notes that the value is of another type than `wanted`.
    fn mismatch(&self, wanted: &str) {
        let (shown, is, text) = match self.kind() {
            Kind::Seq(_) => ("[…]".to_owned(), "list", None),
            Kind::Map(_) => ("{…}".to_owned(), "object", None),
            Kind::Scalar(scalar) => {
                let text = scalar.text();
                match scalar.value() {
                    Value::Str(_) => (format!("{text:?}"), "string", Some(text)),
                    Value::Null => ("null".to_owned(), "null", None),
                    other => (text.to_owned(), other.type_name(), Some(text)),
                }
            }
        };
        let hint = match (wanted, is, text) {
            ("string", "number", Some(text)) => {
                Some(format!("unquoted, this is a number; write it in quotes: \"{text}\""))
            }
            ("string", "bool", Some(text)) => {
                let value = self.value() == Some(Value::Bool(true));
                Some(format!("unquoted, this is the boolean {value}; write it in quotes: \"{text}\""))
            }
            ("int32" | "int64", "string", Some(text)) if text.parse::<i64>().is_ok() => {
                Some(format!("write it without quotes: {text}"))
            }
            ("bool", "string", Some("true" | "yes" | "on" | "y")) => {
                Some("write it without quotes: true".to_owned())
            }
            ("bool", "string", Some("false" | "no" | "off" | "n")) => {
                Some("write it without quotes: false".to_owned())
            }
            ("bool", ..) => Some("write true or false".to_owned()),
            ("list", "string" | "number" | "bool", Some(text)) => {
                Some(format!("write a list, each element on its own line behind `- `: [{text:?}]"))
            }
            ("list", "object", _) => Some("put `- ` before each element".to_owned()),
            ("object", "string", Some(text)) if text.contains(':') && !text.contains(": ") => {
                Some("a blank is missing behind the colon".to_owned())
            }
            ("object", "list", _) => Some("remove the `- `: this is one object, not a list".to_owned()),
            _ => None,
        };
        self.note(format!("Invalid value: {shown}: cannot convert {is} to {wanted}"), hint);
    }

    /// A whole number within the bounds; 0 after a mistake was noted.
    fn whole(&self, wanted: &str, min: i128, max: i128) -> i128 {
        let number = match self.value() {
            Some(Value::Int(number)) => number,
            // The JSON that kubectl sends has no point in a float without a fraction.
            Some(Value::Float(float)) if float.fract() == 0.0 && float.abs() < 1e18 => float as i128,
            Some(Value::Null) => 0,
            Some(Value::Float(float)) => {
                let wrong = match float.fract() == 0.0 || float.is_infinite() {
                    true => format!("is out of the range of {wanted}"),
                    false => format!("must be a whole number ({wanted})"),
                };
                self.note(format!("Invalid value: {}: {wrong}", self.written()), None);
                return 0;
            }
            _ => {
                self.mismatch(wanted);
                return 0;
            }
        };
        if number < min || number > max {
            self.note(format!("Invalid value: {}: is out of the range of {wanted}", self.written()), None);
            return 0;
        }
        number
    }

    /// A scalar as it stands in the file: what is shown must be found there.
    fn written(&self) -> &'t str {
        match self.kind() {
            Kind::Scalar(scalar) => scalar.text(),
            Kind::Seq(_) | Kind::Map(_) => "",
        }
    }

    fn entries(&self) -> &'t [Entry<'t>] {
        match self.kind() {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) if self.is_null() => &[],
            Kind::Seq(_) | Kind::Scalar(_) => {
                self.mismatch("object");
                &[]
            }
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty, $name:literal;)*) => {
        $(fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
            let number = self.whole($name, i128::from(<$type>::MIN), i128::from(<$type>::MAX));
            visitor.$visit(<$type>::try_from(number).unwrap_or_default())
        })*
    };
}

impl<'t> Deserializer<'t> for De<'_, 't> {
    type Error = Refused;

    whole_numbers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
    }

    /// Called by `IntOrString`, and by types that hold any JSON.
    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let port = {
            struct Name<'v, V>(&'v V);
            impl<'t, V: Visitor<'t>> std::fmt::Display for Name<'_, V> {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.0.expecting(f)
                }
            }
            let is = |visitor: &V| Name::<V>(visitor).to_string() == "IntOrString";
            is(&visitor)
        };
        if port {
            return match self.value() {
                Some(Value::Str(text)) => visitor.visit_borrowed_str(text),
                Some(Value::Int(_) | Value::Float(_) | Value::Null) => {
                    let number = self.whole("int32", i128::from(i32::MIN), i128::from(i32::MAX));
                    visitor.visit_i64(i64::try_from(number).unwrap_or_default())
                }
                Some(Value::Bool(_)) | None => {
                    self.mismatch("a number or a name");
                    visitor.visit_i64(0)
                }
            };
        }
        match self.kind() {
            Kind::Seq(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
            Kind::Scalar(scalar) => match scalar.value() {
                Value::Null => visitor.visit_unit(),
                Value::Bool(value) => visitor.visit_bool(value),
                Value::Int(number) => match i64::try_from(number) {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => visitor.visit_u64(u64::try_from(number).unwrap_or(u64::MAX)),
                },
                Value::Float(number) => visitor.visit_f64(number),
                Value::Str(text) => visitor.visit_borrowed_str(text),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let value = match self.value() {
            Some(Value::Bool(value)) => value,
            Some(Value::Null) => false,
            _ => {
                self.mismatch("bool");
                false
            }
        };
        visitor.visit_bool(value)
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let value = match self.value() {
            Some(Value::Int(number)) => number as f64,
            Some(Value::Float(number)) => number,
            Some(Value::Null) => 0.0,
            _ => {
                self.mismatch("number");
                0.0
            }
        };
        visitor.visit_f64(value)
    }

    fn deserialize_f32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.value() {
            Some(Value::Str(text)) => visitor.visit_borrowed_str(text),
            Some(Value::Null) => visitor.visit_borrowed_str(""),
            _ => {
                self.mismatch("string");
                visitor.visit_borrowed_str("")
            }
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// `Quantity` takes numbers as well as strings: both as text.
    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        if name != "Quantity" {
            return visitor.visit_newtype_struct(self);
        }
        match self.value() {
            Some(Value::Str(text)) => visitor.visit_borrowed_str(text),
            Some(Value::Int(number)) => visitor.visit_string(number.to_string()),
            Some(Value::Float(number)) if number.is_finite() => visitor.visit_string(number.to_string()),
            Some(Value::Null) => visitor.visit_borrowed_str("0"),
            _ => {
                self.mismatch("quantity");
                visitor.visit_borrowed_str("0")
            }
        }
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let items: &[NodeId] = match self.kind() {
            Kind::Seq(items) => items,
            Kind::Scalar(_) if self.is_null() => &[],
            Kind::Map(_) | Kind::Scalar(_) => {
                self.mismatch("list");
                &[]
            }
        };
        visitor.visit_seq(Items { of: self, items, next: 0 })
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let entries = self.entries();
        visitor.visit_map(Fields { of: self, entries: entries.iter(), known: None, current: None })
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let entries = self.entries();
        let skipped = SERVER_SIDE.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, skipped)| skipped);
        let known = Some(Known { fields, skipped });
        visitor.visit_map(Fields { of: self, entries: entries.iter(), known, current: None })
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

struct Items<'a, 't> {
    of: De<'a, 't>,
    items: &'t [NodeId],
    next: usize,
}

impl<'t> SeqAccess<'t> for Items<'_, 't> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let path = self.of.path.index(self.next);
        self.next += 1;
        let element = De { tree: self.of.tree, node: *node, path: &path, notes: self.of.notes };
        if element.is_null() {
            element.note("Invalid value: null: an element of a list must not be empty".to_owned(), None);
        }
        seed.deserialize(element).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Known {
    fields: &'static [&'static str],
    skipped: &'static [&'static str],
}

/// The fields of a struct (`known`), or the keys of a map.
struct Fields<'a, 't> {
    of: De<'a, 't>,
    entries: std::slice::Iter<'t, Entry<'t>>,
    known: Option<Known>,
    current: Option<&'t Entry<'t>>,
}

impl<'t> MapAccess<'t> for Fields<'_, 't> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        for entry in self.entries.by_ref() {
            if let Some(known) = &self.known {
                if known.skipped.contains(&entry.key.as_ref()) {
                    continue;
                }
                if !known.fields.contains(&entry.key.as_ref()) {
                    self.of.notes.drop_unknown(self.of.path, entry, known.fields);
                    continue;
                }
            }
            self.current = Some(entry);
            return seed.deserialize(BorrowedStrDeserializer::new(&entry.key)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let Some(entry) = self.current.take() else {
            return Err(Refused("a value was asked for before its key".to_owned()));
        };
        let path = match self.known {
            Some(_) => self.of.path.field(&entry.key),
            None => self.of.path.key(&entry.key),
        };
        seed.deserialize(De { tree: self.of.tree, node: entry.value, path: &path, notes: self.of.notes })
    }
}
