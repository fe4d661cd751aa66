//! Values of machine parameters: how each type is read, checked against its range where it stands, and shown.
//!
//! The checks run inside serde's visitor, because that is where `serde_yaml` knows line and column.

use super::{Picojoules, SquareMillimetres};
use crate::yaml::out_of_range;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer,
};
use std::fmt;
use std::marker::PhantomData;

/// A type that a machine parameter can have.
pub(crate) trait ParameterValue: Sized {
    /// Smallest and largest value, or nothing to restrict.
    type Range: Copy;

    /// The allowed values in words.
    fn describe(range: Self::Range) -> String;
    /// The value as text.
    fn show(&self) -> String;
    /// The value in complete files that were written before there was the parameter; none of the first parameters.
    fn unstated() -> Option<Self> {
        None
    }
    /// Whether this is that value, which is not written: a machine that does not use the parameter is written as before it existed.
    fn is_unstated(&self) -> bool {
        false
    }
    /// From a number, if it is one and in range.
    fn from_number(_: f64, _: Self::Range) -> Option<Self> {
        None
    }
    /// From a truth value.
    fn from_bool(_: bool) -> Option<Self> {
        None
    }
    /// From a word.
    fn from_word(_: &str) -> Option<Self> {
        None
    }
    /// From a map.
    fn from_map<'de, A: MapAccess<'de>>(_: A, range: Self::Range) -> Result<Self, A::Error> {
        Err(A::Error::custom(out_of_range(
            "a map",
            &Self::describe(range),
        )))
    }
}

impl ParameterValue for u32 {
    type Range = (u32, u32);

    fn describe((low, high): Self::Range) -> String {
        format!("a whole number from {low} to {high}")
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn from_number(number: f64, (low, high): Self::Range) -> Option<Self> {
        let inside = number.fract() == 0.0 && f64::from(low) <= number && number <= f64::from(high);
        inside.then_some(number as u32)
    }
}

impl ParameterValue for f64 {
    type Range = (f64, f64);

    fn describe((low, high): Self::Range) -> String {
        format!("a number from {low} to {high}")
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn from_number(number: f64, (low, high): Self::Range) -> Option<Self> {
        (low <= number && number <= high).then_some(number)
    }
}

impl ParameterValue for bool {
    type Range = ();

    fn describe((): ()) -> String {
        "true or false".to_owned()
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

macro_rules! sourced {
    ($type:ident, $field:ident, $unit:literal) => {
        impl ParameterValue for $type {
            type Range = ();

            fn describe((): ()) -> String {
                concat!(
                    "{ ",
                    stringify!($field),
                    ": a number from 0 (",
                    $unit,
                    "), source: text }"
                )
                .to_owned()
            }

            fn show(&self) -> String {
                self.$field.to_string()
            }

            fn from_map<'de, A: MapAccess<'de>>(map: A, range: ()) -> Result<Self, A::Error> {
                let value = Self::deserialize(MapAccessDeserializer::new(map))?;
                if value.$field.is_finite() && value.$field >= 0.0 {
                    return Ok(value);
                }
                let found = value.$field.to_string();
                Err(A::Error::custom(out_of_range(
                    &found,
                    &Self::describe(range),
                )))
            }
        }
    };
}

sourced!(Picojoules, pj, "pJ");
sourced!(SquareMillimetres, mm2, "mm2");

/// Defines enums whose values are words in a machine file; `=` names the value of files older than the parameter.
macro_rules! named_values {
    ($( $(#[doc = $doc:literal])* $name:ident $(= $unstated:ident)? { $($variant:ident $word:literal),* } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $(
                #[doc = concat!("`", $word, "` in a machine file.")]
                #[serde(rename = $word)]
                $variant,
            )*
        }

        impl ParameterValue for $name {
            type Range = ();

            fn describe((): ()) -> String {
                [$($word),*].join(" or ")
            }

            fn show(&self) -> String {
                match self { $(Self::$variant => $word.to_owned(),)* }
            }

            $(
                fn unstated() -> Option<Self> {
                    Some(Self::$unstated)
                }

                fn is_unstated(&self) -> bool {
                    matches!(self, Self::$unstated)
                }
            )?

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    )*};
}
pub(crate) use named_values;

/// Reads a value of `T` that lies in a range.
pub(crate) struct InRange<T: ParameterValue> {
    range: T::Range,
    value: PhantomData<T>,
}

impl<T: ParameterValue> InRange<T> {
    pub(crate) fn new(range: T::Range) -> Self {
        Self {
            range,
            value: PhantomData,
        }
    }

    fn accept<E: Error>(&self, value: Option<T>, found: &dyn fmt::Display) -> Result<T, E> {
        value.ok_or_else(|| {
            let allowed = T::describe(self.range);
            E::custom(out_of_range(&found.to_string(), &allowed))
        })
    }
}

impl<'de, T: ParameterValue> DeserializeSeed<'de> for InRange<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: ParameterValue> Visitor<'de> for InRange<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::describe(self.range))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.accept(T::from_bool(value), &value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.accept(T::from_number(value as f64, self.range), &value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.accept(T::from_number(value as f64, self.range), &value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        self.accept(T::from_number(value, self.range), &value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        self.accept(T::from_word(value), &format_args!("`{value}`"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map, self.range)
    }
}

/// A part of a machine file: a map with known keys.
pub(crate) trait Keyed<'de>: Default {
    /// The keys.
    const KEYS: &'static [&'static str];

    /// Reads the value of `key`, one of [`Self::KEYS`].
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads such a map; unknown and repeated keys are errors.
pub(crate) fn read_map<'de, T: Keyed<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(MapVisitor(PhantomData))
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Keyed<'de>> Visitor<'de> for MapVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map with the keys {}", T::KEYS.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut stated = T::default();
        let mut seen = Vec::new();
        while let Some(key) = map.next_key_seed(KnownKey(T::KEYS))? {
            if seen.contains(&key) {
                return Err(A::Error::duplicate_field(key));
            }
            seen.push(key);
            stated.read(key, &mut map)?;
        }
        Ok(stated)
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

/// Reads a key; the check runs in the key's own visitor so that the error has the key's line.
struct KnownKey(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of the keys {}", self.0.join(", "))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.0
            .iter()
            .find(|known| **known == key)
            .copied()
            .ok_or_else(|| E::unknown_field(key, self.0))
    }
}
