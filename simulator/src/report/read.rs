//! A report from its JSON.

use super::{Report, SCHEMA};
use thiserror::Error;

/// Why a file is no report.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No JSON, or JSON of another form.
    #[error("this is not a report: {0}")]
    Json(#[from] serde_json::Error),
    /// A report of another version.
    #[error("the report has schema {found}, this version of scnnc reads schema {SCHEMA}")]
    Schema {
        /// The file's.
        found: u64,
    },
}

impl Report {
    /// The reports in a file: one, or the several that `compare` writes.
    ///
    /// # Errors
    /// Not JSON, not a report, or one of another schema.
    pub fn read(bytes: &[u8]) -> Result<Vec<Self>, ReadError> {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        let several = value.get("schema").is_none() && value.get("scnn").is_some();
        let values = match value {
            serde_json::Value::Object(fields) if several => {
                fields.into_iter().map(|(_, value)| value).collect()
            }
            value => vec![value],
        };
        values.into_iter().map(Self::from_json).collect()
    }

    fn from_json(value: serde_json::Value) -> Result<Self, ReadError> {
        // A report of another version does not have these fields: its version is the better answer.
        if let Some(found) = value.get("schema").and_then(serde_json::Value::as_u64)
            && found != u64::from(SCHEMA)
        {
            return Err(ReadError::Schema { found });
        }
        Ok(serde_json::from_value(value)?)
    }
}
