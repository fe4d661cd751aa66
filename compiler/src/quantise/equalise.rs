//! Channels of very different range share the bits of a tensor.
//!
//! A tensor has one scale, and the largest value of any channel decides it: a channel whose values are a thousandth of
//! that has six bits left of sixteen. So the unit of a channel may be halved several times, its **channel shift**. That
//! costs the machine nothing: requantisation has a multiplier and a shift of its own for every output channel, and a
//! convolution that reads the tensor has the halvings in its weights ([`of_units`]). Powers of two keep every float as
//! it is; the graph does not change.
//!
//! Where one factor serves all channels of a layer, shifts are restricted:
//!
//! ```text
//! operand that is added     its own; the PPU aligns it with the sum, channel by channel
//! operand that multiplies   none; the product has the shifts of its source, and none where that is changed before
//! average by itself         the shifts of its source (its factor belongs to the mean, not to the values)
//! table                     up to [`classes::MOST_OF_TABLE`]: the PPU holds a table for each; [`TABLE_GUARD`] octaves less where
//!                           its argument is not as much smaller; none for its result where it has an operand
//! clamp                     as far as its upper bound, in the finest unit, cuts nothing; none with a bound below 0
//! grid of the model's own   none, and none for what is rounded to it: it says what the integers are
//! ```
//!
//! Channels that must agree form a class, which has the least shift of its members. A channel keeps [`GUARD`] octaves more
//! room than the tensor as a whole does, and more where few values were seen of it. A shift is made only where it pays:
//! where the rounding noise behind the readers of the tensors concerned falls by [`gains::LEAST_GAIN_DB`] in the mean of
//! their channels. Tensors with channels of like range stay as they are.

mod classes;
mod gains;

use super::Tensor;
use super::ppu::has_few_values;
use super::scales::SMALLEST;
use super::storage::Storage;
use crate::calibrate::{self, Calibration};
use crate::graph::{Conv, Function, Graph, Layer, NodeId, Op};
use classes::Classes;
use gains::{Gain, gains};
use scnn_isa::arith::{MAX_CHANNEL_SHIFT, channel_unit};
use scnn_isa::layer::{OperandKind, PoolKind, View};
use scnn_isa::plane::Span;
use std::borrow::Cow;

/// Octaves of room that a channel has beyond the headroom of the tensor: fewer values were seen of it.
const GUARD: f32 = 1.0;

/// Octaves of room more that a table's result has where its argument reaches further than the result tells: a GELU of values
/// that were all negative is small, and would not be of a positive one.
const TABLE_GUARD: f32 = 2.0;

/// The network and settings on which channel shifts depend.
#[derive(Clone, Copy)]
pub(super) struct Shares<'a> {
    pub graph: &'a Graph,
    pub storage: &'a Storage,
    pub calibration: &'a Calibration,
    /// Factor on observed ranges, which the tensors' scales contain.
    pub headroom: f32,
}

impl Shares<'_> {
    /// Gives the channels of `tensors` their shifts.
    pub(super) fn shift_channels(self, tensors: &mut [Tensor]) {
        let (graph, storage) = (self.graph, self.storage);
        let mut classes = Classes::new(tensors);
        for (index, tensor) in tensors.iter().enumerate() {
            let reach = tensor.scale * f32::from(tensor.range[1]) / self.headroom;
            for (writer, view) in writers(storage, index) {
                classes.limit(view, &self.limits(writer, reach));
            }
        }
        for id in graph.order() {
            if let Op::Layer(layer) = &graph.dag[id].op {
                self.restrict(tensors, (id, layer), &mut classes);
            }
        }
        let shifts = classes.shifts(tensors);
        if shifts.iter().flatten().all(|&shift| shift == 0) {
            return;
        }
        let gains = gains(graph, storage, tensors, &shifts, &mut classes);
        for (index, (tensor, shifts)) in tensors.iter_mut().zip(shifts).enumerate() {
            let pays = gains.get(&classes.group(index)).is_some_and(Gain::pays);
            let finest = shifts.iter().copied().max().unwrap_or(0);
            if pays && finest > 0 {
                // The bound below zero, counted in the finest unit.
                let lower = f32::from(tensor.range[0]) * 2f32.powi(finest.into());
                tensor.range[0] = lower.max(-f32::from(tensor.range[1])) as i16;
                tensor.channel_shifts = shifts;
            }
        }
    }

    /// By channel of a node's result, how often its unit may be halved in a tensor whose values reach to `reach`.
    fn limits(self, writer: NodeId, reach: f32) -> Vec<u8> {
        let (calibration, node) = (self.calibration, &self.graph.dag[writer]);
        let channels = node
            .shape()
            .map_or(0, |[_, channels, ..]| channels as usize);
        let none = vec![0; channels];
        let Some(range) = calibration.ranges.get(node.observed_name()) else {
            return none;
        };
        let bound = match &node.op {
            Op::Layer(layer) => match layer.clamp {
                Some((low, high)) if low == 0.0 || low == f32::NEG_INFINITY => high,
                Some(_) => return none,
                None => f32::INFINITY,
            },
            _ => f32::INFINITY,
        };
        let room = reach.min(bound) / magnitude(range);
        if node.grid.is_some() || !room.is_finite() || room <= 0.0 {
            return none;
        }
        // The finest unit is a normal float that leaves room for products with it.
        let largest = (reach / SMALLEST)
            .log2()
            .clamp(0.0, f32::from(MAX_CHANNEL_SHIFT));
        let argument = node.op.argument();
        let limit = |channel: usize| {
            let octaves = octaves_below(calibration, &node.tensor, channel) + room.log2();
            let of_argument = argument.map_or(f32::INFINITY, |tensor| {
                octaves_below(calibration, tensor, channel)
            });
            let octaves = octaves.min(of_argument.max(octaves - TABLE_GUARD));
            octaves.floor().clamp(0.0, largest) as u8
        };
        (0..channels).map(limit).collect()
    }

    /// Restricts the shifts of the tensors that a layer reads and writes, by the rules of the module's head.
    fn restrict(self, tensors: &[Tensor], (id, layer): (NodeId, &Layer), classes: &mut Classes) {
        let (graph, storage) = (self.graph, self.storage);
        let operands = graph.operands(id);
        let (source, destination) = (storage.view(operands[0]), storage.own_view(id));
        let table = match &layer.function {
            Some(Function::Leaky(_)) | None => false,
            Some(_) => true,
        };
        if table {
            if layer.operand.is_none() {
                classes.of_table(destination);
            } else {
                classes.forbid(destination);
            }
        }
        // A function of few values is a table that has each of them as it is.
        let of_few = layer.is_function_alone() && has_few_values(&tensors[source.tensor.index()]);
        if of_few || graph.dag[id].grid.is_some() {
            let views = operands.iter().map(|&operand| storage.view(operand));
            views
                .chain([destination])
                .for_each(|view| classes.forbid(view));
            return;
        }
        if let (Some(with), Some(&operand)) = (&layer.operand, operands.get(1)) {
            let operand = storage.view(operand);
            let as_read = layer.conv.is_none() && layer.affine.is_none();
            match with.kind {
                OperandKind::Add => {}
                OperandKind::Multiply => {
                    classes.forbid(operand);
                    match (as_read, table) {
                        (true, true) => classes.forbid(source),
                        (true, false) => classes.tie(source, destination),
                        (false, _) => classes.forbid(destination),
                    }
                }
            }
        }
        let averages = layer
            .pool
            .as_ref()
            .is_some_and(|pool| pool.kind != PoolKind::Max);
        if averages && layer.conv.is_none() {
            classes.tie(source, destination);
        }
    }
}

/// How many octaves a channel's values stay below the tensor's, with [`GUARD`].
pub(super) fn octaves_below(calibration: &Calibration, tensor: &str, channel: usize) -> f32 {
    let octaves = calibration.channels.get(tensor);
    let octaves = octaves.and_then(|octaves| octaves.0.get(channel));
    f32::from(octaves.copied().unwrap_or(0)) - GUARD
}

/// The weights of a convolution for values of `channels` of `from` in their channels' units.
pub(super) fn of_units<'a>(conv: &'a Conv, from: &Tensor, channels: Span) -> Cow<'a, [f32]> {
    if from.channel_shifts.is_empty() {
        return Cow::Borrowed(&conv.weights);
    }
    let mut weights = conv.weights.to_vec();
    let taps = (conv.y.kernel * conv.x.kernel) as usize;
    for (index, weights) in weights.chunks_mut(taps.max(1)).enumerate() {
        let channel = channels.begin + conv.input_channel(index);
        let factor = channel_unit(1.0, &from.channel_shifts, channel);
        for weight in weights {
            *weight *= factor;
        }
    }
    Cow::Owned(weights)
}

impl Conv {
    /// The input channel that the kernel at `index`, of all `K * C / groups`, reads.
    fn input_channel(&self, index: usize) -> u32 {
        let per_group = (self.c / self.groups).max(1);
        let (k, c) = (index as u32 / per_group, index as u32 % per_group);
        k / (self.k / self.groups).max(1) * per_group + c
    }
}

/// Who writes into a tensor, and where.
fn writers(storage: &Storage, index: usize) -> impl Iterator<Item = (NodeId, View)> {
    let here = move |view: &View| view.tensor.index() == index;
    let writers = storage.tensors[index].writers.iter();
    writers.flat_map(move |&writer| {
        let copies = storage.copies(writer).into_iter();
        let copies = copies.map(|copy| copy.destination).filter(here);
        let own = Some(storage.own_view(writer)).filter(here);
        own.into_iter()
            .chain(copies)
            .map(move |view| (writer, view))
    })
}

fn magnitude(range: &calibrate::Range) -> f32 {
    range.max.abs().max(range.min.abs())
}

#[cfg(test)]
mod tests;
