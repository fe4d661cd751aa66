//! The sections of the evaluation, in the paper's order: what each needs measured, and what it makes of it.

mod ablation;
mod accounting;
mod area;
mod energy;
mod granularity;
mod memory;
mod sensitivity;
mod speed;
mod sweep;
mod today;
mod utilisation;

use super::finding::Section;
use super::lab::{Need, Results};
use super::sums::{Sums, counted_layers};
use scnn_simulator::report::{Layer, Report};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Without VGG-16 and with fewer points.
    pub quick: bool,
}

impl Scope {
    /// The paper's networks.
    fn networks(self) -> &'static [&'static str] {
        if self.quick {
            &NETWORKS[..2]
        } else {
            &NETWORKS
        }
    }
}

const NETWORKS: [&str; 3] = ["alexnet", "googlenet", "vgg16"];

/// A section before it is measured.
pub struct Plan {
    /// Name, as `--only` takes it.
    pub name: &'static str,
    /// What it needs measured.
    pub needs: fn(Scope) -> Vec<Need>,
    /// What it makes of it.
    pub evaluate: fn(Scope, &Results) -> Section,
}

/// All sections.
pub const PLANS: &[Plan] = &[
    Plan {
        name: "sweep",
        needs: sweep::needs,
        evaluate: sweep::evaluate,
    },
    Plan {
        name: "ablation",
        needs: ablation::needs,
        evaluate: ablation::evaluate,
    },
    Plan {
        name: "speed",
        needs: speed::needs,
        evaluate: speed::evaluate,
    },
    Plan {
        name: "utilisation",
        needs: utilisation::needs,
        evaluate: utilisation::evaluate,
    },
    Plan {
        name: "energy",
        needs: energy::needs,
        evaluate: energy::evaluate,
    },
    Plan {
        name: "accounting",
        needs: accounting::needs,
        evaluate: accounting::evaluate,
    },
    Plan {
        name: "sensitivity",
        needs: sensitivity::needs,
        evaluate: sensitivity::evaluate,
    },
    Plan {
        name: "granularity",
        needs: granularity::needs,
        evaluate: granularity::evaluate,
    },
    Plan {
        name: "memory",
        needs: memory::needs,
        evaluate: memory::evaluate,
    },
    Plan {
        name: "area",
        needs: |_| Vec::new(),
        evaluate: |_, _| area::evaluate(),
    },
    Plan {
        name: "today",
        needs: today::needs,
        evaluate: today::evaluate,
    },
];

/// Names of columns, or of anything else.
fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

/// What the paper's figures show of a network, each with its sums: the layers that count, of `GoogLeNet` the modules,
/// and last the whole.
fn bars(network: &str, report: &Report) -> Vec<(String, Sums)> {
    let mut bars: Vec<(String, Vec<&Layer>)> = Vec::new();
    for layer in counted_layers(network, report) {
        let module = layer
            .name
            .split_once('/')
            .map_or(layer.name.as_str(), |(module, _)| module);
        let label = module.trim_start_matches("inception_");
        match bars.last_mut() {
            Some((last, layers)) if last == label => layers.push(layer),
            _ => bars.push((label.to_owned(), vec![layer])),
        }
    }
    let mut sums: Vec<(String, Sums)> = bars
        .into_iter()
        .map(|(label, layers)| (label, Sums::of(layers)))
        .collect();
    sums.push(("all".to_owned(), Sums::of(counted_layers(network, report))));
    sums
}

/// The sums over all layers of a report that the paper counts.
fn whole(network: &str, report: &Report) -> Sums {
    Sums::of(counted_layers(network, report))
}
