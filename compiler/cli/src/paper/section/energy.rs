//! Energy of the three networks against the dense machines (the paper's figure 10).

use super::{NETWORKS, Scope, bars, names, whole};
use crate::paper::accounting::{Accounting, HEADLINE as HEADLINE_ACCOUNTING};
use crate::paper::chart::{Chart, Stacks};
use crate::paper::finding::{Cell, Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::HEADLINE;
use crate::paper::sums::{Sums, counted_layers, mean};
use scnn_isa::machine::Machine;
use scnn_simulator::baseline::DenseEnergy;
use scnn_simulator::energy::Energy;
use scnn_simulator::report::Report;

pub fn needs(scope: Scope) -> Vec<Need> {
    scope.networks().iter().copied().map(need).collect()
}

fn need(network: &'static str) -> Need {
    Need::new(Workload::published(network), "scnn", HEADLINE)
}

/// The networks' reports in an accounting.
fn reports(
    scope: Scope,
    results: &Results,
    accounting: &Accounting,
) -> Vec<(&'static str, Report)> {
    let networks = scope.networks().iter();
    networks
        .map(|&network| {
            let need = need(network);
            (network, accounting.report(&need, results.get(&need)))
        })
        .collect()
}

/// The published figures in an accounting.
pub fn findings(scope: Scope, results: &Results, accounting: &Accounting) -> Vec<Finding> {
    let reports = reports(scope, results, accounting);
    let wholes: Vec<Sums> = reports.iter().map(|(n, report)| whole(n, report)).collect();
    let gains = reports.iter().flat_map(|(network, report)| {
        counted_layers(network, report).map(|layer| Sums::of([layer]).energy_gain())
    });
    let gains: Vec<f64> = gains.collect();
    let machine = Machine::preset("scnn").expect("a preset");
    let iaram_pj = accounting.priced(&machine).energy.iaram_read_vector.pj;
    let share = |part: &dyn Fn(&Sums) -> f64| {
        mean(
            &wholes
                .iter()
                .map(|s| part(s) / s.energy_pj.total())
                .collect::<Vec<_>>(),
        )
    };
    let mean_of = |of: fn(&Sums) -> f64| mean(&wholes.iter().map(of).collect::<Vec<_>>());
    let mut findings = vec![
        Finding::new("energy.least", gains.iter().copied().reduce(f64::min)),
        Finding::new("energy.most", gains.iter().copied().reduce(f64::max)),
        Finding::new(
            "share.iaram",
            share(&|s| s.counters.iaram_reads as f64 * iaram_pj),
        ),
        Finding::new("share.fifo", share(&|s| s.energy_pj.weight_fifo)),
    ];
    if wholes.len() == NETWORKS.len() {
        findings.insert(0, Finding::new("energy.scnn", mean_of(Sums::energy_gain)));
        findings.insert(0, Finding::new("energy.opt", mean_of(Sums::opt_gain)));
    }
    findings
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let reports = reports(scope, results, &HEADLINE_ACCOUNTING);
    let wholes: Vec<Sums> = reports.iter().map(|(n, report)| whole(n, report)).collect();
    let mut by_bar = Table {
        name: "figure10",
        title: "energy by layer, GoogLeNet's by module (figure 10)".to_owned(),
        printed: true,
        columns: names([
            "network",
            "layer",
            "DCNN, uJ",
            "DCNN-opt, uJ",
            "SCNN, uJ",
            "DCNN over DCNN-opt",
            "DCNN over SCNN",
        ]),
        rows: Vec::new(),
    };
    let mut charts = Vec::new();
    for &(network, ref report) in &reports {
        let bars = bars(network, report);
        for (label, sums) in &bars {
            by_bar.rows.push(vec![
                network.into(),
                label.as_str().into(),
                (sums.baselines.dcnn_pj.total() * 1e-6).into(),
                (sums.baselines.dcnn_opt_pj.total() * 1e-6).into(),
                (sums.energy_pj.total() * 1e-6).into(),
                sums.opt_gain().into(),
                sums.energy_gain().into(),
            ]);
        }
        charts.push(chart(network, &bars));
    }
    Section {
        name: "energy",
        title: "Energy against DCNN",
        convention: format!(
            "the same layers; means over the three networks of DCNN's energy over the other's; one table of energies for all machines \
             and networks; the same under every reading of time; accounting `{}` (`--only accounting` has the others)",
            HEADLINE_ACCOUNTING.name
        ),
        findings: findings(scope, results, &HEADLINE_ACCOUNTING),
        tables: vec![by_bar, components(scope, &wholes)],
        charts,
    }
}

/// The parts of a dense machine's energy.
fn dense_parts(energy: &DenseEnergy) -> [(&'static str, f64); 4] {
    [
        ("multipliers", energy.multipliers),
        ("operands", energy.operands),
        ("results", energy.results),
        ("dram", energy.dram),
    ]
}

/// Shares of the components of all machines.
fn components(scope: Scope, wholes: &[Sums]) -> Table {
    let mut rows = Vec::new();
    for (&network, sums) in scope.networks().iter().zip(wholes) {
        let mut machine = |name: &str, parts: &[(&str, f64)]| {
            let total: f64 = parts.iter().map(|(_, pj)| pj).sum();
            for (part, pj) in parts {
                rows.push(vec![
                    network.into(),
                    name.into(),
                    part.replace('_', " ").into(),
                    (pj * 1e-6).into(),
                    Cell::Share(pj / total),
                ]);
            }
        };
        machine("DCNN", &dense_parts(&sums.baselines.dcnn_pj));
        machine("DCNN-opt", &dense_parts(&sums.baselines.dcnn_opt_pj));
        machine("SCNN", &sums.energy_pj.components());
    }
    Table {
        name: "energy-components",
        title: "energy by component".to_owned(),
        printed: true,
        columns: names([
            "network",
            "machine",
            "component",
            "energy, uJ",
            "share of machine",
        ]),
        rows,
    }
}

fn chart(network: &str, bars: &[(String, Sums)]) -> Chart {
    // Dense machines have fewer components; what delivers operands there stands with the activation RAMs here.
    let parts = Energy::default()
        .components()
        .map(|(name, _)| name.replace('_', " "));
    let dense = |energy: &DenseEnergy, whole: f64| -> Vec<f64> {
        let of = |name: &str| match name {
            "multipliers" => energy.multipliers,
            "activation rams" => energy.operands + energy.results,
            "dram" => energy.dram,
            _ => 0.0,
        };
        parts.iter().map(|name| of(name) / whole).collect()
    };
    let total = |sums: &Sums| sums.baselines.dcnn_pj.total();
    let stack = |name: &str, of: &dyn Fn(&Sums) -> Vec<f64>| {
        (
            name.to_owned(),
            bars.iter().map(|(_, sums)| of(sums)).collect(),
        )
    };
    Chart::Stacks(Stacks {
        name: format!("figure10-{network}"),
        title: format!("{network}: energy relative to DCNN (bars: DCNN, DCNN-opt, SCNN)"),
        axis: "energy over DCNN's",
        groups: bars.iter().map(|(label, _)| label.clone()).collect(),
        stacks: vec![
            stack("DCNN", &|s| dense(&s.baselines.dcnn_pj, total(s))),
            stack("DCNN-opt", &|s| dense(&s.baselines.dcnn_opt_pj, total(s))),
            stack("SCNN", &|s| {
                s.energy_pj
                    .components()
                    .map(|(_, pj)| pj / total(s))
                    .to_vec()
            }),
        ],
        parts: parts.to_vec(),
    })
}
