//! What a point gave: measures of the network and of its layers, or why there are none. Numbers are means of one inference.

use crate::RunError;
use scnn_isa::diagnostic::{Code, Diagnostic};
use scnn_simulator::report::{Costs, Layer, Report};
use scnnc::compile::CompileError;
use scnnc::map::Mapped;
use scnnc::quantise::{Operation, Quantised};
use serde::{Deserialize, Serialize};

/// What a point gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was measured.
    Measured {
        /// The network.
        network: Measures,
        /// Its layers, in the order of execution.
        layers: Vec<LayerRow>,
    },
    /// It was not.
    Failed(Failed),
}

/// Why a point was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Code of the error, such as `E0203`.
    pub code: String,
    /// The error in a sentence.
    pub message: String,
}

/// What a network or a layer costs. The cost model alone knows no more than cycles and energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Cycles; at fidelity `model` those that are predicted, host segments left out.
    pub cycles: f64,
    /// Energy, pJ; at fidelity `model` that of what depends on the mapping.
    pub energy_pj: f64,
    /// Cycles that the mapper predicts.
    pub predicted_cycles: Option<f64>,
    /// Share of multiplier slots that did useful work.
    pub utilisation: Option<f64>,
    /// Share of slots lost while tensors crossed the host link.
    pub host_link_share: Option<f64>,
    /// Bytes over the host link.
    pub host_link_bytes: Option<f64>,
    /// Bytes to and from DRAM.
    pub dram_bytes: Option<f64>,
    /// Share of the images that are classified as labelled, of a network that was executed on labelled inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
}

/// A layer or host segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Name.
    pub name: String,
    /// `scnn` or `host`.
    pub engine: String,
    /// The mapping: rows and columns of the largest tile, Kc, PE groups, temporal tiles.
    pub mapping: Option<[u32; 5]>,
    /// What most slots were lost to.
    pub lost_to: Option<String>,
    /// What it costs.
    pub measures: Measures,
}

impl Outcome {
    /// Of a run.
    pub(crate) fn of_report(report: &Report, top1: Option<f64>) -> Self {
        let samples = f64::from(report.samples);
        let layer = |layer: &Layer| LayerRow {
            name: layer.name.clone(),
            engine: layer.engine.clone(),
            mapping: layer
                .mapping
                .as_ref()
                .map(|m| [m.tile_h, m.tile_w, m.kc, m.pe_groups, m.temporal_tiles]),
            lost_to: layer.lost_to.map(|cause| cause.words().to_owned()),
            measures: Measures::of(&layer.costs, samples),
        };
        Self::Measured {
            network: Measures {
                top1,
                ..Measures::of(&report.totals, samples)
            },
            layers: report.layers.iter().map(layer).collect(),
        }
    }

    /// Of the cost model's predictions.
    pub(crate) fn of_predictions(network: &Quantised, mapped: &Mapped) -> Self {
        let mut whole = Measures::default();
        let mut layers = Vec::new();
        for (operation, cost) in network.operations.iter().zip(&mapped.predicted) {
            let mut measures = Measures::default();
            if let Some(cost) = cost {
                measures.cycles = cost.cycles as f64;
                measures.energy_pj = cost.energy_pj;
                measures.predicted_cycles = Some(cost.cycles as f64);
            }
            whole.cycles += measures.cycles;
            whole.energy_pj += measures.energy_pj;
            let (name, engine) = match operation {
                Operation::Layer(layer) => (&layer.name, "scnn"),
                Operation::Host(host) => (&host.name, "host"),
            };
            layers.push(LayerRow {
                name: name.clone(),
                engine: engine.to_owned(),
                mapping: None,
                lost_to: None,
                measures,
            });
        }
        whole.predicted_cycles = Some(whole.cycles);
        Self::Measured {
            network: whole,
            layers,
        }
    }
}

impl Measures {
    fn of(costs: &Costs, samples: f64) -> Self {
        let mean = |count: u64| count as f64 / samples;
        let slots = &costs.cycles.slots;
        Self {
            cycles: mean(costs.cycles.total),
            energy_pj: costs.energy_pj.total / samples,
            predicted_cycles: costs.cycles.predicted.map(mean),
            utilisation: Some(costs.utilisation),
            host_link_share: Some(slots.host_link as f64 / slots.total().max(1) as f64),
            host_link_bytes: Some(mean(costs.counters.host_bytes)),
            dram_bytes: Some(mean(costs.dram_bytes.total())),
            top1: None,
        }
    }
}

impl Failed {
    /// The first of some diagnostics.
    pub fn first(diagnostics: &[Diagnostic]) -> Self {
        match diagnostics.first() {
            Some(first) => Self {
                code: first.code.code.to_owned(),
                message: first.message.clone(),
            },
            None => Self::internal("an error without a message"),
        }
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self {
            code: Code::Internal.entry().code.to_owned(),
            message: message.to_owned(),
        }
    }

    pub(crate) fn compile(error: &CompileError) -> Self {
        Self::first(&error.diagnostics(""))
    }

    pub(crate) fn run(error: &RunError) -> Self {
        Self::first(&[error.diagnostic("")])
    }
}
