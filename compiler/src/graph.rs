//! The compiler's graph: typed operators over float tensors, each knowing the ONNX nodes it came from.
//!
//! Everything SCNN can compute is one kind of node, a [`Layer`]: up to six **stages** in the order in which the
//! hardware runs them,
//!
//! ```text
//! conv -> affine -> operand (residual add, gate) -> function -> clamp -> pool
//! ```
//!
//! Import makes layers of one stage (a `Relu` is a layer with only a clamp); fusion joins a layer with its only
//! consumer when the stages of both stay in that order. Elementwise operators are a [`Map`] until chains of them are
//! composed. What SCNN cannot compute is a [`HostOp`]. Edges carry the
//! operand's position; a node has one result, but a host node, whose results are [`Op::HostOutput`] nodes.

pub mod check;
pub(crate) mod computed_for;
pub mod coverage;
pub mod drop_dead;
pub mod expression;
pub mod placement;
mod print;
pub mod reason;
pub mod weights;

use expression::Expression;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use placement::Placement;
use reason::OnHost;
use scnn_host::RuntimeName;
use scnn_isa::layer::{OperandKind, OperandShape, PoolKind};
use scnn_isa::legal::{Convolution, Form, Window};
use scnn_isa::plane::{Axis, Span};
use scnn_isa::program::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::NodeProto;
use weights::Weights;

/// Index of a node.
pub type NodeId = NodeIndex<u32>;

/// A network.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The ONNX graph's name, or the file's stem.
    pub name: String,
    /// Nodes, and edges from producer to consumer labelled with the consumer's operand position.
    pub dag: StableDiGraph<Node, u32>,
    /// Graph inputs in the model's order.
    pub inputs: Vec<NodeId>,
    /// Graph outputs in the model's order: ONNX name and the node that computes it.
    pub outputs: Vec<(String, NodeId)>,
    /// Opset imports of the model (domain, version), which host segments repeat.
    pub opsets: Vec<(String, i64)>,
    /// Element types of inputs and outputs, by ONNX name, where the file declares another than is computed.
    pub declared: BTreeMap<String, Dtype>,
    /// Outputs whose extents depend on data. Their nodes have the largest that were seen when the model was typed; a run
    /// hands on what there is.
    pub open: BTreeSet<String>,
}

/// One operator and its result.
#[derive(Clone, Debug)]
pub struct Node {
    /// ONNX name of the result.
    pub tensor: String,
    /// Name under which the float model knows the values, where that is another.
    pub observed_as: Option<String>,
    /// ONNX nodes it stands for, in graph order; nameless ones are called after operator and result.
    pub onnx_nodes: Vec<String>,
    /// Element type of the result.
    pub dtype: Dtype,
    /// Extents of the result as ONNX has them.
    pub dims: Vec<u64>,
    /// How the result lies on the machine, if it can.
    pub placement: Option<Placement>,
    /// What the model itself rounds the result to, if it does.
    pub grid: Option<FixedScale>,
    /// The operator.
    pub op: Op,
}

impl Node {
    /// The first ONNX node it stands for, or its result.
    pub fn name(&self) -> &str {
        self.onnx_nodes.first().unwrap_or(&self.tensor)
    }
}

/// The multiples of a scale that a quantised model itself rounds a tensor to: once, halves to even, saturated to the
/// range. Where a tensor has none, scale and rounding are the compiler's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedScale {
    /// Real value of one unit.
    pub scale: f32,
    /// Smallest and largest multiple.
    pub range: [i16; 2],
}

impl FixedScale {
    /// Whether all of its multiples are multiples of `other`.
    pub fn lies_on(self, other: Self) -> bool {
        let inside = other.range[0] <= self.range[0] && self.range[1] <= other.range[1];
        self.scale == other.scale && inside
    }

    /// Whether a byte holds its multiples: a table has a knot for each, and rounds the function of each once.
    pub fn is_of_bytes(self) -> bool {
        let [low, high] = self.range;
        i32::from(high) - i32::from(low) < 256
    }
}

/// Operators.
#[derive(Clone, Debug)]
pub enum Op {
    /// A graph input.
    Input,
    /// Work for the array and the PPU.
    Layer(Box<Layer>),
    /// An elementwise function of its operands, which are broadcast as ONNX does; later a layer, or work for the host.
    Map(Box<Map>),
    /// Channel concatenation of all operands.
    Concat,
    /// A range of the operand's channels.
    Slice(Span),
    /// The operand under another shape or another order of its axes. It costs nothing where the result's placement is
    /// the operand's, seen so ([`Graph::is_free`]).
    Rename(Option<Transposition>),
    /// Work for the host; its result is never used directly.
    Host(Box<HostOp>),
    /// Result number `.0` of the host node that is the operand.
    HostOutput(u32),
}

impl Op {
    /// Whether the machine computes it, or holds it as a part or the whole of what it computes.
    pub fn is_of_machine(&self) -> bool {
        matches!(
            self,
            Self::Layer(_) | Self::Concat | Self::Slice(_) | Self::Rename(_)
        )
    }

    /// Whether the host computes it.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::Host(_) | Self::HostOutput(_))
    }

    /// The tensor that a layer's curve is a function of.
    pub fn argument(&self) -> Option<&String> {
        let Self::Layer(layer) = self else {
            return None;
        };
        match &layer.function {
            Some(Function::Curve(curve)) => Some(&curve.argument),
            _ => None,
        }
    }
}

/// An elementwise function of some operands.
#[derive(Clone, Debug)]
pub struct Map {
    /// Its value, of the operands in edge order.
    pub expression: Expression,
    /// The ONNX nodes that compute it, should the host have to.
    pub host: HostOp,
}

/// Another order of a tensor's axes; without one its values stay in their row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transposition {
    /// Extents of the operand.
    pub dims: Vec<u64>,
    /// Axis `i` of the result is axis `order[i]` of the operand.
    pub order: Vec<usize>,
}

impl Transposition {
    /// The values, given in row-major order, in that of the result.
    pub fn apply<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let stride = |axis: usize| self.dims[axis + 1..].iter().product::<u64>() as usize;
        let mut places = vec![0usize];
        for &axis in &self.order {
            let steps = 0..self.dims[axis] as usize;
            places = places
                .into_iter()
                .flat_map(|place| steps.clone().map(move |step| place + step * stride(axis)))
                .collect();
        }
        places.into_iter().map(|place| values[place]).collect()
    }
}

/// The stages of a layer; see the module's head for their order.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Convolution.
    pub conv: Option<Conv>,
    /// Per-channel factor and offset: bias, batch-norm, multiplication by constants.
    pub affine: Option<Affine>,
    /// What is done with operand 1.
    pub operand: Option<Operand>,
    /// Activation function beyond a clamp.
    pub function: Option<Function>,
    /// Lower and upper bound; `ReLU` is `(0, inf)`.
    pub clamp: Option<(f32, f32)>,
    /// Pooling.
    pub pool: Option<Pool>,
}

impl Layer {
    /// What it makes of which extents, for [`scnn_isa::legal`]: shapes `[N, C, H, W]` of source, operand and result.
    pub fn form(&self, source: [u32; 4], operand: Option<[u32; 4]>, destination: [u32; 4]) -> Form {
        let shape = self.operand.as_ref().map(|with| with.shape);
        Form {
            source,
            array: self.conv.as_ref().map(|conv| Convolution {
                groups: conv.groups,
                y: conv.y,
                x: conv.x,
            }),
            operand: operand.map(|extents| (shape.unwrap_or_default(), extents)),
            pool: self.pool.as_ref().map(|pool| Window {
                kind: pool.kind,
                y: pool.y,
                x: pool.x,
            }),
            destination,
        }
    }

    /// A layer that moves values as [`Conv::of_ones`].
    ///
    /// # Errors
    /// The convolution has more than 2^24 weights, zeros included.
    pub fn of_ones(
        channels: [u32; 2],
        planes: [Axis; 2],
        ones: impl IntoIterator<Item = ([u32; 2], [u32; 2])>,
    ) -> Result<Self, String> {
        let extents = channels.into_iter().chain(planes.map(|axis| axis.kernel));
        let count: u64 = extents.map(u64::from).product();
        if count > MOST_ONES {
            return Err(format!(
                "as a convolution that moves values it has {count} weights, zeros included, the array's are {MOST_ONES} at most"
            ));
        }
        Ok(Self {
            conv: Some(Conv::of_ones(channels, planes, ones)),
            ..Self::default()
        })
    }

    /// Whether it has no stage: it hands on its operand, rounded if it has a grid.
    pub fn is_empty(&self) -> bool {
        self.clamp.is_none() && self.is_at_most_clamp()
    }

    /// Whether it bounds its operand and does nothing else.
    pub fn is_clamp_alone(&self) -> bool {
        self.clamp.is_some() && self.is_at_most_clamp()
    }

    fn is_at_most_clamp(&self) -> bool {
        let before = self.conv.is_some() || self.affine.is_some() || self.operand.is_some();
        !before && self.function.is_none() && self.pool.is_none()
    }

    /// Whether the function is of the operand itself.
    pub fn is_function_alone(&self) -> bool {
        let before = self.conv.is_some() || self.affine.is_some() || self.operand.is_some();
        self.function.is_some() && !before
    }
}

/// Most weights of a convolution that moves values, zeros included.
const MOST_ONES: u64 = 1 << 24;

/// A convolution without bias (the bias is an [`Affine`]); linear layers are 1 x 1 convolutions of a 1 x 1 plane.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Weights `[K, C / groups, R, S]`, row-major.
    pub weights: Weights,
    /// Output channels K.
    pub k: u32,
    /// Input channels C.
    pub c: u32,
    /// Groups.
    pub groups: u32,
    /// Rows: R, stride, padding, extents.
    pub y: Axis,
    /// Columns: S.
    pub x: Axis,
}

impl Conv {
    /// A convolution of `[K, C]` channels whose weights are zero but for ones at `[k, c]`, `[r, s]`: it moves values.
    pub fn of_ones(
        [k, c]: [u32; 2],
        [y, x]: [Axis; 2],
        ones: impl IntoIterator<Item = ([u32; 2], [u32; 2])>,
    ) -> Self {
        let mut conv = Self {
            weights: Weights::from(Vec::new()),
            k,
            c,
            groups: 1,
            y,
            x,
        };
        let mut weights = vec![0.0; k as usize * conv.weights_per_output()];
        for ([k, c], [r, s]) in ones {
            weights[conv.index(k, c, r, s)] = 1.0;
        }
        conv.weights = Weights::from(weights);
        conv
    }

    /// Index in `weights` of output channel `k`, input channel `c` of its group, tap (`r`, `s`).
    pub fn index(&self, k: u32, c: u32, r: u32, s: u32) -> usize {
        let (per_group, rows, cols) = (self.c / self.groups, self.y.kernel, self.x.kernel);
        (((k as usize * per_group as usize + c as usize) * rows as usize) + r as usize)
            * cols as usize
            + s as usize
    }

    /// Weights of one output channel.
    pub fn weights_per_output(&self) -> usize {
        (self.c / self.groups) as usize * self.y.kernel as usize * self.x.kernel as usize
    }

    /// Multiplications for a value of the result: the mean number of non-zero weights of an output channel, rounded up.
    pub fn nonzeros_per_output(&self) -> u64 {
        let nonzeros = self.weights.iter().filter(|&&weight| weight != 0.0);
        nonzeros.count().div_ceil(self.k.max(1) as usize) as u64
    }

    /// Whether it moves values and computes none: each value of the result is one of the operand, times a weight of 1. Channels
    /// without weights are zero.
    pub fn moves_only(&self) -> bool {
        let taps = (self.y.upsample * self.x.upsample) as usize;
        let mut outputs = self.weights.chunks(self.weights_per_output().max(1));
        let mut moved = 0;
        let moves = outputs.all(|weights| {
            let mut others = weights.iter().filter(|&&weight| weight != 0.0);
            let count = others.clone().count();
            moved += count;
            [0, taps].contains(&count) && others.all(|&weight| weight == 1.0)
        });
        moves && moved > 0
    }

    /// Multiplications of a dense machine for `n` images; one for each value where only values are moved.
    pub fn macs(&self, n: u32) -> u64 {
        // A transposed convolution multiplies where its input is, not at the zeros between.
        let transposed = self.y.upsample > 1 || self.x.upsample > 1;
        let positions = |axis: &Axis| u64::from(if transposed { axis.input } else { axis.output });
        let weights = if self.moves_only() {
            u64::from(self.k) * u64::from(self.y.upsample) * u64::from(self.x.upsample)
        } else {
            self.weights.len() as u64
        };
        u64::from(n) * weights * positions(&self.y) * positions(&self.x)
    }
}

/// `value * scale + offset`, per output channel.
#[derive(Clone, Debug)]
pub struct Affine {
    /// Factors.
    pub scale: Vec<f32>,
    /// Offsets.
    pub offset: Vec<f32>,
}

/// A second tensor that meets the values of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Whether it is added, or the values are multiplied by it.
    pub kind: OperandKind,
    /// How it lies over the values.
    pub shape: OperandShape,
    /// Name of the tensor that the values are before they meet it: a product rounds them to the range that calibration
    /// observes there.
    pub value: String,
}

/// Activation functions that the PPU evaluates with a slope or a table.
#[derive(Clone, Debug)]
pub enum Function {
    /// Negative values times the channel's slope (one entry per channel).
    Leaky(Vec<f32>),
    /// Any other function of one value.
    Curve(Curve),
}

/// A function of one value that a table approximates.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its value, of operand 0.
    pub expression: Expression,
    /// Name of the tensor that it is a function of: the table spans the values that calibration observes there.
    pub argument: String,
}

/// Pooling.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Kind.
    pub kind: PoolKind,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
}

/// ONNX nodes that the host runs.
#[derive(Clone, Debug, Default)]
pub struct HostOp {
    /// The nodes, in topological order.
    pub nodes: Vec<NodeProto>,
    /// Constants they use: names and tensors.
    pub initializers: Vec<tract_onnx::pb::TensorProto>,
    /// ONNX names of the operands, in edge order.
    pub inputs: Vec<String>,
    /// Results: name, element type, extents.
    pub outputs: Vec<(String, Dtype, Vec<u64>)>,
    /// The runtime that the nodes need.
    pub runtime: RuntimeName,
    /// Why the array does not run them, one by one.
    pub reasons: Vec<OnHost>,
    /// Multiplications that they take, as a dense machine counts them.
    pub multiplications: u64,
}

impl Graph {
    /// Adds a node fed by `operands`.
    pub fn add(&mut self, node: Node, operands: &[NodeId]) -> NodeId {
        let id = self.dag.add_node(node);
        for (slot, &operand) in operands.iter().enumerate() {
            self.dag.add_edge(operand, id, slot as u32);
        }
        id
    }

    /// The operands of a node in order.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        let mut edges: Vec<_> = self
            .dag
            .edges_directed(id, Direction::Incoming)
            .map(|e| (*e.weight(), e.source()))
            .collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, source)| source).collect()
    }

    /// The consumers of a node and the operand position each uses it at, in a fixed order.
    pub fn consumers(&self, id: NodeId) -> Vec<(NodeId, u32)> {
        let mut edges: Vec<_> = self
            .dag
            .edges_directed(id, Direction::Outgoing)
            .map(|e| (e.target(), *e.weight()))
            .collect();
        edges.sort_unstable();
        edges
    }

    /// The node `id`, lying as wanted: itself, or a rename that moves its values.
    pub fn placed(&mut self, id: NodeId, wanted: Placement) -> NodeId {
        if self.dag[id].placement.as_ref() == Some(&wanted) {
            return id;
        }
        let moves = |&(reader, _): &(NodeId, u32)| {
            let reader = &self.dag[reader];
            reader.observed_as.is_some() && reader.placement.as_ref() == Some(&wanted)
        };
        if let Some((known, _)) = self.consumers(id).into_iter().find(moves) {
            return known;
        }
        let data = &self.dag[id];
        let mut tensor = format!("{}.placed", data.tensor);
        while self.dag.node_weights().any(|node| node.tensor == tensor) {
            tensor.push('\'');
        }
        let moved = Node {
            tensor,
            observed_as: Some(data.observed_name().clone()),
            onnx_nodes: Vec::new(),
            placement: Some(wanted),
            op: Op::Rename(None),
            ..data.clone()
        };
        self.add(moved, &[id])
    }

    /// Whether a rename leaves every stored value in its place.
    pub fn is_free(&self, id: NodeId) -> bool {
        let Op::Rename(transposition) = &self.dag[id].op else {
            return false;
        };
        let operand = self.operands(id).first().map(|&operand| &self.dag[operand]);
        let before = operand.and_then(|operand| operand.placement.clone());
        let seen = match (before, transposition) {
            (Some(placement), None) => Some(placement),
            (Some(before), Some(Transposition { dims, order })) => {
                placement::transposed(&before, dims, order)
            }
            (None, _) => None,
        };
        seen.is_some() && seen == self.dag[id].placement
    }

    /// Whether the array computes anything. Views alone move values, of which a program would tell nothing.
    pub fn has_layers(&self) -> bool {
        let mut nodes = self.dag.node_weights();
        nodes.any(|node| matches!(node.op, Op::Layer(_)))
    }

    /// Whether a node is a graph output.
    pub fn is_output(&self, id: NodeId) -> bool {
        self.outputs.iter().any(|(_, node)| *node == id)
    }

    /// Whether a machine node reads the result, directly or under another name.
    pub fn read_by_machine(&self, id: NodeId) -> bool {
        self.consumers(id)
            .iter()
            .any(|&(consumer, _)| match self.dag[consumer].op {
                Op::Layer(_) | Op::Concat | Op::Slice(_) => true,
                Op::Rename(_) => self.is_free(consumer) && self.read_by_machine(consumer),
                Op::Input | Op::Map(_) | Op::Host(_) | Op::HostOutput(_) => false,
            })
    }

    /// Nodes in a topological order that depends on nothing but the graph: ready nodes by index.
    pub fn order(&self) -> Vec<NodeId> {
        let mut missing: std::collections::BTreeMap<NodeId, usize> = self
            .dag
            .node_indices()
            .map(|id| (id, self.dag.edges_directed(id, Direction::Incoming).count()))
            .collect();
        let mut ready: std::collections::BTreeSet<NodeId> = missing
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(id, _)| *id)
            .collect();
        let mut order = Vec::with_capacity(missing.len());
        while let Some(id) = ready.pop_first() {
            order.push(id);
            for (consumer, _) in self.consumers(id) {
                if let Some(count) = missing.get_mut(&consumer) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(consumer);
                    }
                }
            }
        }
        order
    }

    /// Makes `consumer` use `operand` in position `slot`.
    pub fn redirect(&mut self, consumer: NodeId, slot: u32, operand: NodeId) {
        let edges = self.dag.edges_directed(consumer, Direction::Incoming);
        let edge = edges.filter(|e| *e.weight() == slot).map(|e| e.id()).next();
        if let Some(edge) = edge {
            self.dag.remove_edge(edge);
        }
        self.dag.add_edge(operand, consumer, slot);
    }

    /// Takes all operands from a node.
    pub fn disconnect(&mut self, id: NodeId) {
        let edges: Vec<_> = self
            .dag
            .edges_directed(id, Direction::Incoming)
            .map(|e| e.id())
            .collect();
        for edge in edges {
            self.dag.remove_edge(edge);
        }
    }

    /// Makes every consumer of `old`, and every output that is `old`, use `new` instead.
    pub fn replace_uses(&mut self, old: NodeId, new: NodeId) {
        let edges: Vec<_> = self
            .dag
            .edges_directed(old, Direction::Outgoing)
            .map(|e| (e.id(), e.target(), *e.weight()))
            .collect();
        for (edge, target, slot) in edges {
            self.dag.remove_edge(edge);
            self.dag.add_edge(new, target, slot);
        }
        for (_, node) in &mut self.outputs {
            if *node == old {
                *node = new;
            }
        }
    }
}

impl Node {
    /// The shape `[N, C, H, W]` in which SCNN holds the result, if it can.
    pub fn shape(&self) -> Option<[u32; 4]> {
        self.placement.as_ref().and_then(Placement::shape)
    }

    /// The name under which the float model knows the values.
    pub fn observed_name(&self) -> &String {
        self.observed_as.as_ref().unwrap_or(&self.tensor)
    }

    /// The placement, where the stored values are not in the model's order.
    pub fn permuted(&self) -> Option<Placement> {
        let placement = self.placement.clone();
        placement.filter(|placement| !placement.is_row_major())
    }
}
