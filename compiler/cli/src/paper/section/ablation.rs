//! SCNN beside the machines that skip zeros of one operand alone.

use super::{Scope, names, whole};
use crate::paper::finding::{Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::HEADLINE;

const PRESETS: [&str; 3] = ["scnn", "scnn-sparse-w", "scnn-sparse-a"];

fn need(preset: &'static str) -> Need {
    let workload = Workload {
        network: "googlenet",
        tenths: Some(4),
    };
    Need::new(workload, preset, HEADLINE)
}

pub fn needs(_: Scope) -> Vec<Need> {
    PRESETS.map(need).to_vec()
}

pub fn evaluate(_: Scope, results: &Results) -> Section {
    let sums = PRESETS.map(|preset| whole("googlenet", &results.get(&need(preset)).report));
    let [scnn, weights, activations] = &sums;
    let rows = PRESETS.iter().zip(&sums).map(|(&preset, sums)| {
        vec![
            preset.into(),
            sums.cycles.into(),
            sums.speed().into(),
            (sums.energy_pj.total() * 1e-6).into(),
            sums.energy_gain().into(),
            (sums.counters.dram_bytes() as f64 * 1e-6).into(),
        ]
    });
    Section {
        name: "ablation",
        title: "One operand's zeros alone",
        convention: format!(
            "GoogLeNet's 54 convolutions at density .4 of weights and activations; what is not skipped is stored densely; reading `{}`",
            HEADLINE.name
        ),
        findings: vec![
            Finding::new(
                "ablation.speed_w",
                weights.cycles as f64 / scnn.cycles as f64,
            ),
            Finding::new(
                "ablation.speed_a",
                activations.cycles as f64 / scnn.cycles as f64,
            ),
            Finding::new(
                "ablation.energy_w",
                weights.energy_pj.total() / scnn.energy_pj.total(),
            ),
            Finding::new(
                "ablation.energy_a",
                activations.energy_pj.total() / scnn.energy_pj.total(),
            ),
        ],
        tables: vec![Table {
            name: "ablation",
            title: "SCNN, SCNN-SparseW, SCNN-SparseA".to_owned(),
            printed: true,
            columns: names([
                "machine",
                "cycles",
                "speed over DCNN",
                "energy, uJ",
                "DCNN's energy over it",
                "DRAM, MB",
            ]),
            rows: rows.collect(),
        }],
        charts: Vec::new(),
    }
}
