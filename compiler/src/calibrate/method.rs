//! How a range is made of the values that were observed, and the room that it leaves.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a range is made of the values that were observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Method {
    /// From the smallest to the largest value.
    #[default]
    MinMax,
    /// The magnitude that so many percent of the values other than zero do not exceed.
    Percentile(f64),
    /// The magnitude at which saturating loses the least of the distribution, at the tensor's width.
    Entropy,
}

impl Method {
    /// Factor on ranges made so, unless another is asked for: room for values that no sample had. A cut range is
    /// meant to saturate.
    pub const fn headroom(self) -> f32 {
        match self {
            // Half a bit of the sixteen.
            Self::MinMax => 1.5,
            Self::Percentile(_) | Self::Entropy => 1.0,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile={percent}"),
            Self::Entropy => f.write_str("entropy"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "min-max" => Ok(Self::MinMax),
            "entropy" => Ok(Self::Entropy),
            "percentile" => Ok(Self::Percentile(99.99)),
            _ => text
                .strip_prefix("percentile=")
                .and_then(|percent| percent.parse().ok())
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Self::Percentile)
                .ok_or_else(|| {
                    format!("`{text}` is not one of min-max, entropy, percentile, percentile=99.9")
                }),
        }
    }
}

crate::text::kept_as_text!(Method);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_as_they_are_written() {
        for text in ["min-max", "entropy", "percentile=99.9"] {
            assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
        }
        assert_eq!("percentile".parse(), Ok(Method::Percentile(99.99)));
        assert!("percentile=101".parse::<Method>().is_err());
        assert!("mean".parse::<Method>().is_err());
    }
}
