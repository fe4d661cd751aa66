//! The evaluation as text for people and as files: CSV and JSON of the same tables, SVG of the charts.

use super::finding::{Finding, Section, Table, figures};
use super::reading::READINGS;
use crate::codes::Code;
use crate::failure::Failure;
use crate::output;
use comfy_table::CellAlignment;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// The whole as JSON.
#[derive(Serialize)]
struct Document<'a> {
    tool: &'static str,
    seed: u64,
    readings: Vec<[&'static str; 2]>,
    sections: &'a [Section],
}

/// Everything as text.
pub fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}\n  {}\n", section.title, section.convention);
        if !section.findings.is_empty() {
            let _ = writeln!(text, "{}\n", findings(&section.findings));
        }
        for table in section.tables.iter().filter(|table| table.printed) {
            let _ = writeln!(text, "{}\n\n{}\n", table.title, plain(table));
        }
    }
    text
}

/// What of the bars is met.
pub fn verdict(sections: &[Section]) -> String {
    let mut text = String::new();
    let bars: Vec<&Finding> = sections
        .iter()
        .flat_map(|section| &section.findings)
        .filter(|finding| finding.met.is_some())
        .collect();
    let missed: Vec<&&Finding> = bars.iter().filter(|f| f.met == Some(false)).collect();
    let _ = writeln!(
        text,
        "{} of {} headlines within their bars",
        bars.len() - missed.len(),
        bars.len()
    );
    for finding in missed {
        let _ = writeln!(text, "not met: {}", describe(finding));
    }
    text
}

/// A finding in one line.
pub fn describe(finding: &Finding) -> String {
    format!(
        "{}: published {}, ours {} ({})",
        finding.what,
        value(finding.published, finding.unit),
        finding
            .ours
            .map_or_else(|| "not found".to_owned(), |ours| value(ours, finding.unit)),
        finding.bar
    )
}

fn value(number: f64, unit: &str) -> String {
    let number = if number.fract() == 0.0 && unit.is_empty() {
        format!("{number:.0}")
    } else {
        figures(number)
    };
    match unit {
        "" | "x" => format!("{number}{unit}"),
        unit => format!("{number} {unit}"),
    }
}

fn findings(findings: &[Finding]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "figure",
        "published",
        "ours",
        "difference",
        "bar",
        "",
        "paper",
    ]);
    for finding in findings {
        let met = match finding.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        table.add_row([
            finding.what.to_owned(),
            value(finding.published, finding.unit),
            finding
                .ours
                .map_or_else(|| "-".to_owned(), |ours| value(ours, finding.unit)),
            finding
                .difference()
                .map_or_else(String::new, |d| format!("{:+.1} %", d * 100.0)),
            finding.bar.clone(),
            met.to_owned(),
            finding.source.to_owned(),
        ]);
    }
    align_right(&mut table, 1..4);
    table.trim_fmt()
}

fn plain(table: &Table) -> String {
    let mut plain = comfy_table::Table::new();
    plain.load_style(comfy_table::presets::NOTHING);
    plain.set_header(table.columns.clone());
    for row in &table.rows {
        plain.add_row(row.iter().map(super::finding::Cell::show));
    }
    let numbers = |column: usize| {
        table
            .rows
            .iter()
            .all(|row| !matches!(row[column], super::finding::Cell::Text(_)))
    };
    for column in (0..table.columns.len()).filter(|&column| numbers(column)) {
        align_right(&mut plain, column..column + 1);
    }
    plain.trim_fmt()
}

fn align_right(table: &mut comfy_table::Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Writes everything into a folder: `paper.json`, a CSV for each table and one of the findings, an SVG for each chart.
pub fn write(folder: &Path, seed: u64, sections: &[Section]) -> Result<(), Failure> {
    output::folder(folder)?;
    let document = Document {
        tool: concat!("scnnc ", env!("CARGO_PKG_VERSION")),
        seed,
        readings: READINGS.iter().map(|r| [r.name, r.about]).collect(),
        sections,
    };
    let path = folder.join("paper.json");
    let json = serde_json::to_vec_pretty(&document)
        .map_err(|e| Failure::file(Code::CannotWrite, &path, &e.to_string()))?;
    output::write(&path, &json)?;
    output::write(
        &folder.join("findings.csv"),
        findings_csv(sections).as_bytes(),
    )?;
    for section in sections {
        for table in &section.tables {
            let path = folder.join(format!("{}.csv", table.name));
            output::write(&path, csv(table).as_bytes())?;
        }
        for chart in &section.charts {
            let path = folder.join(format!("{}.svg", chart.name()));
            output::write(&path, chart.svg().as_bytes())?;
        }
    }
    Ok(())
}

fn csv(table: &Table) -> String {
    let quoted = |name: &String| super::finding::Cell::Text(name.clone()).field();
    let mut text = table
        .columns
        .iter()
        .map(quoted)
        .collect::<Vec<_>>()
        .join(",");
    text.push('\n');
    for row in &table.rows {
        let fields: Vec<String> = row.iter().map(super::finding::Cell::field).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn findings_csv(sections: &[Section]) -> String {
    let mut text = "section,key,published,ours,unit,difference,bar,met,source\n".to_owned();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for section in sections {
        for finding in &section.findings {
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{},\"{}\"",
                section.name,
                finding.key,
                finding.published,
                number(finding.ours),
                finding.unit,
                number(finding.difference()),
                finding.bar,
                finding.met.map_or_else(String::new, |met| met.to_string()),
                finding.source
            );
        }
    }
    text
}
