//! Areas: the machine file's, which are the paper's own parts, summed.

use super::names;
use crate::paper::finding::{Finding, Section, Table};
use scnn_isa::machine::Machine;

pub fn evaluate() -> Section {
    let machine = Machine::preset("scnn").expect("a preset");
    let area = &machine.area;
    let parts = [
        ("activation RAMs", &area.activation_rams),
        ("weight FIFO", &area.weight_fifo),
        ("multipliers", &area.multipliers),
        ("crossbar", &area.crossbar),
        ("accumulators", &area.accumulators),
        ("everything else", &area.other),
    ];
    let pe: f64 = parts.iter().map(|(_, part)| part.mm2).sum();
    let rows = parts
        .iter()
        .map(|(name, part)| vec![(*name).into(), part.mm2.into(), part.source.as_str().into()]);
    Section {
        name: "area",
        title: "Area",
        convention: "sums of the parts in the machine file, which are the paper's own: nothing is measured here".to_owned(),
        findings: vec![
            Finding::new("area.pe", pe),
            Finding::new("area.scnn", pe * f64::from(machine.pe_count())),
            Finding::new("area.dcnn", area.dense_total.mm2),
        ],
        tables: vec![Table {
            name: "area",
            title: "a PE of SCNN".to_owned(),
            printed: true,
            columns: names(["part", "area, mm2", "source"]),
            rows: rows.collect(),
        }],
        charts: Vec::new(),
    }
}
