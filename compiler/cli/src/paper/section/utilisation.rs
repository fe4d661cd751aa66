//! Multipliers at work and waiting (the paper's figure 9).

use super::{Scope, bars, names, whole};
use crate::paper::chart::{Bars, Chart};
use crate::paper::finding::{Cell, Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::HEADLINE;
use crate::paper::sums::{Sums, counted_layers, fully_connected};
use scnn_simulator::report::Report;
use scnn_simulator::timing::Slots;

pub fn needs(scope: Scope) -> Vec<Need> {
    scope.networks().iter().copied().map(need).collect()
}

fn need(network: &'static str) -> Need {
    Need::new(Workload::published(network), "scnn", HEADLINE)
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let report = |network| &results.get(&need(network)).report;
    let last = counted_layers("googlenet", report("googlenet"))
        .filter(|layer| layer.name.starts_with("inception_5b/"))
        .filter(|layer| layer.shape.is_some_and(|s| (s.r, s.s) == (1, 1)));
    let busiest = last
        .map(|layer| layer.costs.utilisation)
        .fold(0.0, f64::max);
    let connected = scope
        .networks()
        .iter()
        .flat_map(|&n| report(n).layers.iter());
    let connected = Sums::of(connected.filter(|layer| fully_connected(layer)));
    let mut charts = Vec::new();
    let mut by_bar = Table {
        name: "figure9",
        title:
            "multipliers at work, and PEs waiting for the slowest at the end of a group (figure 9)"
                .to_owned(),
        printed: true,
        columns: names(["network", "layer", "at work", "waiting at barriers"]),
        rows: Vec::new(),
    };
    for &network in scope.networks() {
        let bars = bars(network, report(network));
        for (label, sums) in &bars {
            by_bar.rows.push(vec![
                network.into(),
                label.as_str().into(),
                Cell::Share(sums.utilisation()),
                Cell::Share(waiting(sums)),
            ]);
        }
        let series = |name: &str, of: fn(&Sums) -> f64| {
            (
                name.to_owned(),
                bars.iter().map(|(_, sums)| of(sums)).collect(),
            )
        };
        charts.push(Chart::Bars(Bars {
            name: format!("figure9-{network}"),
            title: format!("{network}: multipliers at work and waiting"),
            axis: "share of all multiplier slots",
            groups: bars.iter().map(|(label, _)| label.clone()).collect(),
            series: vec![
                series("at work", Sums::utilisation),
                series("waiting at barriers", waiting),
            ],
        }));
    }
    Section {
        name: "utilisation",
        title: "Multipliers at work",
        convention: format!(
            "useful multiplications over cycles x 1,024; reading `{}`; fully connected layers: filled lanes of the steps \
             that are taken",
            HEADLINE.name
        ),
        findings: vec![
            Finding::new("utilisation.5b", busiest),
            Finding::new("utilisation.fc", connected.lanes_filled()),
        ],
        tables: vec![by_bar, causes(scope, &report)],
        charts,
    }
}

fn waiting(sums: &Sums) -> f64 {
    sums.slots.barrier as f64 / sums.slots.total().max(1) as f64
}

/// Where all slots of a network went.
fn causes<'a>(scope: Scope, report: &dyn Fn(&'static str) -> &'a Report) -> Table {
    let causes = Slots::default().entries();
    let columns = std::iter::once("network").chain(causes.iter().map(|(cause, _)| *cause));
    let rows = scope.networks().iter().map(|&network| {
        let slots = whole(network, report(network)).slots;
        let share =
            |(_, count): &(&str, u64)| Cell::Share(*count as f64 / slots.total().max(1) as f64);
        let shares: Vec<Cell> = slots.entries().iter().map(share).collect();
        std::iter::once(network.into()).chain(shares).collect()
    });
    Table {
        name: "slots",
        title: "where all multiplier slots went".to_owned(),
        printed: true,
        columns: columns.map(|name| name.replace('_', " ")).collect(),
        rows: rows.collect(),
    }
}
