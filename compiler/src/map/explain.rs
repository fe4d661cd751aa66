//! Why a layer is mapped as it is: its bounds, where the predicted cycles go, and what else was possible.
//!
//! Nothing here decides anything: it asks the same functions that the search asks.

use super::cost::Cost;
use super::occupancy::{Occupancy, column_mask};
use super::search::choices::{Chooser, Place};
use super::search::{Search, fullest};
use super::tiling::{Cut, Cutter, Parts, accumulators};
use super::{LayerMapping, Mapped, Objective};
use crate::quantise::{IntConv, IntLayer, Quantised, Step};
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;

/// Cuts that are costed whole, for each place of the source.
const COSTED: usize = 12;

/// What is known of the mapping of one layer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Its step.
    pub step: usize,
    /// What the model predicts.
    pub cost: Cost,
    /// What no mapping can go below.
    pub bound: Bound,
    /// Where the predicted slots go.
    pub slots: Slots,
    /// What the layer waits for or is full of.
    pub limit: Limit,
    /// Accumulators that the mapping uses, of one half, in the PE that needs most.
    pub accumulators: u64,
    /// Elements of the source in the fullest PE: all, and of the fullest tile.
    pub elements: (u64, u64),
    /// Other mappings of this layer that were costed, best first.
    pub runners_up: Vec<Alternative>,
    /// Mappings that a buffer excludes.
    pub excluded: Vec<Excluded>,
}

/// Cycles that a layer takes at least, whatever the mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    /// Useful products over all multipliers: the oracle.
    pub useful: u64,
    /// The same in vectors, each channel's weights and activations packed as tightly as possible.
    pub vectors: u64,
    /// Weight vectors over the bus.
    pub bus: u64,
    /// Weights once from DRAM.
    pub dram: u64,
}

/// The predicted slots of a layer by cause, as shares of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slots {
    /// Non-zero times non-zero, inside the plane.
    pub useful: f64,
    /// Lanes left empty.
    pub fragmentation: f64,
    /// Products outside the plane or tile, and placeholders.
    pub out_of_plane: f64,
    /// PEs that wait: for others, weights, drains, DRAM.
    pub waiting: f64,
    /// PEs without a tile.
    pub no_tile: f64,
}

/// What a layer is limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// DRAM moves bytes all the time.
    Dram,
    /// The weight bus.
    WeightBus,
    /// The PPUs and halo links.
    Drain,
    /// PEs wait for each other: tiles hold unequal work.
    Balance,
    /// PEs are without a tile: the plane is too small.
    Plane,
    /// Vectors are not full: tiles or output-channel groups are too small, which the accumulators decide.
    Accumulators,
    /// The multipliers work.
    Multipliers,
}

impl Limit {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Dram => "DRAM: its bytes take about as long as the layer",
            Self::WeightBus => "the weight bus: every vector crosses it once for each pass",
            Self::Drain => "the PPUs and halo links: rounds drain slower than they are computed",
            Self::Balance => {
                "balance: PEs wait for the one with most work, or for room in its FIFO"
            }
            Self::Plane => "the plane: it is too small to give every PE a tile",
            Self::Accumulators => {
                "the accumulators: more positions or more output channels at once would fill vectors better"
            }
            Self::Multipliers => {
                "the multipliers: more slots are useful than are lost to any one cause"
            }
        }
    }
}

/// A mapping that was costed and not taken.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The cut of its source.
    pub cut: Cut,
    /// Whether the source would fit a RAM; it is loaded otherwise.
    pub fits: bool,
    /// The mapping.
    pub mapping: LayerMapping,
    /// What this layer would cost, its source placed as the cut allows.
    pub cost: Cost,
}

/// A mapping that a buffer excludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The mapping, in words.
    pub what: String,
    /// The buffer.
    pub buffer: &'static str,
    /// By how many bytes it is exceeded.
    pub bytes: u64,
}

/// Explains the mapping of the layer in `step`; none for host steps.
pub fn explain(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    mapped: &Mapped,
    step: usize,
) -> Option<Explanation> {
    let Step::Layer(layer) = &network.steps[step] else {
        return None;
    };
    let mapping = mapped.layers[step].as_ref()?;
    let cost = mapped.predicted[step]?;
    let search = Search::new(network, machine, occupancy, Objective::Cycles);
    let layout = &mapped.layouts[layer.source.tensor.index()];
    let contents = search.contents(layer.source.tensor, layout);
    let useful = layer
        .conv
        .as_ref()
        .map_or(0, |conv| useful(&search, step, layer, conv));
    let bound = bound(&search, step, layer, useful);
    let slots = slots(machine, layout, &cost, useful);
    let used = accumulators(layout, layer, &mapping.passes);
    let place = match mapped.residency.homes[layer.source.tensor.index()] {
        Some(_) => Place::Resident,
        None => Place::Streamed,
    };
    Some(Explanation {
        step,
        cost,
        bound,
        slots,
        limit: limit(machine, &cost, &slots),
        accumulators: used * u64::from(mapping.kc),
        elements: fullest(&contents),
        runners_up: runners_up(&search, layer, mapping, layout, (step, place)),
        excluded: excluded(&search, layer, mapping, layout),
    })
}

/// Products of two non-zeros that stay inside the plane.
fn useful(search: &Search<'_>, step: usize, layer: &IntLayer, conv: &IntConv) -> u64 {
    let Some(weights) = &search.weights[step] else {
        return 0;
    };
    let [n, _, h, w] = search.network.tensor(layer.source.tensor).shape;
    let rows: Vec<Vec<u32>> = (0..conv.y.kernel)
        .map(|r| (0..h).filter(|&y| conv.y.output(y, r).is_some()).collect())
        .collect();
    let cols: Vec<Vec<u64>> = (0..conv.x.kernel)
        .map(|s| column_mask(w, (0..w).filter(|&x| conv.x.output(x, s).is_some())))
        .collect();
    let mut useful = 0;
    for c in 0..layer.source.channels.len() {
        let per_tap = weights.per_tap(c);
        for (r, rows) in rows.iter().enumerate() {
            for (s, cols) in cols.iter().enumerate() {
                let weights = per_tap[r * cols_len(conv) + s];
                if weights > 0 {
                    let channel = layer.source.channels.begin + c;
                    let images = Span::new(0, n);
                    let tensor = layer.source.tensor;
                    useful += weights
                        * search
                            .occupancy
                            .nonzeros(tensor, channel, images, rows, cols);
                }
            }
        }
    }
    useful
}

const fn cols_len(conv: &IntConv) -> usize {
    conv.x.kernel as usize
}

fn bound(search: &Search<'_>, step: usize, layer: &IntLayer, useful: u64) -> Bound {
    let machine = search.machine;
    let multipliers = u64::from(machine.pe_count()) * u64::from(machine.multipliers_per_pe());
    let Some(weights) = &search.weights[step] else {
        return Bound::default();
    };
    let (f, i) = (
        u64::from(machine.pe.weights_per_vector),
        u64::from(machine.pe.activations_per_vector),
    );
    let [n, _, h, w] = search.network.tensor(layer.source.tensor).shape;
    let rows: Vec<u32> = (0..h).collect();
    let all = column_mask(w, 0..w);
    let (mut steps, mut vectors, mut nonzeros) = (0, 0, 0);
    for c in 0..layer.source.channels.len() {
        let of_channel: u64 = weights.per_tap(c).iter().sum();
        let activations = search.occupancy.nonzeros(
            layer.source.tensor,
            layer.source.channels.begin + c,
            Span::new(0, n),
            &rows,
            &all,
        );
        steps += of_channel.div_ceil(f) * activations.div_ceil(i);
        vectors += of_channel.div_ceil(f);
        nonzeros += of_channel;
    }
    // A step may be of products that all stay outside; but no fewer steps than useful products ask for.
    let by_vectors = if layer.conv.as_ref().is_some_and(inside) {
        steps.div_ceil(u64::from(machine.pe_count()))
    } else {
        0
    };
    let bytes = nonzeros * u64::from(machine.weight_format().element_bits()) / 8;
    let useful = useful.div_ceil(multipliers);
    Bound {
        useful,
        vectors: by_vectors.max(useful),
        bus: vectors.div_ceil(u64::from(machine.weights.bus_vectors_per_cycle)),
        dram: (bytes as f64 / machine.dram_bytes_per_cycle()).floor() as u64,
    }
}

/// Whether every product of a convolution stays inside the plane: one tap, no stride.
fn inside(conv: &IntConv) -> bool {
    [&conv.y, &conv.x]
        .iter()
        .all(|axis| axis.kernel == 1 && axis.stride == 1 && axis.pad == [0, 0])
}

fn slots(machine: &Machine, layout: &Layout, cost: &Cost, useful: u64) -> Slots {
    let lanes = f64::from(machine.multipliers_per_pe());
    let pes = f64::from(machine.pe_count());
    let all = cost.cycles as f64 * pes * lanes;
    if all == 0.0 {
        return Slots::default();
    }
    let group = layout.tiles[0].pes();
    let with_tile = (0..group.count())
        .filter(|pe| {
            layout
                .tiles
                .iter()
                .any(|tile| !tile.pe_rect(pe / group.cols, pe % group.cols).is_empty())
        })
        .count();
    let busy = cost.steps as f64 * lanes;
    let tiled = with_tile as f64 / f64::from(group.count());
    Slots {
        useful: useful as f64 / all,
        fragmentation: (busy - cost.pairs as f64) / all,
        out_of_plane: (cost.pairs as f64 - useful as f64).max(0.0) / all,
        waiting: (tiled - busy / all).max(0.0),
        no_tile: 1.0 - tiled,
    }
}

fn limit(machine: &Machine, cost: &Cost, slots: &Slots) -> Limit {
    let near = |cycles: u64| cycles as f64 >= 0.9 * cost.cycles as f64;
    let lanes = u64::from(machine.weights.bus_vectors_per_cycle);
    if near(cost.dram_cycles) {
        return Limit::Dram;
    }
    if cost.steps > 0 && near(cost.bus_vectors / lanes) {
        return Limit::WeightBus;
    }
    if near(cost.drain_cycles) {
        return Limit::Drain;
    }
    let causes = [
        (slots.waiting, Limit::Balance),
        (slots.no_tile, Limit::Plane),
        (slots.fragmentation, Limit::Accumulators),
        (slots.useful, Limit::Multipliers),
    ];
    causes
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(Limit::Multipliers, |(_, limit)| limit)
}

/// The other mappings of a layer that are worth costing whole, best first.
fn runners_up(
    search: &Search<'_>,
    layer: &IntLayer,
    chosen: &LayerMapping,
    layout: &Layout,
    (step, place): (usize, Place),
) -> Vec<Alternative> {
    let mut found: Vec<Alternative> = Chooser::new(search)
        .choices(layer.source.tensor, COSTED)
        .into_iter()
        .filter_map(|choice| {
            let index = choice.readers.iter().position(|r| r.step == step)?;
            let reader = &choice.readers[index];
            if choice.layout == *layout && reader.mapping == *chosen {
                return None;
            }
            Some(Alternative {
                cut: choice.cut,
                fits: choice.fits,
                mapping: reader.mapping.clone(),
                cost: choice.placed(reader, place, index == 0),
            })
        })
        .collect();
    found.sort_by_key(|other| other.cost.cycles);
    found.truncate(10);
    found
}

/// Mappings beyond what a buffer holds: more output channels at once, fewer temporal tiles, all of the source in a RAM.
fn excluded(
    search: &Search<'_>,
    layer: &IntLayer,
    mapping: &LayerMapping,
    layout: &Layout,
) -> Vec<Excluded> {
    let machine = search.machine;
    let mut excluded = Vec::new();
    let entries = u64::from(machine.accumulator_entries());
    let accumulator_bytes =
        |entries: u64| (entries * u64::from(machine.pe.accumulator_bits)).div_ceil(8);
    if let Some(conv) = &layer.conv {
        let positions = accumulators(layout, layer, &mapping.passes);
        let per_conv = layer.destination.channels.len() / conv.groups;
        let most = entries / positions.max(1) + 1;
        if most <= u64::from(per_conv) {
            excluded.push(Excluded {
                what: format!("Kc {most} on these tiles"),
                buffer: "accumulators",
                bytes: accumulator_bytes(most * positions - entries),
            });
        }
        let cutter = Cutter::new(search.network, machine, layer.source.tensor);
        let [batch, ..] = search.network.tensor(layer.source.tensor).shape;
        for parts in [1, 2, 4, 8] {
            let cut = Cut {
                parts: Parts {
                    n: batch,
                    y: parts,
                    x: 1,
                },
                groups: layout.groups,
                images: Grid::ONE,
                residues: layout.residues,
            };
            let needed = cutter.accumulators(cut);
            if needed > entries {
                excluded.push(Excluded {
                    what: if parts == 1 {
                        "the whole plane at once".to_owned()
                    } else {
                        format!("{parts} temporal tiles")
                    },
                    buffer: "accumulators",
                    bytes: accumulator_bytes(needed - entries),
                });
            }
        }
    }
    let contents = search.contents(layer.source.tensor, layout);
    let (whole, tile) = fullest(&contents);
    let element_bits = u64::from(machine.activation_format().element_bits());
    for (what, elements) in [
        ("all of the source in a RAM", whole),
        ("a tile of the source in a RAM", tile),
    ] {
        if elements > search.ram() {
            excluded.push(Excluded {
                what: what.to_owned(),
                buffer: "activation RAM",
                bytes: ((elements - search.ram()) * element_bits).div_ceil(8),
            });
        }
    }
    excluded
}
