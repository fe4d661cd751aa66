//! JSON schemas (draft 2020-12) that follow from the types that are written: a field, its JSON and its meaning stand in
//! one place, the struct's definition inside `described!`.
//!
//! ```text
//! described! { /// Bytes. #[derive(…)] pub struct Bytes { /// Weights, as encoded. pub weights: u64, } }
//!     -> "Bytes": {"description": "Bytes.", "properties": {"weights": {"type": "integer", …}}, …}
//! ```

use scnn_isa::program::Memory;
use serde_json::{Map, Value, json};

/// Schemas of records by the name of their type, which others refer to.
pub type Definitions = Map<String, Value>;

/// A type whose JSON has a schema.
pub trait Described {
    /// The schema of its values; records are put into the definitions and referred to.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// Defines a record that serde writes as a JSON object, and its schema from the same fields and their documentation.
/// Fields may be `#[serde(flatten)]` or `#[serde(rename = "…")]`.
macro_rules! described {
    (
        $(#[doc = $about:literal])+
        #[derive($($derive:ident),* $(,)?)]
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])?
                pub $field:ident: $type:ty,
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive($($derive),*)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)*)])?
                pub $field: $type,
            )*
        }

        impl $crate::schema::Described for $name {
            fn schema(definitions: &mut $crate::schema::Definitions) -> serde_json::Value {
                let about = concat!($($about),+);
                $crate::schema::record(definitions, stringify!($name), about, |record, definitions| {
                    $($crate::schema::field!(
                        record, definitions, $field, $type, concat!($($doc),+), $($($serde)*)?
                    );)*
                })
            }
        }
    };
}

/// One field, by what serde does with it.
macro_rules! field {
    ($record:ident, $definitions:ident, $field:ident, $type:ty, $doc:expr, flatten) => {
        $record.flatten::<$type>($definitions)
    };
    ($record:ident, $definitions:ident, $field:ident, $type:ty, $doc:expr, rename = $name:literal) => {
        $record.field::<$type>($definitions, $name, $doc)
    };
    ($record:ident, $definitions:ident, $field:ident, $type:ty, $doc:expr,) => {
        $record.field::<$type>($definitions, stringify!($field), $doc)
    };
}

/// Adds every field of a record to those of another; the list of fields is checked to be complete, so that a field which is
/// new cannot be missing from sums.
macro_rules! add_fields {
    ($ours:expr, $theirs:expr, $record:ident { $($field:ident),+ $(,)? }) => {
        let $record { $($field),+ } = $theirs;
        $($ours.$field += $field;)+
    };
}

pub(crate) use {add_fields, described, field};

/// The fields of a record.
#[derive(Default)]
pub struct Record {
    properties: Map<String, Value>,
}

impl Record {
    /// A field of its own.
    pub fn field<T: Described>(&mut self, definitions: &mut Definitions, name: &str, doc: &str) {
        let mut schema = T::schema(definitions);
        if let Some(object) = schema.as_object_mut() {
            object.shift_insert(0, "description".to_owned(), sentence(doc).into());
        }
        self.properties.insert(name.to_owned(), schema);
    }

    /// The fields of another record as fields of this one.
    pub fn flatten<T: Described>(&mut self, definitions: &mut Definitions) {
        let mut inner = Definitions::new();
        let schema = T::schema(&mut inner);
        let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        let own = name.and_then(|name| inner.shift_remove(name));
        if let Some(Value::Object(properties)) = own.map(|mut own| own["properties"].take()) {
            self.properties.extend(properties);
        }
        // The record itself is not referred to; what its fields refer to is.
        definitions.extend(inner);
    }
}

/// Puts the schema of a record into the definitions, and refers to it.
pub fn record(
    definitions: &mut Definitions,
    name: &str,
    about: &str,
    fields: impl FnOnce(&mut Record, &mut Definitions),
) -> Value {
    if !definitions.contains_key(name) {
        // Holds its place, so that definitions stand in the order in which they are first referred to.
        definitions.insert(name.to_owned(), Value::Null);
        let mut record = Record::default();
        fields(&mut record, definitions);
        let required: Vec<&String> = record.properties.keys().collect();
        let schema = json!({
            "description": sentence(about),
            "type": "object",
            "required": required,
            "additionalProperties": false,
            "properties": record.properties,
        });
        definitions.insert(name.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// Documentation as one line.
fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

macro_rules! plain {
    ($($type:ty: $schema:tt;)*) => {
        $(impl Described for $type {
            fn schema(_: &mut Definitions) -> Value {
                json!($schema)
            }
        })*
    };
}

plain! {
    u32: {"type": "integer", "minimum": 0};
    u64: {"type": "integer", "minimum": 0};
    i32: {"type": "integer"};
    f64: {"type": "number"};
    String: {"type": "string"};
}

impl<T: Described> Described for Vec<T> {
    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
}

impl<T: Described, const N: usize> Described for [T; N] {
    fn schema(definitions: &mut Definitions) -> Value {
        let items = T::schema(definitions);
        json!({ "type": "array", "minItems": N, "maxItems": N, "items": items })
    }
}

/// What is absent is `null`, not left out.
impl<T: Described> Described for Option<T> {
    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [T::schema(definitions), {"type": "null"}] })
    }
}

impl Described for Memory {
    fn schema(_: &mut Definitions) -> Value {
        let memories = [Self::A, Self::B, Self::Dram];
        let words = memories.map(|memory| match memory {
            Self::A => "a",
            Self::B => "b",
            Self::Dram => "dram",
        });
        json!({ "enum": words })
    }
}
