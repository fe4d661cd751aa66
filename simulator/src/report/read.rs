//! A report from its JSON.

use super::{Report, SCHEMA};
use crate::codes::Code;
use serde_json::Value;
use thiserror::Error;

/// Why a file is no report.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No JSON, or JSON of another form.
    #[error("this is not a report: {0}")]
    Json(#[from] serde_json::Error),
    /// A list without any.
    #[error("this is not a report: it is an empty list")]
    Empty,
    /// A report of another version.
    #[error("the report has schema {found}, this version of scnnc reads schema {SCHEMA}")]
    Schema {
        /// The file's.
        found: u64,
    },
    /// Counts whose sums would be beyond 64 bits.
    #[error("this is not a report: it counts up to {largest}, and sums of that are beyond 64 bits")]
    TooLarge {
        /// The largest count.
        largest: u64,
    },
}

impl ReadError {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Json(_) | Self::Empty | Self::TooLarge { .. } => Code::NotAReport,
            Self::Schema { .. } => Code::ReportSchema,
        }
    }
}

impl Report {
    /// The reports in a file: one, or the several that `compare` writes.
    ///
    /// # Errors
    /// Not JSON, not a report, one of another schema, or one whose counts cannot be added.
    pub fn read(bytes: &[u8]) -> Result<Vec<Self>, ReadError> {
        let value: Value = serde_json::from_slice(bytes)?;
        let several = value.get("schema").is_none() && value.get("scnn").is_some();
        let values = match value {
            Value::Object(fields) if several => {
                fields.into_iter().map(|(_, value)| value).collect()
            }
            Value::Array(reports) if reports.is_empty() => return Err(ReadError::Empty),
            Value::Array(reports) => reports,
            value => vec![value],
        };
        values.into_iter().map(Self::from_json).collect()
    }

    fn from_json(value: Value) -> Result<Self, ReadError> {
        // A report of another version does not have these fields: its version is the better answer.
        if let Some(found) = value.get("schema").and_then(Value::as_u64)
            && found != u64::from(SCHEMA)
        {
            return Err(ReadError::Schema { found });
        }
        let largest = largest(&value);
        let report: Self = serde_json::from_value(value)?;
        // Whoever reads adds over layers and over the parts of a layer, of which there are fewer than 16.
        let parts = 16 * (report.layers.len() as u64 + 1);
        match largest.checked_mul(parts) {
            Some(_) => Ok(report),
            None => Err(ReadError::TooLarge { largest }),
        }
    }
}

/// The largest count in a value.
fn largest(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Array(items) => items.iter().map(largest).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(largest).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}
