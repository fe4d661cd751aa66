//! `scnnc paper`: its sections, files and refusals; of the evaluation, which takes minutes, what two networks on one machine
//! give, and that its tables agree with each other.

use crate::binary::command;
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

fn paper(arguments: &[&str]) -> std::process::Output {
    let mut command = command(Path::new("."));
    command.arg("paper").args(arguments).output().unwrap()
}

#[test]
fn files_hold_what_is_printed() {
    let folder = tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let output = paper(&["--only", "area", "--check", "-o", to]);
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("7.94 mm2"), "{printed}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("paper.json")).unwrap();
    let findings = json["sections"][0]["findings"].as_array().unwrap();
    let csv = read("findings.csv");
    for finding in findings {
        let row = format!("area,{},", finding["key"].as_str().unwrap());
        let line = csv.lines().find(|line| line.starts_with(&row)).unwrap();
        let fields: Vec<f64> = line
            .split(',')
            .skip(2)
            .take(2)
            .map(|f| f.parse().unwrap())
            .collect();
        for (field, name) in fields.iter().zip(["published", "ours"]) {
            // The reader of JSON rounds the last digit.
            assert!(
                (finding[name].as_f64().unwrap() - field).abs() < 1e-12,
                "{line}"
            );
        }
    }
    assert_eq!(csv.lines().count(), 1 + findings.len());
    assert_eq!(read("area.csv").lines().count(), 7);
}

#[test]
fn an_unknown_section_is_refused_with_those_there_are() {
    let output = paper(&["--only", "figure-11"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("`figure-11`") && error.contains("sweep"),
        "{error}"
    );
}

/// A table of the evaluation.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    fn of(evaluation: &Value, name: &str) -> Self {
        let sections = evaluation["sections"].as_array().unwrap().iter();
        let mut tables = sections.flat_map(|section| section["tables"].as_array().unwrap());
        let table = tables.find(|table| table["name"] == name).unwrap();
        let columns = table["columns"].as_array().unwrap().iter();
        let rows = table["rows"].as_array().unwrap().iter();
        Self {
            columns: columns
                .map(|name| name.as_str().unwrap().to_owned())
                .collect(),
            rows: rows.map(|row| row.as_array().unwrap().clone()).collect(),
        }
    }

    /// Rows that begin with these names.
    fn rows<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a Vec<Value>> {
        let begins = |row: &&Vec<Value>| {
            names
                .iter()
                .zip(row.iter())
                .all(|(name, cell)| cell == name)
        };
        self.rows.iter().filter(begins)
    }

    fn number(&self, row: &[Value], column: &str) -> f64 {
        let at = self.columns.iter().position(|name| name == column);
        row[at.unwrap_or_else(|| panic!("no column `{column}`"))]
            .as_f64()
            .unwrap()
    }

    /// The sum of a column over the layers of a network, and what the row of all of them says.
    fn sum_and_all(&self, network: &str, column: &str) -> [f64; 2] {
        let numbers = |row: &Vec<Value>| self.number(row, column);
        let all: Vec<f64> = self.rows(&[network, "all"]).map(numbers).collect();
        let sum: f64 = self.rows(&[network]).map(numbers).sum();
        [sum - all[0], all[0]]
    }
}

fn assert_close(a: f64, b: f64, what: &str) {
    assert!(
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        "{what}: {a}, {b}"
    );
}

/// Speed, energy and slots of the same executions, told by several tables and drawn by charts.
#[test]
fn the_tables_of_the_evaluation_agree_and_its_quick_headlines_are_met() {
    let folder = tempdir().unwrap();
    let sections = ["speed", "utilisation", "energy", "memory"];
    let only = sections.iter().flat_map(|section| ["--only", section]);
    let to = [
        "-q",
        "--quick",
        "--check",
        "-o",
        folder.path().to_str().unwrap(),
    ];
    let output = paper(&only.chain(to).collect::<Vec<_>>());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let evaluation: Value = serde_json::from_str(&read("paper.json")).unwrap();
    assert_headlines(&evaluation, &printed);

    let [speed, energy, slots, components] = ["figure8", "figure10", "slots", "energy-components"]
        .map(|name| Table::of(&evaluation, name));
    for network in ["alexnet", "googlenet"] {
        for (table, columns) in [
            (&speed, ["DCNN cycles", "SCNN cycles"]),
            (&energy, ["DCNN, uJ", "SCNN, uJ"]),
        ] {
            for column in columns {
                let [sum, all] = table.sum_and_all(network, column);
                assert_close(sum, all, &format!("{network}, {column}"));
            }
        }
        for row in speed.rows(&[network]) {
            let ratio = speed.number(row, "DCNN cycles") / speed.number(row, "SCNN cycles");
            assert_close(ratio, speed.number(row, "over DCNN"), network);
            assert!(speed.number(row, "over DCNN") <= speed.number(row, "oracle over DCNN"));
        }
        for row in slots.rows(&[network]) {
            let shares: f64 = row[1..].iter().map(|share| share.as_f64().unwrap()).sum();
            assert_close(shares, 1.0, "all slots");
        }
        for (machine, column) in [("DCNN", "DCNN, uJ"), ("SCNN", "SCNN, uJ")] {
            let sum: f64 = components
                .rows(&[network, machine])
                .map(|row| components.number(row, "energy, uJ"))
                .sum();
            assert_close(sum, energy.sum_and_all(network, column)[1], machine);
        }
        assert_drawn(
            folder.path(),
            &format!("figure8-{network}.svg"),
            speed.rows(&[network]).count(),
        );
    }
}

/// The headlines that the quick form measures are met, and printed as such.
fn assert_headlines(evaluation: &Value, printed: &str) {
    let sections = evaluation["sections"].as_array().unwrap().iter();
    let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    let headlines: Vec<&Value> = findings
        .filter(|finding| !finding["met"].is_null())
        .collect();
    assert!(headlines.len() >= 2 && headlines.iter().all(|finding| finding["met"] == true));
    let verdict = format!("{0} of {0} headlines within their bars", headlines.len());
    assert!(printed.contains(&verdict), "{verdict}\n{printed}");
    for finding in headlines {
        assert!(printed.contains(finding["what"].as_str().unwrap()));
    }
}

/// A chart has a bar of every series for each group.
fn assert_drawn(folder: &Path, name: &str, groups: usize) {
    let svg = std::fs::read_to_string(folder.join(name)).unwrap();
    let bars = svg.matches("<title>").count();
    assert!(
        bars >= groups && bars.is_multiple_of(groups),
        "{name}: {bars} bars of {groups} groups"
    );
}
