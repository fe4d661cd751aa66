//! The same 1,024 multipliers in 64, 16 and 4 PEs (section 6.4 of the paper).

use super::{Scope, names, whole};
use crate::paper::finding::{Cell, Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::HEADLINE;
use scnn_isa::machine::Machine;

const PRESETS: [&str; 3] = ["scnn", "scnn-16pe", "scnn-4pe"];

fn need(preset: &'static str) -> Need {
    Need::new(Workload::published("googlenet"), preset, HEADLINE)
}

pub fn needs(_: Scope) -> Vec<Need> {
    PRESETS.map(need).to_vec()
}

pub fn evaluate(_: Scope, results: &Results) -> Section {
    let sums = PRESETS.map(|preset| whole("googlenet", &results.get(&need(preset)).report));
    let [many, _, few] = &sums;
    let rows = PRESETS.iter().zip(&sums).map(|(&preset, sums)| {
        let machine = Machine::preset(preset).expect("sections name presets");
        vec![
            preset.into(),
            u64::from(machine.pe_count()).into(),
            u64::from(machine.multipliers_per_pe()).into(),
            sums.cycles.into(),
            Cell::Share(sums.utilisation()),
            Cell::Share(sums.lanes_filled()),
            Cell::Share(sums.slots.no_tile as f64 / sums.slots.total().max(1) as f64),
            (sums.energy_pj.total() * 1e-6).into(),
        ]
    });
    let columns = [
        "machine",
        "PEs",
        "multipliers of a PE",
        "cycles",
        "at work",
        "lanes filled",
        "PEs without a tile",
        "energy, uJ",
    ];
    Section {
        name: "granularity",
        title: "PE granularity",
        convention: format!(
            "GoogLeNet's 54 convolutions; cycles of 4 PEs over those of 64; multipliers at work are the filled lanes of the steps taken (over all cycles: `at work`); Kc = 8 in all; reading `{}`. Energies are those of \
             the 64-PE machine's table, so the last column compares counts, not memories of another size",
            HEADLINE.name
        ),
        findings: vec![
            Finding::new("granularity.speed", few.cycles as f64 / many.cycles as f64),
            Finding::new("granularity.many", many.lanes_filled()),
            Finding::new("granularity.few", few.lanes_filled()),
        ],
        tables: vec![Table {
            name: "granularity",
            title: "GoogLeNet on 1,024 multipliers".to_owned(),
            printed: true,
            columns: names(columns),
            rows: rows.collect(),
        }],
        charts: Vec::new(),
    }
}
