//! Mapping: layouts, passes, output-channel groups and places for every layer and tensor of a network.
//!
//! [`map`] with [`Strategy::Paper`] is the paper's fixed dataflow: planar tiles of `ceil(H / rows) x ceil(W / cols)`,
//! Kc = 8 or the largest below it that the accumulators hold, one PE group. A tensor that exceeds an activation RAM
//! lives in DRAM and is cut into temporal tiles that fit; consumers load one tile after the other.
//!
//! [`Strategy::Search`] looks for better ones with a model of their cost ([`cost`]), fed by exact counts of the
//! weights ([`weights`]) and of the activations of a calibration sample ([`occupancy`]).
//!
//! Decided are, each in a module of its own: how every tensor is tiled ([`tiling`], [`candidates`]), where it lives
//! and when ([`residency`]), and how the output channels of every layer are grouped ([`candidates`], [`search`]).

pub mod bound;
pub mod candidates;
pub mod contents;
pub mod cost;
pub mod explain;
pub mod file;
pub mod fixed;
mod objective;
pub mod occupancy;
pub mod residency;
pub mod search;
pub mod tiling;
pub mod weights;

use crate::quantise::{IntFunction, IntLayer, Quantised};
use cost::Cost;
pub use objective::Objective;
use occupancy::Occupancy;
use residency::Residency;
use scnn_isa::ids::SectionId;
use scnn_isa::layer::{ArrayStage, Layer, Pass, Pool, PpuStage, WeightOrder};
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::machine::{Dataflow, LayerSync, Machine};
use scnn_isa::plane::{Rect, Span};
use scnn_isa::progress::Progress;
pub use search::Explored;
use thiserror::Error;
use tiling::Tiling;

/// How mappings are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The paper's fixed dataflow.
    Paper,
    /// The best that the cost model finds.
    #[default]
    Search,
}

impl Strategy {
    /// Name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Search => "search",
        }
    }
}

/// Choices of mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How mappings are found.
    pub strategy: Strategy,
    /// What the search minimises.
    pub objective: Objective,
}

/// Output channels of a group in the paper's evaluation (section 5).
const PAPER_KC: u32 = 8;

/// Why a network has no mapping.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MapError {
    /// The machine is a dense baseline.
    #[error("the machine `{0}` is a dense baseline, which executes no programs")]
    Baseline(String),
    /// A buffer is too small for the smallest tile.
    #[error(
        "layer `{layer}` needs {needed} entries of the accumulators for one output channel of its smallest tile; a PE has {available}"
    )]
    Accumulators {
        /// The layer.
        layer: String,
        /// Entries needed.
        needed: u64,
        /// Entries there are.
        available: u32,
    },
    /// More of something than an instruction can name.
    #[error("layer `{layer}` has {count} {what}; an instruction can name {limit}")]
    TooMany {
        /// The layer.
        layer: String,
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: u64,
        /// How many an instruction can name.
        limit: u64,
    },
}

/// A mapped network.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Storage of every tensor, by `TensorId`.
    pub layouts: Vec<Layout>,
    /// Where every tensor lives.
    pub residency: Residency,
    /// The mapping of every operation that is a layer; `None` for host operations.
    pub layers: Vec<Option<LayerMapping>>,
    /// What the cost model says of every layer; `None` for host operations.
    pub predicted: Vec<Option<Cost>>,
}

impl Mapped {
    /// Whether two mappings make the same program. Why a tensor is in DRAM is no decision, and a file does not say it.
    pub fn same_decisions(&self, other: &Self) -> bool {
        let (ours, others) = (&self.residency, &other.residency);
        self.layouts == other.layouts
            && (&ours.homes, &ours.stages) == (&others.homes, &others.stages)
            && self.layers == other.layers
    }
}

/// The mapping of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerMapping {
    /// Temporal tiles.
    pub passes: Vec<Pass>,
    /// PE groups.
    pub pe_groups: Grid,
    /// Largest output-channel group, Kc; 0 for layers of the PPU alone.
    pub kc: u32,
    /// Output-channel groups.
    pub channel_groups: Vec<Span>,
    /// Order of the weights inside a block.
    pub order: WeightOrder,
}

impl LayerMapping {
    /// Rounds of a pass.
    pub fn rounds(&self) -> u64 {
        self.channel_groups.len() as u64 / u64::from(self.pe_groups.count().max(1))
    }
}

/// Maps `network` onto `machine`; `occupancy` says where its activations are not zero.
///
/// # Errors
/// See [`MapError`].
pub fn map(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    options: Options,
    progress: &dyn Progress,
) -> Result<Mapped, MapError> {
    refuse_baseline(machine)?;
    let search = search::Search::new(network, machine, occupancy, options.objective);
    let mapped = match options.strategy {
        Strategy::Paper => search.paper(),
        Strategy::Search => search.run(progress),
    }?;
    Ok(with_head_starts(network, machine, occupancy, mapped))
}

/// The same mapping with its layers predicted in sequence, where the loader goes on to the next one. The search compares layers
/// that begin with empty FIFOs.
fn with_head_starts(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    mut mapped: Mapped,
) -> Mapped {
    if machine.sync.layers == LayerSync::Overlap {
        mapped.predicted = predict(network, machine, occupancy, &mapped);
    }
    mapped
}

/// Maps by a search, and keeps what it explored for searches on machines that differ little ([`map_anew`]).
///
/// # Errors
/// See [`MapError`].
pub fn map_exploring(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    objective: Objective,
) -> Result<(Mapped, Explored), MapError> {
    refuse_baseline(machine)?;
    let search = search::Search::new(network, machine, occupancy, objective);
    let (mapped, explored) = search.explore(&())?;
    let mapped = with_head_starts(network, machine, occupancy, mapped);
    Ok((mapped, explored))
}

/// Maps by a search that begins with the cuts and groupings that one with the same objective has `explored` on another
/// machine: it looks for no others, which takes most of a search's time.
///
/// # Errors
/// See [`MapError`].
pub fn map_anew(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    objective: Objective,
    explored: &Explored,
) -> Result<Mapped, MapError> {
    refuse_baseline(machine)?;
    let search = search::Search::beginning_with(network, machine, occupancy, objective, explored);
    let mapped = search.run(&())?;
    Ok(with_head_starts(network, machine, occupancy, mapped))
}

fn refuse_baseline(machine: &Machine) -> Result<(), MapError> {
    match machine.dataflow.kind {
        Dataflow::DotProductDense => Err(MapError::Baseline(machine.name.clone())),
        Dataflow::CartesianSparse => Ok(()),
    }
}

/// What the cost model says of every operation of a mapping, however it was found.
pub fn predict(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    mapped: &Mapped,
) -> Vec<Option<Cost>> {
    search::Search::new(network, machine, occupancy, Objective::Cycles).predict_mapped(mapped)
}

/// The paper's mapping of a layer whose source is tiled so.
pub(crate) fn map_paper_layer(
    network: &Quantised,
    machine: &Machine,
    tiling: &Tiling,
    layer: &IntLayer,
) -> Result<LayerMapping, MapError> {
    let passes = tiling.passes(network, layer);
    check_count(layer, "passes", passes.len() as u64)?;
    let Some(conv) = &layer.conv else {
        return Ok(LayerMapping {
            passes,
            pe_groups: Grid::ONE,
            kc: 0,
            channel_groups: Vec::new(),
            order: WeightOrder::Krs,
        });
    };
    let needed = tiling.accumulators(layer, &passes);
    let available = machine.accumulator_entries();
    let per_group = layer.destination.channels.len() / conv.groups;
    let fitting = u64::from(available) / needed.max(1);
    if fitting == 0 {
        return Err(MapError::Accumulators {
            layer: layer.name.clone(),
            needed,
            available,
        });
    }
    let kc = PAPER_KC.min(per_group).min(fitting as u32);
    let channel_groups: Vec<Span> = (0..conv.groups)
        .flat_map(|group| {
            let (begin, end) = (group * per_group, (group + 1) * per_group);
            (begin..end)
                .step_by(kc as usize)
                .map(move |k| Span::new(k, (k + kc).min(end)))
        })
        .collect();
    check_count(layer, "output-channel groups", channel_groups.len() as u64)?;
    Ok(LayerMapping {
        passes,
        pe_groups: Grid::ONE,
        kc,
        channel_groups,
        order: WeightOrder::Krs,
    })
}

fn check_count(layer: &IntLayer, what: &'static str, count: u64) -> Result<(), MapError> {
    let limit = 0xffff;
    if count <= limit {
        return Ok(());
    }
    Err(MapError::TooMany {
        layer: layer.name.clone(),
        what,
        count,
        limit,
    })
}

/// The descriptor of a layer under a mapping; section ids are the caller's to fill in.
pub fn descriptor(layer: &IntLayer, mapping: &LayerMapping) -> Layer {
    Layer {
        name: layer.name.clone(),
        source: layer.source,
        destination: layer.destination,
        array: layer.conv.as_ref().map(|conv| ArrayStage {
            groups: conv.groups,
            y: conv.y,
            x: conv.x,
            pe_groups: mapping.pe_groups,
            channel_groups: mapping.channel_groups.clone(),
            order: mapping.order,
            weights: SectionId(0),
            product_shift: conv.product_shift,
        }),
        ppu: PpuStage {
            rounding: layer.rounding,
            divisor: layer.divisor,
            requantise: SectionId(0),
            source_shift: layer.source_shift,
            operand: layer.operand,
            function: None,
            slope_exponent: match &layer.function {
                Some(IntFunction::Leaky { exponent, .. }) => *exponent,
                _ => 0,
            },
            approximates: match &layer.function {
                Some(IntFunction::Table { approximates, .. }) => Some(approximates.clone()),
                _ => None,
            },
            clamp: layer.clamp,
            pool: layer.pool.map(|pool| Pool {
                kind: pool.kind,
                y: pool.y,
                x: pool.x,
                multiplier: pool.multiplier,
                shift: pool.shift,
            }),
        },
        passes: mapping.passes.clone(),
    }
}

/// The part `index` of `parts` near-equal parts of `span`, ceil(len / parts) each.
pub(crate) fn uniform_part(span: Span, parts: u32, index: u32) -> Span {
    let operation = span.len().div_ceil(parts.max(1));
    Span::new(
        (span.begin + index * operation).min(span.end),
        (span.begin + (index + 1) * operation).min(span.end),
    )
}

/// The plane of a layer's output, after pooling.
pub(crate) fn output_plane(network: &Quantised, layer: &IntLayer) -> Rect {
    let [n, _, h, w] = network.tensor(layer.destination.tensor).shape;
    Rect::plane(n, h, w)
}
