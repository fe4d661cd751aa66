//! The content of slices and counters, independent of the form of the file.

/// A value beside a slice.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A count.
    Count(u64),
    /// A measure.
    Number(f64),
    /// A word.
    Text(&'a str),
    /// Several words.
    Texts(&'a [String]),
    /// Values with names of their own.
    Record(Vec<(&'static str, Value<'a>)>),
}

/// Values by name.
pub type Values<'a> = Vec<(&'static str, Value<'a>)>;

/// Name and values of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Content<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its values.
    pub values: Values<'a>,
}

/// The name of a slice.
#[derive(Clone, Debug, PartialEq)]
pub enum Name<'a> {
    /// Words.
    Text(&'a str),
    /// A round of a layer.
    Round(u64),
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Round(round) => write!(f, "round {round}"),
        }
    }
}

/// A series of values over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counter {
    /// The quantity, with its unit.
    pub name: &'static str,
    /// Name of the series under that name.
    pub series: &'static str,
    /// The unit.
    pub unit: &'static str,
}
