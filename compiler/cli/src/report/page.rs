//! The page: reports, charting libraries, style and script in one file of HTML that needs no network.

use super::colours;
use crate::markup::escaped;
use scnn_simulator::energy::Energy;
use scnn_simulator::report::columns::{Cell, costs, row};
use scnn_simulator::report::{Costs, Layer, Report};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Head and end of all pages.
const SHELL: &str = include_str!("page/shell.html");
const BODY: &str = include_str!("page/page.html");
/// The style of all pages.
const STYLE: &str = include_str!("page/style.css");
/// Functions that the scripts of all pages call.
const SHARED: &str = include_str!("page/shared.js");
/// In the order in which they build on each other.
const SCRIPTS: [&str; 5] = [
    include_str!("page/data.js"),
    include_str!("page/charts.js"),
    include_str!("page/table.js"),
    include_str!("page/detail.js"),
    include_str!("page/main.js"),
];
const D3: &str = include_str!("../../vendor/d3.min.js");
const PLOT: &str = include_str!("../../vendor/plot.min.js");
const LICENCE: &str = include_str!("../../vendor/LICENSE-plot");

/// The page of some reports, side by side when there are several.
pub fn html(reports: &[Report]) -> String {
    let names: Vec<&str> = reports.iter().map(|report| report.model.as_str()).collect();
    let title = format!("scnnc: {}", names.join(", "));
    filled(BODY, &title, "", &data(reports), &SCRIPTS.concat())
}

/// A page: what all pages have, with a body, a style, data and a script of its own.
pub fn filled(body: &str, title: &str, style: &str, data: &Value, script: &str) -> String {
    let parts = [
        ("title", escaped(title)),
        ("colours", colours::css()),
        ("style", format!("{STYLE}{style}")),
        ("body", body.to_owned()),
        ("data", embedded(data)),
        ("licence", LICENCE.to_owned()),
        ("d3", D3.to_owned()),
        ("plot", PLOT.to_owned()),
        ("script", format!("{SHARED}{script}")),
    ];
    // In one walk over the shell: what is put in is not searched again.
    let mut page = String::new();
    let mut rest = SHELL;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let part = parts.iter().find(|(known, _)| *known == name);
        page.push_str(part.map_or("", |(_, text)| text));
        rest = after;
    }
    page + rest
}

/// The reports, and their layers in the columns of the CSV.
fn data(reports: &[Report]) -> Value {
    let names = |row: &[(String, Cell)]| -> Vec<String> {
        row.iter().map(|(name, _)| name.clone()).collect()
    };
    let cells = |layer: &Layer| -> Vec<Value> {
        let row = row(layer).into_iter();
        row.map(|(_, cell)| cell.into()).collect()
    };
    let components = Energy::default().components().map(|(name, _)| name);
    let layers = reports.iter().flat_map(|report| &report.layers);
    let columns = layers.take(1).map(row).next().unwrap_or_default();
    json!({
        "components": components,
        "columns": names(&columns),
        "glossary": glossary(),
        "summed": names(&costs(&Costs::default())),
        "reports": reports.iter().map(|report| json!({
            "report": report,
            "headline": report.headline(),
            "trust": report.trust(),
            "array_cycles": report.array_cycles(),
            "rows": report.layers.iter().map(cells).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

/// The glossary by folded term; a term of several senses has them all.
fn glossary() -> Map<String, Value> {
    let mut meanings: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for entry in scnn_isa::glossary::entries() {
        let term = entry.term.to_lowercase();
        let term = term.strip_suffix('s').unwrap_or(&term).to_owned();
        meanings.entry(term).or_default().push(entry.meaning);
    }
    let entries = meanings.into_iter();
    entries
        .map(|(term, meanings)| (term, meanings.join("\n").into()))
        .collect()
}

/// JSON that no name in it can end the script element it stands in.
fn embedded(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_data() {
        let text = embedded(&json!({ "name": "</script><b>" }));
        assert!(!text.contains('<'), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["name"], "</script><b>");
    }

    #[test]
    fn every_part_of_the_template_is_filled() {
        let page = html(&[]);
        assert!(!page.contains("{{title}}") && !page.contains("{{script}}"));
        assert!(page.contains("d3js.org") && page.contains("Observable, Inc."));
        assert!(page.len() < 1 << 20, "{} bytes without data", page.len());
    }
}
