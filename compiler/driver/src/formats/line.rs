//! A run as one flat record: a line of a file to which runs are added, a row of a spreadsheet, the metrics of an experiment
//! tracker. Keys are dotted paths of the report, with units in their ends.

use scnn_simulator::report::Report;
use scnn_simulator::report::columns::{Cell, costs};
use serde_json::{Map, Value};

/// Names and values: identity of the run, then the costs of one inference.
pub fn line(report: &Report) -> Map<String, Value> {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    let provenance = &report.provenance;
    let words = [
        ("model", &report.model),
        ("machine", &report.machine),
        ("mapping", &report.mapping),
        ("timing", &report.timing),
        ("tool", &report.tool),
        ("model_blake3", &provenance.model_blake3),
        ("inputs_blake3", &provenance.inputs_blake3),
        ("machine_blake3", &provenance.machine_blake3),
    ];
    for (name, word) in words {
        put(name, word.as_str().into());
    }
    put("samples_count", report.samples.into());
    put("layers_count", report.layers.len().into());
    put("latency_us", (report.seconds() * 1e6).into());
    put("area_mm2", report.area_mm2.total().into());
    put("utilisation_ratio", report.totals.utilisation.into());
    // Costs are sums over the samples; trackers compare one inference with another.
    let samples = f64::from(report.samples.max(1));
    for (name, cell) in costs(&report.totals) {
        match cell {
            Cell::Count(count) => put(&name, (count as f64 / samples).into()),
            Cell::Number(number) => put(&name, (number / samples).into()),
            Cell::Text(_) | Cell::Empty => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn a_line_is_flat_and_of_one_inference() {
        let mut report = report();
        let one = line(&report);
        assert!(
            one.values()
                .all(|value| !value.is_object() && !value.is_array() && !value.is_null())
        );
        let more = report.clone();
        report.add(&more);
        let mut mean = line(&report);
        assert_eq!(mean["samples_count"], 2);
        mean.insert("samples_count".to_owned(), 1.into());
        assert_eq!(mean["total_cycles"], one["total_cycles"]);
        assert_eq!(mean["total_energy_pj"], one["total_energy_pj"]);
    }
}
