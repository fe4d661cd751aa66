//! Speed-ups of the three networks (the paper's figure 8).

use super::{NETWORKS, Scope, bars, names, whole};
use crate::paper::chart::{Bars, Chart};
use crate::paper::finding::{Cell, Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::{HEADLINE, PRESET, READINGS, Reading};
use crate::paper::sums::{Sums, counted, counted_layers, mean};
use scnn_simulator::report::Report;

pub fn needs(scope: Scope) -> Vec<Need> {
    let networks = scope.networks().iter();
    networks
        .flat_map(|&network| readings(scope).map(move |&reading| need(network, reading)))
        .collect()
}

/// The quick form has the most telling alone.
fn readings(scope: Scope) -> impl Iterator<Item = &'static Reading> {
    READINGS
        .iter()
        .filter(move |reading| !scope.quick || reading.is_telling())
}

fn need(network: &'static str, reading: Reading) -> Need {
    Need::new(Workload::published(network), "scnn", reading)
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let report = |network, reading| &results.get(&need(network, reading)).report;
    let speeds: Vec<f64> = scope
        .networks()
        .iter()
        .map(|network| whole(network, report(network, HEADLINE)).speed())
        .collect();
    let keys = ["speed.alexnet", "speed.googlenet", "speed.vgg16"];
    let mut findings: Vec<Finding> = keys
        .iter()
        .zip(&speeds)
        .map(|(key, &speed)| Finding::new(key, speed))
        .collect();
    if speeds.len() == NETWORKS.len() {
        findings.push(Finding::new("speed.mean", mean(&speeds)));
    }
    let mut charts = Vec::new();
    let mut bars_table = Table {
        name: "figure8",
        title: format!(
            "speed-ups by layer, GoogLeNet's by module (figure 8), reading {}",
            HEADLINE.name
        ),
        printed: true,
        columns: names([
            "network",
            "layer",
            "DCNN cycles",
            "SCNN cycles",
            "over DCNN",
            "over ideal DCNN",
            "oracle over DCNN",
        ]),
        rows: Vec::new(),
    };
    for &network in scope.networks() {
        let bars = bars(network, report(network, HEADLINE));
        for (label, sums) in &bars {
            bars_table.rows.push(vec![
                network.into(),
                label.as_str().into(),
                sums.baselines.dcnn.into(),
                sums.cycles.into(),
                sums.speed().into(),
                sums.speed_over_ideal().into(),
                sums.oracle().into(),
            ]);
        }
        charts.push(chart(network, &bars));
    }
    let reports = |reading| {
        scope
            .networks()
            .iter()
            .map(move |&n| (n, report(n, reading)))
    };
    Section {
        name: "speed",
        title: "Speed-up over DCNN",
        convention: format!(
            "all convolutions (GoogLeNet: the 54 of the inception modules), cycles of DCNN on the same tiles with full \
             lanes over cycles of SCNN; reading `{}`: {}",
            HEADLINE.name, HEADLINE.about
        ),
        findings,
        tables: vec![
            readings_table(scope, results),
            bars_table,
            layers_table(reports(HEADLINE)),
            apart_table(reports(PRESET)),
        ],
        charts,
    }
}

fn chart(network: &str, bars: &[(String, Sums)]) -> Chart {
    let series = |name: &str, of: fn(&Sums) -> f64| {
        (
            name.to_owned(),
            bars.iter().map(|(_, sums)| of(sums)).collect(),
        )
    };
    Chart::Bars(Bars {
        name: format!("figure8-{network}"),
        title: format!("{network}: speed-up over DCNN"),
        axis: "times as fast as DCNN",
        groups: bars.iter().map(|(label, _)| label.clone()).collect(),
        series: vec![
            series("DCNN", |_| 1.0),
            series("SCNN", Sums::speed),
            series("SCNN(oracle)", Sums::oracle),
        ],
    })
}

/// Every layer that counts, for files.
fn layers_table<'a>(reports: impl Iterator<Item = (&'static str, &'a Report)>) -> Table {
    let columns = [
        "network",
        "layer",
        "weight_density_ratio",
        "input_density_ratio",
        "dense_multiplies",
        "dcnn_cycles",
        "dcnn_lanes_cycles",
        "dcnn_ideal_cycles",
        "oracle_cycles",
        "scnn_cycles",
        "speed_up_ratio",
        "utilisation_ratio",
        "barrier_ratio",
        "energy_scnn_pj",
        "energy_dcnn_pj",
        "energy_dcnn_opt_pj",
    ];
    let rows = reports.flat_map(|(network, report)| {
        counted_layers(network, report).map(move |layer| {
            let (b, sums) = (&layer.costs.baselines, Sums::of([layer]));
            vec![
                network.into(),
                layer.name.as_str().into(),
                Cell::Share(layer.density.weights),
                Cell::Share(layer.density.input),
                b.macs.into(),
                b.dcnn.into(),
                b.dcnn_lanes.into(),
                b.dcnn_ideal.into(),
                b.oracle.into(),
                layer.costs.cycles.total.into(),
                sums.speed().into(),
                Cell::Share(layer.costs.utilisation),
                Cell::Share(
                    layer.costs.cycles.slots.barrier as f64
                        / layer.costs.cycles.slots.total().max(1) as f64,
                ),
                sums.energy_pj.total().into(),
                b.dcnn_pj.total().into(),
                b.dcnn_opt_pj.total().into(),
            ]
        })
    });
    Table {
        name: "layers",
        title: format!("every convolution that counts, reading {}", HEADLINE.name),
        printed: false,
        columns: names(columns),
        rows: rows.collect(),
    }
}

/// The speed-ups of all networks under every reading.
fn readings_table(scope: Scope, results: &Results) -> Table {
    let mut table = Table {
        name: "speed-readings",
        title: "speed-ups by reading".to_owned(),
        printed: true,
        columns: names([
            "reading",
            "network",
            "cycles",
            "over DCNN",
            "over DCNN, lanes rounded",
            "over ideal DCNN",
            "assumes",
        ]),
        rows: Vec::new(),
    };
    for &reading in readings(scope) {
        for (index, &network) in scope.networks().iter().enumerate() {
            let sums = whole(network, &results.get(&need(network, reading)).report);
            let about = if index == 0 { reading.about } else { "" };
            table.rows.push(vec![
                reading.name.into(),
                network.into(),
                sums.cycles.into(),
                sums.speed().into(),
                (sums.baselines.dcnn_lanes as f64 / sums.cycles as f64).into(),
                sums.speed_over_ideal().into(),
                about.into(),
            ]);
        }
    }
    table
}

/// What the headlines leave out.
fn apart_table<'a>(reports: impl Iterator<Item = (&'static str, &'a Report)>) -> Table {
    let mut rows = Vec::new();
    for (network, report) in reports {
        let counts = |name: &str, of: &dyn Fn(&scnn_simulator::report::Layer) -> bool| {
            let sums = Sums::of(report.layers.iter().filter(|layer| of(layer)));
            vec![
                network.into(),
                name.into(),
                sums.layers.into(),
                sums.cycles.into(),
                (sums.energy_pj.total() * 1e-6).into(),
                (sums.host_link_pj * 1e-6).into(),
                (sums.counters.host_bytes as f64 * 1e-3).into(),
            ]
        };
        let on_array = |l: &scnn_simulator::report::Layer| l.costs.baselines.macs > 0;
        rows.push(counts("counted", &|l| counted(network, l)));
        rows.push(counts("other layers of the array", &|l| {
            on_array(l) && !counted(network, l)
        }));
        rows.push(counts("PPU alone", &|l| l.kind == "ppu"));
        rows.push(counts("host", &|l| l.engine == "host"));
    }
    Table {
        name: "apart",
        title: format!("what counts and what stands apart, reading {}", PRESET.name),
        printed: true,
        columns: names([
            "network",
            "layers",
            "number",
            "cycles",
            "energy, uJ",
            "host link, uJ",
            "host link, kB",
        ]),
        rows,
    }
}
