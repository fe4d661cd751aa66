//! The gain of channel shifts: the fall of the rounding noise in the results that are computed from the shifted tensors.

use super::classes::Classes;
use crate::graph::{Affine, Graph, Layer, NodeId, Op};
use crate::quantise::Tensor;
use crate::quantise::storage::Storage;
use scnn_isa::ids::TensorId;
use scnn_isa::layer::View;
use scnn_isa::plane::Span;
use std::collections::BTreeMap;

/// Decibels by which the noise behind the readers must fall.
const LEAST_GAIN_DB: f64 = 3.0;

/// A fall of noise in decibels: the sum over channels, and their number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gain {
    decibels: f64,
    channels: u32,
}

impl Gain {
    fn add(&mut self, before: f64, after: f64) {
        if before > 0.0 && after > 0.0 {
            self.decibels += 10.0 * (before / after).log10();
            self.channels += 1;
        }
    }

    pub(super) fn pays(&self) -> bool {
        self.decibels >= LEAST_GAIN_DB * f64::from(self.channels)
    }
}

/// The gain of each group of tensors: the fall of the rounding noise in the results computed from them.
pub(super) fn gains(
    graph: &Graph,
    storage: &Storage,
    tensors: &[Tensor],
    shifts: &[Vec<u8>],
    classes: &mut Classes,
) -> BTreeMap<usize, Gain> {
    let mut gains = Gains {
        rounding: Rounding { tensors, shifts },
        classes,
        of_groups: BTreeMap::new(),
    };
    for id in graph.order() {
        if let Op::Layer(layer) = &graph.dag[id].op {
            let operands = graph.operands(id);
            let destination = storage.own_view(id);
            gains.read_by_layer(layer, storage.view(operands[0]), destination);
            if let (Some(_), Some(&operand)) = (&layer.operand, operands.get(1)) {
                gains.read_alike(storage.view(operand), destination);
            }
        }
    }
    for id in graph.dag.node_indices() {
        // A channel range is copied for the host or into a concatenation.
        for copy in storage.copies(id) {
            gains.read_alike(copy.source, copy.destination);
        }
        let on_host = |&(reader, _): &(NodeId, u32)| matches!(graph.dag[reader].op, Op::Host(_));
        let for_host = graph.is_output(id) || graph.consumers(id).iter().any(on_host);
        if let Some(tensor) = storage.whole(id).filter(|_| for_host) {
            gains.read_by_host(tensor);
        }
    }
    gains.of_groups
}

/// The gains of groups of tensors, reader by reader.
struct Gains<'a> {
    rounding: Rounding<'a>,
    classes: &'a mut Classes,
    of_groups: BTreeMap<usize, Gain>,
}

impl Gains<'_> {
    fn of(&mut self, view: View) -> &mut Gain {
        let group = self.classes.group(view.tensor.index());
        self.of_groups.entry(group).or_default()
    }

    fn add(&mut self, source: View, arriving: &[Noise], destination: View) {
        let rounding = self.rounding;
        let gain = self.of(source);
        for (channel, arriving) in arriving.iter().enumerate() {
            let own = rounding.noise(destination, channel);
            gain.add(arriving.before + own.before, arriving.after + own.after);
        }
    }

    fn read_by_layer(&mut self, layer: &Layer, source: View, destination: View) {
        let rounding = self.rounding;
        if rounding.is_shifted(source) {
            let channels = source.channels.len() as usize;
            let arriving = of_sums(layer, channels, &|c| rounding.noise(source, c));
            self.add(source, &arriving, destination);
        }
    }

    /// Adds a reader that turns each channel of `source` into the like-numbered one of `destination`.
    fn read_alike(&mut self, source: View, destination: View) {
        let rounding = self.rounding;
        if rounding.is_shifted(source) {
            let channels = 0..source.channels.len() as usize;
            let arriving: Vec<Noise> = channels.map(|c| rounding.noise(source, c)).collect();
            self.add(source, &arriving, destination);
        }
    }

    /// Adds the host as a reader, which takes values as they are.
    fn read_by_host(&mut self, tensor: TensorId) {
        let channels = Span::new(0, self.rounding.tensors[tensor.index()].shape[1]);
        let view = View { tensor, channels };
        for channel in 0..channels.len() as usize {
            let noise = self.rounding.noise(view, channel);
            self.of(view).add(noise.before, noise.after);
        }
    }
}

/// How tensors are rounded, with the shifts that are considered.
#[derive(Clone, Copy)]
struct Rounding<'a> {
    tensors: &'a [Tensor],
    shifts: &'a [Vec<u8>],
}

impl Rounding<'_> {
    fn noise(self, view: View, channel: usize) -> Noise {
        let shift = self.shifts[view.tensor.index()][view.channels.begin as usize + channel];
        let unit = f64::from(self.tensors[view.tensor.index()].scale);
        Noise {
            before: unit * unit,
            after: unit * unit / 4f64.powi(shift.into()),
        }
    }

    fn is_shifted(self, view: View) -> bool {
        let channels = view.channels.begin as usize..view.channels.end as usize;
        let shifts = &self.shifts[view.tensor.index()][channels];
        shifts.iter().any(|&shift| shift > 0)
    }
}

/// Mean squares of a rounding error, but for a factor, without channel shifts and with them.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    before: f64,
    after: f64,
}

/// The noise in every sum of a layer that comes from its source's channels.
fn of_sums(layer: &Layer, channels: usize, of_source: &dyn Fn(usize) -> Noise) -> Vec<Noise> {
    let mut sums: Vec<Noise> = match &layer.conv {
        None => (0..channels).map(of_source).collect(),
        Some(conv) => {
            let taps = (conv.y.kernel * conv.x.kernel) as usize;
            let mut sums = vec![Noise::default(); conv.k as usize];
            let per_output = (conv.c / conv.groups).max(1) as usize;
            for (index, weights) in conv.weights.chunks(taps.max(1)).enumerate() {
                let squares: f64 = weights.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
                let noise = of_source(conv.input_channel(index) as usize);
                let sum = &mut sums[index / per_output];
                sum.before += squares * noise.before;
                sum.after += squares * noise.after;
            }
            sums
        }
    };
    if let Some(Affine { scale, .. }) = &layer.affine {
        for (sum, &scale) in sums.iter_mut().zip(scale) {
            let square = f64::from(scale) * f64::from(scale);
            (sum.before, sum.after) = (sum.before * square, sum.after * square);
        }
    }
    sums
}
