//! The keys that a type knows, without a value of it.

use serde::Deserializer;
use serde::de::value::Error as ProbeFailed;
use serde::de::{DeserializeOwned, Error as _, Visitor};

/// The keys of a section.
type Keys = &'static [&'static str];

/// The keys `T` knows, as its own `Deserialize` names them; `None` where it takes any key.
///
/// Asking the type makes a misspelt key an error even where the author of an application's settings
/// left out `deny_unknown_fields`.
pub(super) fn known_keys<T: DeserializeOwned>() -> Option<Keys> {
    let mut keys = None;
    // Always an error: the probe has no values to give.
    let _ = T::deserialize(KeyProbe(&mut keys));
    keys
}

struct KeyProbe<'a>(&'a mut Option<Keys>);

impl<'de> Deserializer<'de> for KeyProbe<'_> {
    type Error = ProbeFailed;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ProbeFailed> {
        Err(ProbeFailed::custom(
            "only the names of the keys were asked for",
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: Keys,
        visitor: V,
    ) -> Result<V::Value, ProbeFailed> {
        *self.0 = Some(keys);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
