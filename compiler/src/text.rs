//! Types that files keep as the text in which people write them.

/// Gives a type that has `Display` and `FromStr` the conversions of `#[serde(try_from = "String", into = "String")]`.
macro_rules! kept_as_text {
    ($kept:ty) => {
        impl From<$kept> for String {
            fn from(value: $kept) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $kept {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    };
}

pub(crate) use kept_as_text;
