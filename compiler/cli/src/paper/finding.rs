//! What a section of the evaluation gives: figures of ours beside published ones, tables, charts.

use super::chart::Chart;
use super::published::{self, Published};
use serde::Serialize;

/// A section of the evaluation.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Name, as `--only` takes it.
    pub name: &'static str,
    /// Title.
    pub title: &'static str,
    /// How its figures are counted.
    pub convention: String,
    /// Figures of ours beside published ones.
    pub findings: Vec<Finding>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Charts, which go to files alone.
    #[serde(skip)]
    pub charts: Vec<Chart>,
}

/// A figure of ours beside the published one.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Name of the published figure.
    pub key: &'static str,
    /// What it is.
    pub what: &'static str,
    /// As published.
    pub published: f64,
    /// As measured; none where the measurement does not bound it.
    pub ours: Option<f64>,
    /// Unit.
    pub unit: &'static str,
    /// The bar in words.
    pub bar: String,
    /// Whether it is met; none without a bar.
    pub met: Option<bool>,
    /// Where the paper says it.
    pub source: &'static str,
}

impl Finding {
    /// Our figure `ours` beside the published one named `key`.
    pub fn new(key: &str, ours: impl Into<Option<f64>>) -> Self {
        let &Published {
            key,
            what,
            value,
            unit,
            bar,
            source,
        } = published::find(key).expect("sections name published figures");
        let ours = ours.into();
        Self {
            key,
            what,
            published: value,
            ours,
            unit,
            bar: bar.describe(),
            met: match ours {
                Some(ours) => bar.met(value, ours),
                // A figure with a bar that was not found is not met.
                None => bar.met(value, f64::NAN),
            },
            source,
        }
    }

    /// How far ours is from the published one, as a share of it.
    pub fn difference(&self) -> Option<f64> {
        let relative = self.ours? / self.published - 1.0;
        relative.is_finite().then_some(relative)
    }
}

/// A table; units stand in the names of its columns.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Name, of the file too.
    pub name: &'static str,
    /// Title.
    pub title: String,
    /// Whether it is printed; all go to files.
    #[serde(skip)]
    pub printed: bool,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A whole number.
    Count(u64),
    /// Any other number.
    Number(f64),
    /// A share of a whole, 0..=1.
    Share(f64),
}

impl Cell {
    /// As people read it.
    pub fn show(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number) => figures(*number),
            Self::Share(share) => format!("{:.1} %", share * 100.0),
        }
    }

    /// As a program reads it, in full precision.
    pub fn field(&self) -> String {
        match self {
            Self::Text(text) if text.contains([',', '"']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number) | Self::Share(number) => number.to_string(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// A number with three figures.
pub fn figures(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::{Cell, Finding, figures};

    #[test]
    fn a_figure_that_was_not_found_does_not_meet_its_bar() {
        assert_eq!(Finding::new("sweep.speed_crossover", None).met, Some(false));
        assert_eq!(Finding::new("sweep.speed_crossover", 0.84).met, Some(true));
        assert_eq!(Finding::new("memory.others", 0.0).difference(), None);
    }

    #[test]
    fn cells_are_short_for_people_and_whole_for_programs() {
        assert_eq!(
            [figures(2.3456), figures(0.0123), figures(614.4)],
            ["2.35", "0.012", "614"]
        );
        assert_eq!(Cell::Share(0.256).show(), "25.6 %");
        assert_eq!(Cell::from("a, \"b\"").field(), "\"a, \"\"b\"\"\"");
        assert_eq!(Cell::from(1.0 / 3.0).field(), "0.3333333333333333");
    }
}
