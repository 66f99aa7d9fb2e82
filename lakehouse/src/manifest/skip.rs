//! How long a value is, by its Avro schema alone.

use std::collections::HashMap;

use serde_json::Value;

use super::cursor::Cursor;

/// How to go over one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// So many bytes.
    Fixed(usize),
    Long,
    /// Bytes or text.
    Bytes,
    Union(Vec<Skip>),
    Record(Vec<Skip>),
    /// Blocks of items.
    Array(Box<Skip>),
    Map(Box<Skip>),
}

impl Skip {
    /// `None` for what is no schema, or refers to itself.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        Self::parse(schema, &mut HashMap::new())
    }

    fn parse(schema: &Value, named: &mut HashMap<String, Self>) -> Option<Self> {
        let object = match schema {
            Value::String(name) => {
                return Self::primitive(name).or_else(|| named.get(name).cloned());
            }
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| Self::parse(branch, named));
                return branches.collect::<Option<_>>().map(Self::Union);
            }
            Value::Object(object) => object,
            _ => return None,
        };
        let skip = match object.get("type")? {
            Value::String(kind) => match kind.as_str() {
                "record" => {
                    let fields = object.get("fields")?.as_array()?.iter();
                    let fields = fields.map(|field| Self::parse(field.get("type")?, named));
                    Self::Record(fields.collect::<Option<_>>()?)
                }
                "array" => Self::Array(Box::new(Self::parse(object.get("items")?, named)?)),
                "map" => Self::Map(Box::new(Self::parse(object.get("values")?, named)?)),
                "fixed" => Self::Fixed(usize::try_from(object.get("size")?.as_u64()?).ok()?),
                "enum" => Self::Long,
                primitive => Self::primitive(primitive)?,
            },
            // A type that is only wrapped, to say more of it.
            inner => Self::parse(inner, named)?,
        };
        if let Some(name) = object.get("name").and_then(Value::as_str) {
            named.insert(name.to_owned(), skip.clone());
        }
        Some(skip)
    }

    fn primitive(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Fixed(0),
            "boolean" => Self::Fixed(1),
            "float" => Self::Fixed(4),
            "double" => Self::Fixed(8),
            "int" | "long" => Self::Long,
            "bytes" | "string" => Self::Bytes,
            _ => return None,
        })
    }

    /// Goes over one value.
    pub(super) fn pass(&self, from: &mut Cursor<'_>) -> Option<()> {
        match self {
            Self::Fixed(length) => from.take(*length).map(drop),
            Self::Long => from.long().map(drop),
            Self::Bytes => from.bytes().map(drop),
            Self::Union(branches) => branches.get(usize::try_from(from.long()?).ok()?)?.pass(from),
            Self::Record(fields) => fields.iter().try_for_each(|field| field.pass(from)),
            Self::Array(item) => blocks(from, |from| item.pass(from)),
            Self::Map(value) => blocks(from, |from| {
                from.bytes()?;
                value.pass(from)
            }),
        }
    }
}

/// Blocks of items, up to the empty one.
fn blocks(
    from: &mut Cursor<'_>,
    mut item: impl FnMut(&mut Cursor<'_>) -> Option<()>,
) -> Option<()> {
    loop {
        match from.long()? {
            0 => return Some(()),
            // Then its length in bytes follows.
            ..0 => from.bytes().map(drop)?,
            count => (0..count).try_for_each(|_| item(from))?,
        }
    }
}
