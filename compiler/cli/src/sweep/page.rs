//! The page of a sweep: its points, in the form of a report's page.

use crate::report::page::filled;
use scnn_simulator::report::columns::Cell;
use scnnc_driver::sweep::Outcome;
use scnnc_driver::sweep::tables::{self, Row};
use serde_json::{Map, Value, json};

const BODY: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// In the order in which they build on each other.
const SCRIPTS: [&str; 3] = [
    include_str!("page/data.js"),
    include_str!("page/charts.js"),
    include_str!("page/main.js"),
];

/// Column that the page has in addition to `points.csv`: the machine without its settings.
const BASE: &str = "base machine";

/// The page of some points.
pub fn html(points: &[(&Row, Outcome)]) -> String {
    let models = tables::models(points.iter().map(|(row, _)| *row));
    let title = format!("scnnc: sweep of {}", models.join(", "));
    filled(BODY, &title, STYLE, &data(points), &SCRIPTS.concat())
}

/// The points in the columns of `points.csv`, and the settings that vary.
fn data(points: &[(&Row, Outcome)]) -> Value {
    let cells: Vec<Vec<(String, Cell)>> = points
        .iter()
        .map(|(row, outcome)| tables::point(row, outcome))
        .collect();
    let columns = cells.first().map_or_else(Vec::new, |cells| {
        cells.iter().map(|(name, _)| name.clone()).collect()
    });
    let object = |(cells, (row, _)): (Vec<(String, Cell)>, &(&Row, Outcome))| {
        let cells = cells.into_iter();
        let mut object: Map<String, Value> =
            cells.map(|(name, cell)| (name, cell.into())).collect();
        object.insert(BASE.to_owned(), row.base_machine().into());
        object
    };
    let objects = cells.into_iter().zip(points).map(object);
    json!({
        "tool": concat!("scnnc ", env!("CARGO_PKG_VERSION")),
        "axes": axes(points),
        "columns": columns,
        "points": objects.collect::<Vec<_>>(),
    })
}

/// A setting of a row that every table has a column for.
type Pick = fn(&Row) -> &str;

/// The settings that have several values: axes of the specification, and fixed columns that vary.
fn axes(points: &[(&Row, Outcome)]) -> Vec<String> {
    let Some((first, _)) = points.first() else {
        return Vec::new();
    };
    let settings = first.settings.iter().map(|(name, _)| name.clone());
    let mut axes: Vec<String> = settings.collect();
    let fixed: [(&str, Pick); 4] = [
        (BASE, Row::base_machine),
        ("mapping", |row| &row.mapping),
        ("objective", |row| &row.objective),
        ("fidelity", |row| &row.fidelity),
    ];
    for (name, pick) in fixed {
        if points.iter().any(|(row, _)| pick(row) != pick(first)) {
            axes.push(name.to_owned());
        }
    }
    axes
}
