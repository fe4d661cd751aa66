//! The operations of an execution, layers and host segments, with their counts.

use crate::baseline::Baselines;
use crate::counters::Counters;
use crate::energy::Energy;
use crate::timing::{DensityModel, PeCycles, Slots};
use scnn_isa::operation::OperationId;

/// Counts of an operation.
#[derive(Clone, Debug)]
pub struct OperationCounts {
    /// The operation.
    pub id: OperationId,
    /// Runtime and version that ran it, of a host segment.
    pub runtime: Option<String>,
    /// Cycles.
    pub cycles: u64,
    /// Steps of all PEs.
    pub steps: u64,
    /// Where the multipliers' time went.
    pub slots: Slots,
    /// Where the cycles of every PE went.
    pub pe_cycles: PeCycles,
    /// Events.
    pub counters: Counters,
    /// Energy, pJ.
    pub energy: Energy,
    /// Dense machines on the same layer.
    pub baselines: Baselines,
    /// Elements that RAM A and RAM B hold at its end, in the PE where each holds most.
    pub ram_elements: [u64; 2],
    /// Share of non-zero weights; 1 for layers without weights.
    pub weight_density: f64,
    /// Share of non-zeros in what was read.
    pub input_density: f64,
    /// Share of non-zeros in what was written.
    pub output_density: f64,
    /// Prediction from the densities alone; only for layers of the array.
    pub density_model: Option<DensityModel>,
}
