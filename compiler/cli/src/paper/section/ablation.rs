//! SCNN beside the machines that skip zeros of one operand alone.

use super::{Scope, names, whole};
use crate::paper::accounting::{Accounting, HEADLINE as ACCOUNTING};
use crate::paper::finding::{Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::HEADLINE;
use crate::paper::sums::Sums;

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

/// The machines' sums in an accounting.
fn sums(results: &Results, accounting: &Accounting) -> [Sums; 3] {
    PRESETS.map(need).map(|need| {
        let report = accounting.report(&need, results.get(&need));
        whole("googlenet", &report)
    })
}

/// The published figures of energy in an accounting.
pub fn energy_findings(results: &Results, accounting: &Accounting) -> Vec<Finding> {
    let [scnn, weights, activations] = sums(results, accounting).map(|s| s.energy_pj.total());
    vec![
        Finding::new("ablation.energy_w", weights / scnn),
        Finding::new("ablation.energy_a", activations / scnn),
    ]
}

pub fn evaluate(_: Scope, results: &Results) -> Section {
    let sums = sums(results, &ACCOUNTING);
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
            "GoogLeNet's 54 convolutions at density .4 of weights and activations; what is not skipped is stored densely; reading `{}`, accounting `{}`",
            HEADLINE.name, ACCOUNTING.name
        ),
        findings: [
            Finding::new(
                "ablation.speed_w",
                weights.cycles as f64 / scnn.cycles as f64,
            ),
            Finding::new(
                "ablation.speed_a",
                activations.cycles as f64 / scnn.cycles as f64,
            ),
        ]
        .into_iter()
        .chain(energy_findings(results, &ACCOUNTING))
        .collect(),
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
