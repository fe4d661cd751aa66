//! Lower bounds on the cycles of a layer under any mapping, so that the gap that remains is known.

use super::occupancy::{Occupancy, column_mask};
use super::search::Search;
use crate::quantise::{IntConv, IntLayer};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::View;
use scnn_isa::plane::Span;
use scnn_isa::program::Memory;

/// Cycles that a layer takes at least, whatever the mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Useful products over all multipliers: the oracle.
    pub useful: u64,
    /// The same in vectors, each channel's weights and activations packed as tightly as possible: products that end
    /// outside the plane take their slots.
    pub vectors: u64,
    /// Weight vectors over the bus.
    pub bus: u64,
    /// Weights once from DRAM, and the activations that no RAM can hold or that cross the host's border.
    pub dram: u64,
}

impl Bound {
    /// The largest of them.
    pub fn cycles(&self) -> u64 {
        self.useful.max(self.vectors).max(self.bus).max(self.dram)
    }

    /// The bound of the layer in `operation`.
    pub(super) fn of(search: &Search<'_>, operation: usize, layer: &IntLayer) -> Self {
        let machine = search.machine;
        let (Some(weights), Some(conv)) = (&search.network.nonzeros[operation], &layer.conv) else {
            return Self::default();
        };
        let (f, i) = (
            u64::from(machine.pe.weights_per_vector),
            u64::from(machine.pe.activations_per_vector),
        );
        let (mut operations, mut vectors, mut nonzeros) = (0, 0, 0);
        for c in 0..layer.source.channels.len() {
            let of_channel: u64 = weights.per_tap(c).iter().sum();
            let channel = layer.source.channels.begin + c;
            let activations = stored(search, layer.source.tensor, Span::new(channel, channel + 1));
            operations += of_channel.div_ceil(f) * activations.div_ceil(i);
            vectors += of_channel.div_ceil(f);
            nonzeros += of_channel;
        }
        let pes = u64::from(machine.pe_count());
        let multipliers = pes * u64::from(machine.multipliers_per_pe());
        let useful = useful(search, operation, layer, conv).div_ceil(multipliers);
        // Phases of a stride meet the taps of their residue alone.
        let every_pair = [&conv.y, &conv.x]
            .iter()
            .all(|axis| axis.stride == 1 && axis.upsample == 1);
        let by_vectors = if every_pair {
            operations.div_ceil(pes)
        } else {
            0
        };
        let weight_bits = nonzeros * u64::from(machine.weight_format().element_bits());
        let elements = from_dram(search, layer) + to_dram(search, layer);
        let bits = weight_bits + elements * u64::from(machine.activation_format().element_bits());
        Self {
            useful,
            vectors: by_vectors.max(useful),
            bus: vectors.div_ceil(u64::from(machine.weights.bus_vectors_per_cycle)),
            dram: ((bits / 8) as f64 / machine.dram_bytes_per_cycle()).floor() as u64,
        }
    }
}

/// Products of two non-zeros that stay inside the plane.
fn useful(search: &Search<'_>, operation: usize, layer: &IntLayer, conv: &IntConv) -> u64 {
    let Some(weights) = &search.network.nonzeros[operation] else {
        return 0;
    };
    let [n, _, h, w] = search.network.tensor(layer.source.tensor).shape;
    let landing = Landing::new(layer, conv, [n, h, w]);
    let mut useful = 0;
    for c in 0..layer.source.channels.len() {
        for (tap, of_tap) in weights.per_tap(c).into_iter().enumerate() {
            if of_tap > 0 {
                useful += of_tap * landing.count(search.occupancy, c, tap);
            }
        }
    }
    useful
}

/// The non-zero activations whose product with a weight stays inside the plane.
pub(super) struct Landing {
    source: View,
    images: Span,
    /// By row of the kernel: rows of the source.
    rows: Vec<Vec<u32>>,
    /// By column of the kernel: columns of the source, as a mask.
    cols: Vec<Vec<u64>>,
}

impl Landing {
    /// For a convolution whose source has `n` images of `h` rows and `w` columns.
    pub(super) fn new(layer: &IntLayer, conv: &IntConv, [n, h, w]: [u32; 3]) -> Self {
        let rows =
            (0..conv.y.kernel).map(|r| (0..h).filter(|&y| conv.y.output(y, r).is_some()).collect());
        let cols = (0..conv.x.kernel)
            .map(|s| column_mask(w, (0..w).filter(|&x| conv.x.output(x, s).is_some())));
        Self {
            source: layer.source,
            images: Span::new(0, n),
            rows: rows.collect(),
            cols: cols.collect(),
        }
    }

    /// Activations that land for a weight of input channel `c` of the source view at `tap`.
    pub(super) fn count(&self, occupancy: &Occupancy, c: u32, tap: usize) -> u64 {
        let (row, col) = (tap / self.cols.len(), tap % self.cols.len());
        let channel = self.source.channels.begin + c;
        let (tensor, images) = (self.source.tensor, self.images);
        occupancy.nonzeros(tensor, channel, images, &self.rows[row], &self.cols[col])
    }
}

/// Elements of the source that come from DRAM whatever the mapping.
fn from_dram(search: &Search<'_>, layer: &IntLayer) -> u64 {
    let tensor = layer.source.tensor;
    let mut readers = 0;
    let mut written = false;
    for other in search.network.layers() {
        readers += u32::from(other.source.tensor == tensor);
        readers += u32::from(
            other
                .operand
                .is_some_and(|operand| operand.view.tensor == tensor),
        );
        written |= other.destination.tensor == tensor;
    }
    crossing(search, layer.source, !written && readers == 1)
}

/// Elements of the result that go to DRAM whatever the mapping.
fn to_dram(search: &Search<'_>, layer: &IntLayer) -> u64 {
    let tensor = layer.destination.tensor;
    let writers = search
        .network
        .layers()
        .filter(|other| other.destination.tensor == tensor);
    let all = writers.count() == 1 && search.crosses_border(tensor);
    crossing(search, layer.destination, all)
}

/// Elements of a view: all, or those that exceed all RAMs together.
fn crossing(search: &Search<'_>, view: View, all: bool) -> u64 {
    let elements = stored(search, view.tensor, view.channels);
    let rams: u64 = [Memory::A, Memory::B]
        .iter()
        .map(|ram| search.machine.ram_elements(*ram))
        .sum();
    let held = if all {
        0
    } else {
        rams * u64::from(search.machine.pe_count())
    };
    elements.saturating_sub(held)
}

/// Non-zeros in some channels of a tensor.
fn stored(search: &Search<'_>, tensor: TensorId, channels: Span) -> u64 {
    let [n, _, h, w] = search.network.tensor(tensor).shape;
    let (rows, all): (Vec<u32>, _) = ((0..h).collect(), column_mask(w, 0..w));
    let of_channel = |channel| {
        search
            .occupancy
            .nonzeros(tensor, channel, Span::new(0, n), &rows, &all)
    };
    channels.iter().map(of_channel).sum()
}
