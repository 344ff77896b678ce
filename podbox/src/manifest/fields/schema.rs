//! The fields of a type of the API, found by reading it from a source that has every one of them.

use std::cell::RefCell;

use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// The paths of all fields below `T`, such as `spec.containers[*].name`; maps have none.
pub(super) fn paths<T: for<'de> Deserialize<'de>>() -> Vec<String> {
    let found = RefCell::new(Vec::new());
    T::deserialize(Every { path: String::new(), found: &found }).unwrap();
    found.into_inner()
}

/// A value of whatever type is asked for; if that is a struct, it has all fields.
struct Every<'a> {
    path: String,
    found: &'a RefCell<Vec<String>>,
}

impl<'de> Deserializer<'de> for Every<'_> {
    type Error = Error;

    /// Asked for by what may be a number.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(false)
    }

    /// A time is a string that must be one.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str("2020-01-01T00:00:00Z")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == "Quantity" { visitor.visit_borrowed_str("0") } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(One(Some(Every { path: self.path + "[*]", ..self })))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { of: self, fields: [].iter(), current: "" })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { of: self, fields: fields.iter(), current: "" })
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

struct One<'a>(Option<Every<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|one| seed.deserialize(one)).transpose()
    }
}

struct Fields<'a> {
    of: Every<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    current: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        for field in self.fields.by_ref() {
            let path = match self.of.path.as_str() {
                "" => (*field).to_owned(),
                above => format!("{above}.{field}"),
            };
            self.of.found.borrow_mut().push(path);
            // What the object is, which is no field to choose; and the status, which no manifest sets.
            if !(self.of.path.is_empty() && ["apiVersion", "kind", "status"].contains(field)) {
                self.current = field;
                return seed.deserialize(BorrowedStrDeserializer::new(field)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let path = match self.of.path.as_str() {
            "" => self.current.to_owned(),
            above => format!("{above}.{}", self.current),
        };
        seed.deserialize(Every { path, found: self.of.found })
    }
}
