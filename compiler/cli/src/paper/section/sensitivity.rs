//! How much the energy ratios depend on each entry of the energy table.
//!
//! Energy is a sum of events times entries, so no network is run again: the events of the runs for figures 7 and 10
//! are priced anew.

use super::{Scope, energy, names, sweep, whole};
use crate::paper::accounting::{ENTRIES, HEADLINE, dense_energy};
use crate::paper::finding::{Section, Table};
use crate::paper::lab::{Need, Results};
use crate::paper::sums::{Sums, mean};
use scnn_isa::machine::Machine;
use scnn_simulator::baseline::DenseEnergy;
use scnn_simulator::energy::Energy;

/// Factors that each entry is multiplied by.
const FACTORS: [f64; 2] = [0.8, 1.25];

pub fn needs(scope: Scope) -> Vec<Need> {
    let mut needs = energy::needs(scope);
    needs.extend(sweep::headline_needs(scope));
    needs
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let sums = |need: &Need| {
        let report = HEADLINE.report(need, results.get(need));
        whole(need.workload.network, &report)
    };
    let networks: Vec<Sums> = energy::needs(scope).iter().map(sums).collect();
    let sweep: Vec<(f64, Sums)> = sweep::headline_needs(scope)
        .iter()
        .map(|need| {
            (
                f64::from(need.workload.tenths.unwrap_or(10)) / 10.0,
                sums(need),
            )
        })
        .collect();
    let machine = HEADLINE.priced(&Machine::preset("scnn").expect("a preset"));
    let mut rows = Vec::new();
    let mut row = |name: &str, factor: f64, changed: &Machine| {
        let price = |sums: &Sums| Priced::of(sums, &machine, changed);
        let curve = |of: fn(&Priced) -> f64| -> Vec<(f64, f64)> {
            sweep
                .iter()
                .map(|(x, sums)| (*x, of(&price(sums))))
                .collect()
        };
        let mean_of = |of: fn(&Priced) -> f64| {
            mean(
                &networks
                    .iter()
                    .map(|sums| of(&price(sums)))
                    .collect::<Vec<_>>(),
            )
        };
        let over_dcnn = curve(|p| p.scnn.total() / p.dcnn.total());
        let over_opt = curve(|p| p.scnn.total() / p.dcnn_opt.total());
        let (tenth, dense) = (over_dcnn[0].1, over_dcnn[over_dcnn.len() - 1].1);
        let crossing = |curve: &[(f64, f64)]| sweep::crossover(curve).unwrap_or(f64::NAN);
        rows.push(vec![
            name.into(),
            factor.into(),
            mean_of(|p| p.dcnn.total() / p.dcnn_opt.total()).into(),
            mean_of(|p| p.dcnn.total() / p.scnn.total()).into(),
            dense.into(),
            tenth.into(),
            crossing(&over_dcnn).into(),
            crossing(&over_opt).into(),
            mean_of(|p| p.scnn.weight_fifo / p.scnn.total()).into(),
        ]);
    };
    row("as it is", 1.0, &machine);
    for (name, entry) in ENTRIES {
        for factor in FACTORS {
            let mut changed = machine.clone();
            entry(&mut changed.energy).pj *= factor;
            row(name, factor, &changed);
        }
    }
    Section {
        name: "sensitivity",
        title: "Sensitivity of the energy ratios",
        convention: format!(
            "accounting `{}`; each entry of its energy table times {} and {}, all others as they are; means over {} networks; ratios of the density \
             sweep as in figure 7b",
            HEADLINE.name,
            FACTORS[0],
            FACTORS[1],
            networks.len()
        ),
        findings: Vec::new(),
        tables: vec![Table {
            name: "sensitivity",
            title: "energy ratios by entry".to_owned(),
            printed: true,
            columns: names([
                "entry",
                "times",
                "DCNN over DCNN-opt",
                "DCNN over SCNN",
                "dense, SCNN over DCNN",
                "at .1, SCNN over DCNN",
                "crossover with DCNN",
                "crossover with DCNN-opt",
                "share of FIFOs",
            ]),
            rows,
        }],
        charts: Vec::new(),
    }
}

/// Events of a network at other prices.
struct Priced {
    scnn: Energy,
    dcnn: DenseEnergy,
    dcnn_opt: DenseEnergy,
}

impl Priced {
    fn of(sums: &Sums, machine: &Machine, changed: &Machine) -> Self {
        let mut scnn = Energy::of(&sums.counters, changed);
        scnn.host_link = 0.0;
        let dense = |energy: &DenseEnergy| dense_energy(energy, machine, changed);
        Self {
            scnn,
            dcnn: dense(&sums.baselines.dcnn_pj),
            dcnn_opt: dense(&sums.baselines.dcnn_opt_pj),
        }
    }
}
