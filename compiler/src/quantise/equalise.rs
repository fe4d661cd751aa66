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
//! operand that is added     the shifts of the sum, channel by channel, or all of them so many further
//! operand that multiplies   none; the product has the shifts of its source, and none where that is changed before
//! average by itself         the shifts of its source (its factor belongs to the mean, not to the values)
//! table                     up to [`MOST_OF_TABLE`], as far as its argument is as much smaller: the PPU holds a table for
//!                           each; none for its result and its operand where it has one
//! clamp                     as far as its upper bound, in the finest unit, cuts nothing; none with a bound below 0
//! grid of the model's own   none, and none for what is rounded to it: it says what the integers are
//! ```
//!
//! Channels that must agree form a class, which has the least shift of its members. What one factor serves may be apart by
//! a factor: an operand that is a small part of a concatenation has all of its channels' shifts as much larger than the
//! sum's as all of them allow, its **distance**. A channel
//! keeps [`GUARD`] octaves more room than the tensor as a whole does, and more where few values were seen of it. A
//! shift is made only where it pays: where the rounding noise behind the readers of the tensors concerned falls by
//! [`LEAST_GAIN_DB`] in the mean of their channels. Tensors with channels of like range stay as they are.

use super::Tensor;
use super::ppu::has_few_values;
use super::scales::SMALLEST;
use super::storage::Storage;
use crate::calibrate::{self, Calibration};
use crate::graph::{Affine, Conv, Function, Graph, Layer, NodeId, Op};
use petgraph::unionfind::UnionFind;
use scnn_isa::arith::table::MAX_TABLES;
use scnn_isa::arith::{MAX_CHANNEL_SHIFT, channel_unit};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::{OperandKind, PoolKind, View};
use scnn_isa::plane::Span;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Octaves of room that a channel has beyond the headroom of the tensor: fewer values were seen of it.
const GUARD: f32 = 1.0;

/// Decibels by which the noise behind the readers must fall.
const LEAST_GAIN_DB: f64 = 3.0;

/// Largest shift of a table's result: with all below it, there are as many as the PPU has tables.
const MOST_OF_TABLE: u8 = MAX_TABLES as u8 - 1;

/// What shifts depend on.
#[derive(Clone, Copy)]
pub(super) struct Shares<'a> {
    pub graph: &'a Graph,
    pub storage: &'a Storage,
    pub calibration: &'a Calibration,
    /// In the tensors' scales already.
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
                // In the finest unit as many more units are below zero.
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
        let below = |tensor: &String, channel: usize| {
            let octaves = calibration.channels.get(tensor);
            let octaves = octaves.and_then(|octaves| octaves.0.get(channel));
            f32::from(octaves.copied().unwrap_or(0)) - GUARD
        };
        // The finest unit is a normal float, with room for its products.
        let largest = (reach / SMALLEST)
            .log2()
            .clamp(0.0, f32::from(MAX_CHANNEL_SHIFT));
        let argument = node.op.argument();
        let limit = |channel: usize| {
            let octaves = below(&node.tensor, channel) + room.log2();
            // A table spans as much less of the argument.
            let of_argument = argument.map_or(f32::INFINITY, |tensor| below(tensor, channel));
            let octaves = octaves.min(of_argument).floor();
            octaves.clamp(0.0, largest) as u8
        };
        (0..channels).map(limit).collect()
    }

    /// What a layer asks of the shifts of what it reads and writes; see the module's head.
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
                OperandKind::Add if table => classes.forbid(operand),
                OperandKind::Add => classes.tie(operand, destination, Apart::AsTheyAllow),
                OperandKind::Multiply => {
                    classes.forbid(operand);
                    match (as_read, table) {
                        (true, true) => classes.forbid(source),
                        (true, false) => classes.tie(source, destination, Apart::Not),
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
            classes.tie(source, destination, Apart::Not);
        }
    }
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

/// How far apart the shifts of two views may be that must agree channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    /// The same number in all channels.
    AsTheyAllow,
    Not,
}

/// Two ranges of channels that must agree.
struct Tie {
    channels: [Range<usize>; 2],
    apart: Apart,
}

/// Channels whose shifts must agree, and the tensors that decide together.
struct Classes {
    /// Of the first channel of every tensor among all channels of all tensors.
    first: Vec<usize>,
    channels: UnionFind<usize>,
    groups: UnionFind<usize>,
    /// By channel: what is known so far, and whether it may have a shift.
    limits: Vec<u8>,
    forbidden: Vec<bool>,
    /// By channel: whether a table writes it.
    of_tables: Vec<bool>,
    /// What was written as one.
    parts: Vec<Range<usize>>,
    ties: Vec<Tie>,
}

impl Classes {
    fn new(tensors: &[Tensor]) -> Self {
        let mut all = 0;
        let first = tensors.iter().map(|tensor| {
            let first = all;
            all += tensor.shape[1] as usize;
            first
        });
        let first = first.collect();
        Self {
            first,
            channels: UnionFind::new(all),
            groups: UnionFind::new(tensors.len()),
            limits: vec![0; all],
            forbidden: vec![false; all],
            of_tables: vec![false; all],
            parts: Vec::new(),
            ties: Vec::new(),
        }
    }

    fn of(&self, view: View) -> Range<usize> {
        let first = self.first[view.tensor.index()];
        first + view.channels.begin as usize..first + view.channels.end as usize
    }

    /// Notes what the channels of a view allow; of a concatenation in a concatenation, its parts say more.
    fn limit(&mut self, view: View, limits: &[u8]) {
        let channels = self.of(view);
        for (limit, &other) in self.limits[channels.clone()].iter_mut().zip(limits) {
            *limit = other.max(*limit);
        }
        self.parts.push(channels);
    }

    fn forbid(&mut self, view: View) {
        let channels = self.of(view);
        self.forbidden[channels].fill(true);
    }

    /// Notes that a table writes a view.
    fn of_table(&mut self, view: View) {
        let channels = self.of(view);
        self.of_tables[channels].fill(true);
    }

    fn tie(&mut self, a: View, b: View, apart: Apart) {
        self.groups.union(a.tensor.index(), b.tensor.index());
        let channels = [self.of(a), self.of(b)];
        for (a, b) in channels[0].clone().zip(channels[1].clone()) {
            self.channels.union(a, b);
        }
        self.ties.push(Tie { channels, apart });
    }

    fn group(&mut self, tensor: usize) -> usize {
        self.groups.find_mut(tensor)
    }

    /// The shifts of every tensor's channels: their distance, and the least that the limits of their class leave beyond it.
    fn shifts(&mut self, tensors: &[Tensor]) -> Vec<Vec<u8>> {
        let limits: Vec<u8> = (0..self.limits.len()).map(|c| self.allowed(c)).collect();
        let distances = self.distances(&limits);
        let classes: Vec<usize> = (0..limits.len())
            .map(|c| self.channels.find_mut(c))
            .collect();
        let mut least = vec![u8::MAX; limits.len()];
        for (channel, &class) in classes.iter().enumerate() {
            least[class] = least[class].min(limits[channel] - distances[channel]);
        }
        let of_tensor = |(tensor, &first): (&Tensor, &usize)| {
            let channels = first..first + tensor.shape[1] as usize;
            channels.map(|c| distances[c] + least[classes[c]]).collect()
        };
        tensors.iter().zip(&self.first).map(of_tensor).collect()
    }

    /// The largest shift of a channel that is asked alone.
    fn allowed(&self, channel: usize) -> u8 {
        match (self.forbidden[channel], self.of_tables[channel]) {
            (true, _) => 0,
            (false, true) => self.limits[channel].min(MOST_OF_TABLE),
            (false, false) => self.limits[channel],
        }
    }

    /// By channel, how much further than its class it is shifted: as far as all of what is written as one and of what is tied
    /// as one allow. The same within every view that is tied, so that one factor serves it.
    fn distances(&self, limits: &[u8]) -> Vec<u8> {
        let mut distances = limits.to_vec();
        let lower = |distances: &mut [u8], ranges: &[Range<usize>]| {
            let all = || ranges.iter().flat_map(Clone::clone);
            let least = all().map(|c| distances[c]).min().unwrap_or(0);
            let mut lowered = false;
            for channel in all() {
                lowered |= distances[channel] > least;
                distances[channel] = least;
            }
            lowered
        };
        // What is written in parts is not written as one.
        let inside = |part: &Range<usize>, other: &Range<usize>| {
            other.len() < part.len() && part.start <= other.start && other.end <= part.end
        };
        let whole = |part: &&Range<usize>| !self.parts.iter().any(|other| inside(part, other));
        for part in self.parts.iter().filter(whole) {
            lower(&mut distances, std::slice::from_ref(part));
        }
        // Each round lowers one or is the last.
        loop {
            let lowered = self
                .ties
                .iter()
                .fold(false, |lowered, tie| match tie.apart {
                    Apart::Not => lowered | lower(&mut distances, &tie.channels),
                    Apart::AsTheyAllow => {
                        let [a, b] = &tie.channels;
                        let a = lower(&mut distances, std::slice::from_ref(a));
                        lowered | a | lower(&mut distances, std::slice::from_ref(b))
                    }
                });
            if !lowered {
                return distances;
            }
        }
    }
}

/// By how much noise falls, in decibels: the sum over channels, and their number.
#[derive(Clone, Copy, Debug, Default)]
struct Gain {
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

    fn pays(&self) -> bool {
        self.decibels >= LEAST_GAIN_DB * f64::from(self.channels)
    }
}

/// What shifts are worth to each group of tensors: the rounding noise in what is made of them.
fn gains(
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

    /// A reader that makes every channel of what it reads into one of `destination`.
    fn read_alike(&mut self, source: View, destination: View) {
        let rounding = self.rounding;
        if rounding.is_shifted(source) {
            let channels = 0..source.channels.len() as usize;
            let arriving: Vec<Noise> = channels.map(|c| rounding.noise(source, c)).collect();
            self.add(source, &arriving, destination);
        }
    }

    /// The host reads values as they are.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Octaves;
    use crate::graph::expression::{Expression, Unary};
    use crate::graph::weights::Weights;
    use crate::graph::{Curve, Op, Operand, Pool};
    use crate::quantise::observed::{Observed, layer, rectifier};
    use crate::quantise::{IntFunction, Operation};
    use scnn_isa::layer::OperandShape;
    use scnn_isa::plane::Axis;

    const SEEN: (f32, f64) = (1.0, 1.0);

    fn octaves(observed: &mut Observed, name: &str, octaves: &[u8]) {
        let octaves = Octaves(octaves.to_vec());
        observed
            .calibration
            .channels
            .insert(name.to_owned(), octaves);
    }

    /// The shifts of a tensor, all of them 0 where there are none.
    fn shifts(observed: &Observed, name: &str) -> Vec<u8> {
        let network = observed.network().unwrap();
        let tensor = network.tensors.iter().find(|tensor| tensor.name == name);
        let tensor = tensor.unwrap();
        let shift = |channel| scnn_isa::arith::channel_shift(&tensor.channel_shifts, channel);
        (0..tensor.shape[1]).map(shift).collect()
    }

    fn enlarge(factors: [f32; 2]) -> Op {
        layer(|layer| {
            let (scale, offset) = (factors.to_vec(), vec![0.0; 2]);
            layer.affine = Some(Affine { scale, offset });
        })
    }

    /// `x`, its rectified form `r` whose second channel is small, and `y`, what `op` makes of it.
    fn chain(small: u8, op: Op) -> Observed {
        let mut observed = Observed::default();
        let x = observed.add(("x", 2), SEEN, Op::Input, &[]);
        let r = observed.add(("r", 2), SEEN, rectifier(), &[x]);
        let y = observed.add(("y", 2), SEEN, op, &[r]);
        observed.output("y", y);
        octaves(&mut observed, "r", &[0, small]);
        observed
    }

    #[test]
    fn a_small_channel_that_is_enlarged_gets_its_bits_back_but_for_the_guard() {
        let observed = chain(7, enlarge([1.0, 128.0]));
        assert_eq!(shifts(&observed, "r"), [0, 6]);
        assert_eq!(shifts(&observed, "y"), [0, 0]);
    }

    #[test]
    fn channels_within_a_factor_of_four_stay_as_they_are() {
        for small in 0..=2 {
            let observed = chain(small, enlarge([1.0, 4.0]));
            assert!(
                observed.network().unwrap().tensors[1]
                    .channel_shifts
                    .is_empty()
            );
        }
    }

    /// Where all channels are added up, the noise of the large ones remains.
    #[test]
    fn nothing_changes_where_nothing_is_gained() {
        let sum = layer(|layer| {
            layer.conv = Some(Conv {
                weights: Weights::from(vec![1.0; 4]),
                k: 2,
                c: 2,
                groups: 1,
                y: Axis::identity(2),
                x: Axis::identity(2),
            });
        });
        assert_eq!(shifts(&chain(7, sum), "r"), [0, 0]);
    }

    #[test]
    fn a_table_s_result_has_shifts_as_far_as_its_argument_is_known_to_be_small() {
        let of_argument = |small: u8| {
            let tanh = layer(|layer| {
                layer.function = Some(Function::Curve(Curve {
                    expression: Expression::unary(Unary::Tanh, Expression::X),
                    argument: "r".to_owned(),
                }));
            });
            let mut observed = chain(small, tanh);
            let y = observed.graph.dag.node_indices().next_back().unwrap();
            let z = observed.add(("z", 2), SEEN, enlarge([1.0, 128.0]), &[y]);
            observed.output("z", z);
            octaves(&mut observed, "y", &[0, 9]);
            let network = observed.network().unwrap();
            let tables = network
                .operations
                .iter()
                .find_map(|operation| match operation {
                    Operation::Layer(layer) => match &layer.function {
                        Some(IntFunction::Table { tables, .. }) => Some(tables.clone()),
                        _ => None,
                    },
                    Operation::Host(_) => None,
                });
            let served: Vec<u8> = tables.unwrap().iter().map(|(shift, _)| shift).collect();
            (shifts(&observed, "y"), served)
        };
        assert_eq!(of_argument(9), (vec![0, 7], vec![0, 7]));
        assert_eq!(of_argument(6), (vec![0, 5], vec![0, 5]));
        assert_eq!(of_argument(0), (vec![0, 0], vec![0]));
    }

    #[test]
    fn what_is_added_has_the_shifts_of_the_sum() {
        let shifts_of_sum = |of_other: u8| {
            let mut observed = chain(7, enlarge([1.0, 128.0]));
            let r = observed.graph.dag.node_indices().nth(1).unwrap();
            let other = observed.add(("other", 2), SEEN, rectifier(), &[r]);
            let add = |layer: &mut Layer| {
                layer.operand = Some(Operand {
                    kind: OperandKind::Add,
                    shape: OperandShape::Same,
                    value: "r".to_owned(),
                });
            };
            let sum = observed.add(("sum", 2), SEEN, layer(add), &[r, other]);
            observed.output("sum", sum);
            octaves(&mut observed, "other", &[0, of_other]);
            octaves(&mut observed, "sum", &[0, 7]);
            ["other", "sum"].map(|name| shifts(&observed, name)[1])
        };
        assert_eq!(shifts_of_sum(7), [6, 6]);
        assert_eq!(shifts_of_sum(5), [4, 4]);
    }

    #[test]
    fn an_average_has_the_shifts_of_its_source() {
        let pool = layer(|layer| {
            let axis = Axis {
                kernel: 2,
                output: 1,
                ..Axis::identity(2)
            };
            layer.pool = Some(Pool {
                kind: PoolKind::Average,
                y: axis,
                x: axis,
            });
        });
        let mut observed = chain(7, pool);
        observed.graph.dag.node_weights_mut().last().unwrap().dims = vec![1, 2, 1, 1];
        octaves(&mut observed, "y", &[0, 5]);
        assert_eq!(["r", "y"].map(|name| shifts(&observed, name)[1]), [4, 4]);
    }

    #[test]
    fn an_upper_bound_cuts_nothing_of_a_shifted_channel_and_a_lower_one_forbids_shifts() {
        let of_bounds = |bounds| {
            let mut observed = chain(7, enlarge([1.0, 128.0]));
            let r = observed.graph.dag.node_indices().nth(1).unwrap();
            observed.graph.dag[r].op = layer(|layer| layer.clamp = Some(bounds));
            shifts(&observed, "r")[1]
        };
        assert_eq!(of_bounds((0.0, 6.0)), 6);
        // The bound lies an octave below what was seen, and the tensor's unit as much and its headroom lower.
        assert_eq!(of_bounds((0.0, 0.5)), 4);
        assert_eq!(of_bounds((-1.0, 1.0)), 0);
    }

    /// Nothing is known of the channels, but one part is so much smaller than the other.
    #[test]
    fn a_small_part_of_a_concatenation_is_shifted_as_a_whole() {
        let of_large = |reach: f32| {
            let mut observed = Observed::default();
            let x = observed.add(("x", 2), SEEN, Op::Input, &[]);
            let large = observed.add(("large", 2), (reach, 1.0), rectifier(), &[x]);
            let small = observed.add(("small", 2), SEEN, rectifier(), &[x]);
            let all = observed.add(("all", 4), (reach, 1.0), Op::Concat, &[large, small]);
            observed.output("all", all);
            shifts(&observed, "all")
        };
        assert_eq!(of_large(64.0), [0, 0, 5, 5]);
        // More octaves than a value has bits.
        assert_eq!(of_large(2f32.powi(37)), [0, 0, 36, 36]);
        assert_eq!(of_large(2f32.powi(90))[2], MAX_CHANNEL_SHIFT);
    }

    /// The host reads a range of channels, which is copied for it.
    #[test]
    fn a_copy_reads_what_it_copies() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 3), SEEN, Op::Input, &[]);
        let r = observed.add(("r", 3), SEEN, rectifier(), &[x]);
        let y = observed.add(("y", 2), SEEN, Op::Slice(Span::new(1, 3)), &[r]);
        observed.output("y", y);
        octaves(&mut observed, "r", &[0, 5, 7]);
        octaves(&mut observed, "y", &[5, 7]);
        assert_eq!(shifts(&observed, "r"), [0, 4, 6]);
        assert_eq!(shifts(&observed, "y"), [4, 6]);
    }

    #[test]
    fn a_reader_s_weights_are_in_the_units_of_what_it_reads() {
        let observed = chain(7, enlarge([1.0, 128.0]));
        let network = observed.network().unwrap();
        let from = network
            .tensors
            .iter()
            .find(|tensor| tensor.name == "r")
            .unwrap();
        let conv = |groups, weights: &[f32]| Conv {
            weights: Weights::from(weights.to_vec()),
            k: 2,
            c: 2,
            groups,
            y: Axis::identity(2),
            x: Axis::identity(2),
        };
        let dense = conv(1, &[1.0, 64.0, 3.0, -64.0]);
        assert_eq!(
            of_units(&dense, from, Span::new(0, 2))[..],
            [1.0, 1.0, 3.0, -1.0]
        );
        let by_channel = conv(2, &[1.0, 64.0]);
        assert_eq!(of_units(&by_channel, from, Span::new(0, 2))[..], [1.0, 1.0]);
    }
}
