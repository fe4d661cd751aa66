//! From the float graph to integers: storage of every tensor, scales, fixed-point weights and requantisation.
//!
//! Symmetric, zero point 0, so that zeros stay zeros. Activations have one scale per tensor, from calibrated ranges
//! with [`Options::headroom`], halved in channels of much smaller range (the module `equalise`); weights one per output
//! channel. A 32-bit product does not fit a 24-bit sum, so every
//! layer has a **product shift**, with which no sum can overflow: proven from the sum of the weights'
//! magnitudes and the range of the activations (a `ReLU`'s output has only one sign, which halves it), or, with
//! [`Ranges::Calibrated`], from the sums observed in calibration and a margin. The units of weights are chosen
//! with it ([`weights`]).
//!
//! The result, [`Quantised`], is what the interpreter executes and what mapping distributes. Concatenations and
//! channel slices are gone: producers write into, and consumers read from, channel ranges of one tensor.

mod equalise;
mod exact;
mod layers;
pub mod nonzeros;
#[cfg(test)]
pub(crate) mod observed;
mod ppu;
mod scales;
mod stages;
pub mod storage;
mod table;
pub mod weights;

use crate::calibrate::Calibration;
use crate::graph::Graph;
use crate::widths::{WidthError, Widths};
use layers::Builder;
use nonzeros::NonzeroWeights;
use scales::Scales;
use scnn_host::RuntimeName;
use scnn_isa::arith::{self, Requantise, Rounding, Tables};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::{Approximation, PoolKind, View};
use scnn_isa::machine::Machine;
use scnn_isa::placement::Placement;
use scnn_isa::plane::{Axis, Span};
use scnn_isa::program::{Dtype, Ranges};
use scnn_isa::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::Storage;
use thiserror::Error;
use tract_onnx::pb::ModelProto;
use weights::Interned;

/// Choices of quantisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Bits of activations and weights.
    pub widths: Widths,
    /// Factor on the calibrated range of every activation tensor: room for inputs that were not calibrated. Absent:
    /// what the calibration's method asks for, see [`crate::calibrate::Method::headroom`].
    pub headroom: Option<f32>,
    /// Whether sums are proven to stay in the accumulators, or were seen to.
    pub ranges: Ranges,
    /// Factor on the observed sums where they count.
    pub sum_margin: f32,
}

impl Default for Options {
    fn default() -> Self {
        // A sum grows with its inputs, which saturate at the headroom; the margin is above the usual one of that.
        Self {
            widths: Widths::default(),
            headroom: None,
            ranges: Ranges::Proven,
            sum_margin: 2.0,
        }
    }
}

/// Why a graph cannot be quantised.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum QuantiseError {
    /// The calibration has no range for a tensor.
    #[error("the calibration has no range for tensor `{tensor}` (node `{node}`)")]
    MissingRange {
        /// The tensor.
        tensor: String,
        /// The node that computes it.
        node: String,
        /// A name in the calibration that is none of the model's and looks like it.
        misnamed: Option<String>,
    },
    /// Sums shall be as calibrated, and the calibration has none for a layer.
    #[error("the calibration has no sums for layer `{layer}`")]
    MissingSums {
        /// The layer.
        layer: String,
    },
    /// Widths do not fit the graph or the machine.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// No product shift keeps the sums in the accumulator.
    #[error(
        "layer `{layer}` adds {products} products per output; no product shift keeps them in {bits} bits"
    )]
    Accumulator {
        /// The layer.
        layer: String,
        /// Products per output.
        products: u64,
        /// Bits of the accumulator.
        bits: u32,
    },
    /// An operator in a place that the machine has no storage for.
    #[error("node `{node}`: {reason}")]
    Unstorable {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
}

/// The integer network.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// Model name.
    pub name: String,
    /// Activation tensors.
    pub tensors: Vec<Tensor>,
    /// What is executed, in order.
    pub operations: Vec<Operation>,
    /// By operation, the non-zeros of its weights; none where it has none.
    pub nonzeros: Vec<Option<Arc<NonzeroWeights>>>,
    /// Tensors that cross the host's border or stay on the host.
    pub values: Vec<Value>,
    /// Indices into `values` of the program's inputs.
    pub inputs: Vec<usize>,
    /// Indices into `values` of the program's outputs.
    pub outputs: Vec<usize>,
}

/// An activation tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// ONNX name.
    pub name: String,
    /// N, C, H, W.
    pub shape: [u32; 4],
    /// Real value of one unit, before [`Self::channel_shifts`].
    pub scale: f32,
    /// By channel, how many times its unit is halved; empty where none is.
    pub channel_shifts: Vec<u8>,
    /// Smallest and largest value.
    pub range: [i16; 2],
    /// How results are rounded to its units: to even where they are the model's own.
    pub rounding: Rounding,
    /// Share of non-zeros in calibration, 0..=1.
    pub density: f64,
}

impl Tensor {
    /// Real value of one unit of a channel.
    pub fn unit(&self, channel: u32) -> f32 {
        arith::channel_unit(self.scale, &self.channel_shifts, channel)
    }

    /// How often a channel's unit is halved.
    pub fn channel_shift(&self, channel: u32) -> u8 {
        arith::channel_shift(&self.channel_shifts, channel)
    }

    /// Whether two ranges of as many channels have the same channel shifts.
    pub(crate) fn shifts_equal(&self, channels: Span, other: &Self, others: Span) -> bool {
        let mut pairs = channels.iter().zip(others.iter());
        pairs
            .all(|(channel, of_other)| self.channel_shift(channel) == other.channel_shift(of_other))
    }
}

/// A host-visible tensor.
#[derive(Clone, Debug)]
pub struct Value {
    /// ONNX name.
    pub name: String,
    /// Element type that host segments see.
    pub dtype: Dtype,
    /// Element type of the model's input or output, where it is another.
    pub declared: Option<Dtype>,
    /// Extents.
    pub dims: Vec<u64>,
    /// The machine tensor that carries it.
    pub tensor: Option<TensorId>,
    /// How its values lie in that tensor, where not in row-major order.
    pub placement: Option<Placement>,
}

/// One operation of the network.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A layer of the machine.
    Layer(Box<IntLayer>),
    /// A host segment.
    Host(Box<HostOperation>),
}

impl Operation {
    /// The layer, unless the host runs the operation.
    pub fn layer(&self) -> Option<&IntLayer> {
        match self {
            Self::Layer(layer) => Some(layer),
            Self::Host(_) => None,
        }
    }

    /// The host segment, unless the machine runs the operation.
    pub fn segment(&self) -> Option<&HostOperation> {
        match self {
            Self::Host(segment) => Some(segment),
            Self::Layer(_) => None,
        }
    }
}

impl Quantised {
    /// The layers of the machine, in the order of execution.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = &IntLayer> {
        self.operations.iter().filter_map(Operation::layer)
    }

    /// The host segments, in the order of execution.
    pub fn segments(&self) -> impl Iterator<Item = &HostOperation> {
        self.operations.iter().filter_map(Operation::segment)
    }
}

/// A host segment: a sub-model and the values it reads and writes.
#[derive(Clone, Debug)]
pub struct HostOperation {
    /// Name.
    pub name: String,
    /// ONNX nodes it runs.
    pub onnx_nodes: Vec<String>,
    /// The runtime that it needs.
    pub runtime: RuntimeName,
    /// The sub-model.
    pub model: ModelProto,
    /// Indices into [`Quantised::values`].
    pub inputs: Vec<usize>,
    /// Likewise.
    pub outputs: Vec<usize>,
}

/// A layer in integers.
#[derive(Clone, Debug)]
pub struct IntLayer {
    /// Unique name.
    pub name: String,
    /// ONNX nodes it computes.
    pub onnx_nodes: Vec<String>,
    /// ONNX tensor that it computes.
    pub tensor: String,
    /// How the values of that tensor lie in the destination, where not in row-major order.
    pub placement: Option<Placement>,
    /// What is read.
    pub source: View,
    /// What is written.
    pub destination: View,
    /// The convolution.
    pub conv: Option<IntConv>,
    /// Left shift of what is read, where there is no convolution.
    pub source_shift: u8,
    /// Bias and factor of every output channel.
    pub requantise: Vec<Requantise>,
    /// How requantisation, operand and average are rounded.
    pub rounding: Rounding,
    /// What is divided by before it is rounded to even.
    pub divisor: f32,
    /// A second tensor.
    pub operand: Option<IntOperand>,
    /// Activation function.
    pub function: Option<IntFunction>,
    /// Bounds of the result.
    pub clamp: [i16; 2],
    /// Pooling.
    pub pool: Option<IntPool>,
}

/// A convolution in integers.
#[derive(Clone, Debug)]
pub struct IntConv {
    /// `[K, C / groups, R, S]`, row-major; one for all layers with the same.
    pub weights: Arc<Vec<i16>>,
    /// Groups.
    pub groups: u32,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
    /// Rounding of every product.
    pub product_shift: u8,
}

/// An operand of a layer in integers: [`scnn_isa::layer::Operand`].
pub type IntOperand = scnn_isa::layer::Operand;

/// A function of one value in integers.
#[derive(Clone, Debug, PartialEq)]
pub enum IntFunction {
    /// Factors of negative values, per channel.
    Leaky {
        /// Multiples of `2^(exponent - 15)`.
        slopes: Vec<i16>,
        /// See `slopes`.
        exponent: u8,
    },
    /// Straight lines between knots.
    Table {
        /// The lines, by channel shift of the result.
        tables: Tables,
        /// The function that they come near.
        approximates: Approximation,
    },
}

/// Pooling in integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntPool {
    /// Kind.
    pub kind: PoolKind,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
    /// Factor.
    pub multiplier: i32,
    /// Shift.
    pub shift: u8,
}

impl Quantised {
    /// The tensor of that id.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }
}

/// Quantises `graph`.
///
/// # Errors
/// A tensor without a calibrated range, or a layer whose sums fit no accumulator.
pub fn quantise(
    graph: &Graph,
    calibration: &Calibration,
    machine: &Machine,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Quantised, QuantiseError> {
    let storage = Storage::assign(graph)?;
    let operand_bits = machine.pe.operand_bits;
    let widths = options.widths.resolve(graph, operand_bits)?;
    let headroom = options
        .headroom
        .unwrap_or_else(|| calibration.method.headroom());
    let scales = Scales {
        graph,
        calibration,
        widths: &widths,
        operand_bits,
        headroom,
    };
    let mut tensors = scales.tensors(&storage)?;
    scales::bound_units(graph, &storage, &mut tensors);
    let shares = equalise::Shares {
        graph,
        storage: &storage,
        calibration,
        headroom,
    };
    shares.shift_channels(&mut tensors);
    let mut builder = Builder {
        graph,
        storage: &storage,
        machine,
        options,
        calibration,
        widths: &widths,
        headroom,
        network: Quantised {
            name: graph.name.clone(),
            tensors,
            operations: Vec::new(),
            nonzeros: Vec::new(),
            values: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        },
        values: BTreeMap::new(),
        names: BTreeMap::new(),
        taken: BTreeSet::new(),
        weights: Interned::default(),
    };
    for &input in &graph.inputs {
        let value = builder.value(input);
        builder.network.inputs.push(value);
    }
    let order = graph.order();
    for (position, &id) in order.iter().enumerate() {
        progress.layer(position + 1, order.len(), graph.dag[id].name());
        builder.operation(id)?;
    }
    for (name, node) in &graph.outputs {
        let value = builder.named_value(name, *node);
        builder.network.outputs.push(value);
    }
    let mut network = builder.network;
    network.nonzeros = nonzeros::of_operations(&network.operations);
    Ok(network)
}
