//! Networks that came after the paper: where SCNN helps, where it does not, and why.

use super::{Scope, names};
use crate::paper::finding::{Cell, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::PRESET;
use crate::paper::sums::{Sums, fully_connected, ratio};
use scnn_simulator::report::{Layer, Report};
use scnn_simulator::timing::Cause;
use scnn_simulator::timing::Slots;
use scnnc::map::Strategy;

const NETWORKS: [&str; 14] = [
    "resnet18",
    "resnet50",
    "mobilenetv2",
    "squeezenet",
    "densenet121",
    "shufflenet",
    "efficientnet-lite0",
    "mobilenetv3-small",
    "efficientnet-b0",
    "convnext-tiny",
    "yolov8n",
    "unet-small",
    "m5",
    "vit-tiny",
];
/// Machines and mappings. The paper's mapping has one PE group, which multicast does nothing for.
const COLUMNS: [(&str, Strategy); 3] = [
    ("scnn", Strategy::Paper),
    ("scnn", Strategy::Search),
    ("scnn-multicast", Strategy::Search),
];

fn networks(scope: Scope) -> impl Iterator<Item = &'static str> {
    let some =
        move |network: &&str| !scope.quick || ["mobilenetv2", "squeezenet"].contains(network);
    NETWORKS.into_iter().filter(some)
}

fn need(network: &'static str, (preset, strategy): (&'static str, Strategy)) -> Need {
    Need {
        strategy,
        ..Need::new(Workload::published(network), preset, PRESET)
    }
}

pub fn needs(scope: Scope) -> Vec<Need> {
    networks(scope)
        .flat_map(|network| COLUMNS.map(|column| need(network, column)))
        .collect()
}

/// What decides how well a layer suits the array, most telling first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LayerKind {
    Connected,
    First,
    Depthwise,
    Grouped,
    Strided,
    Pointwise,
    Spatial,
}

impl LayerKind {
    const ALL: [Self; 7] = [
        Self::First,
        Self::Spatial,
        Self::Pointwise,
        Self::Strided,
        Self::Grouped,
        Self::Depthwise,
        Self::Connected,
    ];

    fn of(layer: &Layer) -> Option<Self> {
        let shape = layer.shape.filter(|_| layer.costs.baselines.macs > 0)?;
        Some(if fully_connected(layer) {
            Self::Connected
        } else if shape.groups > 1 && shape.groups == shape.c {
            Self::Depthwise
        } else if shape.c <= 4 {
            Self::First
        } else if shape.groups > 1 {
            Self::Grouped
        } else if shape.stride != [1, 1] {
            Self::Strided
        } else if (shape.r, shape.s) == (1, 1) {
            Self::Pointwise
        } else {
            Self::Spatial
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Connected => "fully connected",
            Self::First => "first layer",
            Self::Depthwise => "depthwise",
            Self::Grouped => "grouped",
            Self::Strided => "strided",
            Self::Pointwise => "1x1",
            Self::Spatial => "3x3 and larger",
        }
    }
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let (mut by_network, mut by_kind) = (Vec::new(), Vec::new());
    for network in networks(scope) {
        for column in COLUMNS {
            let report = &results.get(&need(network, column)).report;
            let name = [network, column.0, column.1.name()].map(Cell::from);
            by_network.push([&name[..], &network_cells(report)].concat());
            by_kind.extend(kind_cells(report).map(|cells| [&name[..], &cells].concat()));
        }
    }
    Section {
        name: "today",
        title: "Networks of today",
        convention: format!(
            "all layers of the array, the fully connected ones too; a third of the weights kept; reading `{}`: the \
             machine file as it is",
            PRESET.name
        ),
        findings: Vec::new(),
        tables: vec![
            Table {
                name: "today",
                title: "networks that came later".to_owned(),
                printed: true,
                columns: names([
                    "network",
                    "machine",
                    "mapping",
                    "cycles",
                    "over DCNN",
                    "over ideal DCNN",
                    "oracle over DCNN",
                    "at work",
                    "largest loss",
                    "DCNN's energy over SCNN's",
                    "DCNN-opt's energy over SCNN's",
                    "energy of PPU and host",
                ]),
                rows: by_network,
            },
            Table {
                name: "today-kinds",
                title: "the same by kind of layer".to_owned(),
                printed: true,
                columns: names([
                    "network",
                    "machine",
                    "mapping",
                    "layers",
                    "number",
                    "share of products",
                    "share of cycles",
                    "over DCNN",
                    "over DCNN, lanes rounded",
                    "DCNN's energy over SCNN's",
                    "at work",
                    "largest loss",
                ]),
                rows: by_kind,
            },
        ],
        charts: Vec::new(),
    }
}

/// The layers of the array, and all others.
fn divided(report: &Report) -> (Vec<&Layer>, Vec<&Layer>) {
    let layers = report.layers.iter();
    layers.partition(|layer| layer.costs.baselines.macs > 0)
}

fn network_cells(report: &Report) -> Vec<Cell> {
    let (on_array, others) = divided(report);
    let (all, rest) = (Sums::of(on_array), Sums::of(others));
    let rest_pj = rest.energy_pj.total();
    vec![
        all.cycles.into(),
        all.speed().into(),
        all.speed_over_ideal().into(),
        all.oracle().into(),
        Cell::Share(all.utilisation()),
        loss(&all.slots).into(),
        all.energy_gain().into(),
        (all.energy_gain() / all.opt_gain()).into(),
        Cell::Share(rest_pj / (rest_pj + all.energy_pj.total())),
    ]
}

/// A row for each kind of layer that a network has.
fn kind_cells(report: &Report) -> impl Iterator<Item = Vec<Cell>> {
    let (on_array, _) = divided(report);
    let all = Sums::of(on_array.iter().copied());
    LayerKind::ALL.into_iter().filter_map(move |kind| {
        let of_kind = |layer: &&Layer| LayerKind::of(layer) == Some(kind);
        let sums = Sums::of(on_array.iter().copied().filter(of_kind));
        (sums.layers > 0).then(|| {
            vec![
                kind.name().into(),
                sums.layers.into(),
                Cell::Share(ratio(sums.baselines.macs, all.baselines.macs)),
                Cell::Share(ratio(sums.cycles, all.cycles)),
                sums.speed().into(),
                ratio(sums.baselines.dcnn_lanes, sums.cycles).into(),
                sums.energy_gain().into(),
                Cell::Share(sums.utilisation()),
                loss(&sums.slots).into(),
            ]
        })
    })
}

/// The cause that most slots were lost to, and its share of all.
fn loss(slots: &Slots) -> String {
    Cause::largest_loss(slots).map_or_else(String::new, |(loss, share)| {
        format!("{loss} {:.0} %", 100.0 * share)
    })
}
