//! An event as it comes: names and single values, from JSON or from protobuf, before anything is checked.

use std::fmt;

use muster_proto::wire;
use muster_proto::wire::field_value::Value as Wire;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Missing,
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
    /// What no field can hold: `an array`, `an object`.
    Nested(&'static str),
}

/// The fields of an event in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields(pub(crate) Vec<(String, Scalar)>);

impl From<wire::Event> for Fields {
    fn from(event: wire::Event) -> Self {
        let scalar = |value: wire::FieldValue| match value.value {
            None => Scalar::Missing,
            Some(Wire::Text(text)) => Scalar::Text(text),
            Some(Wire::Integer(number)) => Scalar::Integer(number),
            Some(Wire::Number(number)) => Scalar::Number(number),
            Some(Wire::Flag(flag)) => Scalar::Flag(flag),
        };
        Self(event.fields.into_iter().map(|(name, value)| (name, scalar(value))).collect())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with the fields of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry::<String, Scalar>()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Missing)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(number).map_or(Scalar::Number(number as f64), Scalar::Integer))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nested("an array"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nested("an object"))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// The value of one field of an event that is a line of a file; none where it has no such field.
pub(crate) fn field_of(line: &[u8], name: &str) -> Result<Option<Scalar>, serde_json::Error> {
    struct Find<'n>(&'n str);
    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<Scalar>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Scalar>, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<String>()? {
                if key == self.0 {
                    found = Some(map.next_value::<Scalar>()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    impl<'de> DeserializeSeed<'de> for Find<'_> {
        type Value = Option<Scalar>;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Scalar>, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = Find(name).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// One object, or an array of objects, of a body that is JSON as a whole.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Vec<Result<Fields, String>>);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BodyVisitor;
        impl<'de> Visitor<'de> for BodyVisitor {
            type Value = Body;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event, or an array of events")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Body, A::Error> {
                let fields = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Body(vec![Ok(fields)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Body, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = items.next_element::<Item>()? {
                    events.push(event.0);
                }
                Ok(Body(events))
            }
        }
        deserializer.deserialize_any(BodyVisitor)
    }
}

/// An item of an array: an event, or what it is instead.
struct Item(Result<Fields, String>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                Fields::deserialize(de::value::MapAccessDeserializer::new(map)).map(|fields| Item(Ok(fields)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item(Err("is an array, not an event".to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Item, E> {
                Ok(Item(Err("is null, not an event".to_owned())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Item, E> {
                Ok(Item(Err("is a flag, not an event".to_owned())))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
                Ok(Item(Err("is a number, not an event".to_owned())))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
                Ok(Item(Err("is a number, not an event".to_owned())))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
                Ok(Item(Err("is a number, not an event".to_owned())))
            }

            fn visit_str<E>(self, _: &str) -> Result<Item, E> {
                Ok(Item(Err("is text, not an event".to_owned())))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}
