//! From an ONNX file to a [`Graph`].
//!
//! The protobuf is read with tract's own types; shapes, element types and folded constants come from tract's typed
//! model, which is not decluttered, because that would rewrite convolutions. Each node is then translated by the
//! function that [`crate::import::operators`] names for its operator; a node that has no place on the machine becomes a host
//! node together with the reason. Whatever makes a model unusable is collected, and reported all at once.

mod attributes;
mod culprit;
mod facts;
mod fit;
mod fold;
pub(crate) mod for_tract;
mod foreign;
pub mod host_operators;
mod islands;
pub(crate) mod movement;
mod multiplications;
pub(crate) mod nodes;
pub mod operators;
pub(crate) mod quantised;
mod shapeless;
mod source;
mod statistics;
pub mod survey;
mod typed;
mod typed_passes;
mod typing;
mod wide_sums;
mod window;
mod wishes;

pub(crate) use crate::normalise::Large;
pub use crate::normalise::{Given, ImportError, ImportErrors, ImportOptions};
pub use facts::{Facts, TensorFact};
pub use source::Source;
pub use typed::Typed;
pub(crate) use typed::{Chain, ChainError};

use crate::graph::placement::{self, Placement};
use crate::graph::reason::{OnHost, Reason};
use crate::graph::{Graph, HostOp, Node, NodeId, Op, Transposition};
use crate::normalise::closure;
pub(crate) use crate::normalise::parts::node_name;
pub(crate) use crate::normalise::proto::value_info;
use crate::normalise::{self, Opened, Undecided};
use attributes::Attributes;
use multiplications::multiplications;
use operators::RunsOn;
use quantised::RealValues;
use scnn_host::RuntimeName;
use scnn_isa::legal;
use scnn_isa::program::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::{ModelProto, NodeProto};
use tract_onnx::prelude::Tensor;
use typing::Scheduled;

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The graph.
    pub graph: Graph,
    /// The model as tract types it, every result by name.
    pub typed: Typed,
    /// blake3 of the file, hexadecimal.
    pub hash: String,
    /// What it was imported from.
    pub source: Arc<Source>,
}

/// Imports the model in a file.
///
/// # Errors
/// All reasons why it cannot be compiled.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, ImportErrors> {
    import_observed(path, options, None)
}

/// Imports the model in a file; `observe` receives the text of the model after every pass of [`crate::normalise`].
///
/// # Errors
/// See [`import`].
pub fn import_observed(
    path: &Path,
    options: &ImportOptions,
    observe: Option<&mut normalise::Observer<'_>>,
) -> Result<Imported, ImportErrors> {
    let opened = normalise::open(path)?;
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    import_model(stem, opened, folder, options, observe)
}

/// Imports a model from bytes; external data is looked for in `folder`.
///
/// # Errors
/// All reasons why it cannot be compiled.
pub fn import_bytes(
    stem: &str,
    bytes: &[u8],
    folder: &Path,
    options: &ImportOptions,
) -> Result<Imported, ImportErrors> {
    let opened = normalise::open_bytes(bytes)?;
    import_model(stem, opened, folder, options, None)
}

fn import_model(
    stem: &str,
    opened: Opened,
    folder: &Path,
    options: &ImportOptions,
    observe: Option<&mut normalise::Observer<'_>>,
) -> Result<Imported, ImportErrors> {
    let hash = opened.hash.clone();
    let normalised = normalise::normalise(opened, folder, options, facts::value_of, observe)?;
    Source::new(normalised, stem, options.host.clone()).import(hash)
}

/// Result of translating a node.
pub(crate) enum Translated {
    /// Graph nodes were added; this one is the result.
    Node(NodeId),
    /// Several results.
    Nodes(Vec<NodeId>),
    /// The values of a tensor of integers were noted; there is nothing to compute.
    RealValues,
    /// It has to run on the host, for this reason.
    Host(Reason),
}

/// Translates the nodes of a model one after the other.
pub(crate) struct Importer<'a> {
    pub(crate) model: &'a ModelProto,
    pub(crate) facts: &'a Facts,
    pub(crate) graph: Graph,
    /// The node that computes each tensor.
    results: BTreeMap<String, NodeId>,
    /// The values of each tensor of integers that the model itself has quantised.
    twins: BTreeMap<String, RealValues>,
    /// The `DequantizeLinear` that computes each tensor.
    dequantised: BTreeMap<&'a str, &'a NodeProto>,
    /// Nodes that run on the host in any case, and why.
    on_host: &'a BTreeMap<String, String>,
    /// Nodes with branches of which an input decides.
    undecided: &'a BTreeMap<String, Undecided>,
    /// How inputs and results of the host are to lie, where their readers wish it.
    wishes: BTreeMap<String, Placement>,
    /// Weights of products in the order of the array: the steps of an unrolled recurrence have them in common.
    ordered: nodes::linear::OrderedWeights,
}

impl<'a> Importer<'a> {
    fn new(
        model: &'a ModelProto,
        facts: &'a Facts,
        stem: &str,
        on_host: &'a BTreeMap<String, String>,
        undecided: &'a BTreeMap<String, Undecided>,
    ) -> Self {
        let name = model.graph.as_ref().map_or("", |graph| &graph.name);
        let generic = name.is_empty()
            || ["main_graph", "torch_jit", "torch-jit-export", "graph"].contains(&name);
        let graph = Graph {
            name: if generic {
                stem.to_owned()
            } else {
                name.to_owned()
            },
            opsets: model
                .opset_import
                .iter()
                .map(|o| (o.domain.clone(), o.version))
                .collect(),
            ..Graph::default()
        };
        let mut dequantised = BTreeMap::new();
        for node in model.graph.iter().flat_map(|graph| &graph.node) {
            if node.op_type == "DequantizeLinear" {
                dequantised.extend(node.output.iter().map(|name| (name.as_str(), node)));
            }
        }
        Self {
            model,
            facts,
            graph,
            results: BTreeMap::new(),
            twins: BTreeMap::new(),
            dequantised,
            on_host,
            undecided,
            wishes: wishes::of(model, facts, on_host),
            ordered: nodes::linear::OrderedWeights::default(),
        }
    }

    fn run(mut self, schedule: &[Scheduled]) -> Graph {
        let model = self.model;
        let Some(proto) = &model.graph else {
            return self.graph;
        };
        for input in &proto.input {
            if self.facts.constant(&input.name).is_none() {
                let id = self.add(&input.name, &[], Op::Input, Vec::new());
                self.graph.inputs.push(id);
                self.results.insert(input.name.clone(), id);
            }
        }
        for scheduled in schedule {
            match scheduled {
                Scheduled::Node(index) => self.node(&proto.node[*index]),
                Scheduled::Foreign(indices) => {
                    let nodes: Vec<&NodeProto> = indices.iter().map(|&i| &proto.node[i]).collect();
                    self.foreign(&nodes);
                }
            }
        }
        for output in &proto.output {
            let known = self.results.get(&output.name).copied();
            let id = known
                .or_else(|| self.integers(&output.name))
                .unwrap_or_else(|| self.constant_on_host(&output.name));
            self.graph.outputs.push((output.name.clone(), id));
        }
        // Nodes that became a part of others are not read any more.
        crate::graph::drop_dead::run(&mut self.graph);
        self.graph
    }

    fn node(&mut self, node: &'a NodeProto) {
        let outputs: Vec<&String> = node.output.iter().filter(|o| !o.is_empty()).collect();
        if outputs.iter().all(|o| self.facts.constant(o).is_some()) {
            // Folded: its readers find the constant.
            return;
        }
        let forced = self.on_host.get(&node_name(node)).cloned();
        let passed = self.passes_through(node);
        let translated = match forced {
            Some(reason) => Translated::Host(reason.into()),
            None => self.translate(node, passed.is_some()),
        };
        let ids = match translated {
            Translated::Node(id) => vec![id],
            Translated::Nodes(ids) => ids,
            Translated::RealValues => return,
            Translated::Host(reason) => {
                self.host(node, reason);
                if node.op_type == "DequantizeLinear" {
                    self.mark_grid(node);
                }
                return;
            }
        };
        let results: Vec<(String, NodeId)> = outputs.into_iter().cloned().zip(ids).collect();
        match passed {
            Some(twin) => self.propagate(&twin, &results),
            None => self.results.extend(results),
        }
    }

    /// Translates a node; `passes` says whether it passes the integers of a quantised tensor on as they are.
    fn translate(&mut self, node: &NodeProto, passes: bool) -> Translated {
        let Some(operator) = operators::find(node) else {
            return Translated::Host(format!("the array has no {}", node.op_type).into());
        };
        if !passes && let Some(integers) = self.integers_read(node).cloned() {
            match node.op_type.as_str() {
                "Clip" => return quantised::clip_integers(self, node, &integers),
                "DequantizeLinear" => {}
                _ => return Translated::Host("it computes with the integers of a tensor".into()),
            }
        }
        match operator.place {
            RunsOn::Host(reason) => Translated::Host(reason.into()),
            RunsOn::Machine(translate) => match translate(self, node, &Attributes::of(node)) {
                Translated::Node(id) => Translated::Node(self.with_exact_sums(node, id)),
                translated => translated,
            },
        }
    }

    /// Adds foreign nodes: a single one that the array has is translated, any others become one host node.
    fn foreign(&mut self, nodes: &[&'a NodeProto]) {
        if let [node] = nodes
            && !self.on_host.contains_key(&node_name(node))
            && let Some(operator) = operators::find(node)
            && let RunsOn::Machine(translate) = operator.place
        {
            let outputs: Vec<&String> = node.output.iter().filter(|o| !o.is_empty()).collect();
            let ids = match translate(self, node, &Attributes::of(node)) {
                Translated::Node(id) => Some(vec![id]),
                Translated::Nodes(ids) => Some(ids),
                Translated::RealValues | Translated::Host(_) => None,
            };
            if let Some(ids) = ids {
                self.results.extend(outputs.into_iter().cloned().zip(ids));
                return;
            }
        }
        let reasons = nodes
            .iter()
            .map(|node| reason_of(node, self.reason_of_foreign(node)));
        let reasons = reasons.collect();
        self.host_nodes(nodes, reasons, RuntimeName::OnnxRuntime);
    }

    /// Why a foreign node is on the host.
    fn reason_of_foreign(&self, node: &NodeProto) -> Reason {
        match self.undecided.get(&node_name(node)) {
            None => FOREIGN.into(),
            Some(undecided) => Reason {
                remedy: Some(undecided.remedy.clone()),
                ..undecided.reason.clone().into()
            },
        }
    }

    /// Adds a host node for `node` and one node for each of its results.
    fn host(&mut self, node: &'a NodeProto, reason: Reason) {
        self.host_nodes(&[node], vec![reason_of(node, reason)], RuntimeName::Tract);
    }

    fn host_nodes(&mut self, nodes: &[&'a NodeProto], reasons: Vec<OnHost>, runtime: RuntimeName) {
        let own: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.output).collect();
        let taken = nodes.iter().map(|node| {
            let extents = |name: &str| self.extents(name);
            multiplications(node, &extents)
        });
        let mut host = HostOp {
            multiplications: taken.sum(),
            nodes: nodes.iter().map(|&node| node.clone()).collect(),
            runtime,
            reasons,
            ..HostOp::default()
        };
        let mut operands = Vec::new();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for name in nodes.iter().flat_map(|node| closure::reads(node)) {
            if own.contains(&name.to_owned()) || !known.insert(name) {
                continue;
            }
            if let Some(constant) = self.facts.constant(name) {
                host.initializers.extend(facts::to_proto(name, constant));
            } else if let Some(operand) = self
                .results
                .get(name)
                .copied()
                .or_else(|| self.integers(name))
            {
                host.inputs.push(name.to_owned());
                operands.push(operand);
            } else {
                // A constant of a type that only the runtime has.
                let initializer = facts::declared(self.model, name);
                host.initializers.extend(initializer.cloned());
            }
        }
        let results = nodes.iter().flat_map(|node| &node.output);
        for name in results.filter(|name| !name.is_empty()) {
            if let Some(fact) = self.facts.get(name) {
                host.outputs
                    .push((name.clone(), fact.dtype, fact.dims.clone()));
            }
        }
        let outputs = host.outputs.clone();
        let first = outputs.first().map(|(name, ..)| name.clone());
        let id = self.add(
            &first.unwrap_or_default(),
            &operands,
            Op::Host(Box::new(host)),
            nodes.iter().map(|node| node_name(node)).collect(),
        );
        for (index, (name, ..)) in outputs.iter().enumerate() {
            let result = self.add(name, &[id], Op::HostOutput(index as u32), Vec::new());
            self.results.insert(name.clone(), result);
        }
    }

    /// A graph output that is a constant: a host node without operands.
    fn constant_on_host(&mut self, name: &str) -> NodeId {
        let inner = format!("{name}.constant");
        let node = NodeProto {
            input: vec![inner.clone()],
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        };
        let fact = self.facts.get(name);
        let host = HostOp {
            nodes: vec![node],
            initializers: self
                .facts
                .constant(name)
                .and_then(|c| facts::to_proto(&inner, c))
                .into_iter()
                .collect(),
            inputs: Vec::new(),
            outputs: fact
                .map(|f| (name.to_owned(), f.dtype, f.dims.clone()))
                .into_iter()
                .collect(),
            runtime: RuntimeName::Tract,
            reasons: vec![OnHost::of_ours(name, "the output is a constant")],
            multiplications: 0,
        };
        let id = self.add(name, &[], Op::Host(Box::new(host)), vec![name.to_owned()]);
        self.add(name, &[id], Op::HostOutput(0), Vec::new())
    }

    /// The extents of a tensor, as far as they are known.
    fn extents(&self, name: &str) -> Option<Vec<u64>> {
        let constant = self.facts.constant(name);
        let constant = constant.map(|c| c.shape().iter().map(|&d| d as u64).collect());
        constant.or_else(|| self.facts.get(name).map(|fact| fact.dims.clone()))
    }

    /// Adds a node whose result is the ONNX tensor `tensor`. A rename, and what changes no extent, leave it where the
    /// operand lies.
    pub(crate) fn add(
        &mut self,
        tensor: &str,
        operands: &[NodeId],
        op: Op,
        onnx_nodes: Vec<String>,
    ) -> NodeId {
        let dims = self.facts.get(tensor).map(|fact| fact.dims.clone());
        let dims = dims.unwrap_or_default();
        let operand = operands.first().map(|&operand| &self.graph.dag[operand]);
        let alike = || {
            let nodes = operands.iter().map(|&operand| &self.graph.dag[operand]);
            let mut alike = nodes.filter(|operand| operand.dims == dims);
            alike.next().and_then(|operand| operand.placement.clone())
        };
        let placement = match (&op, operand) {
            (Op::Rename(None), Some(operand)) => operand.placement.clone(),
            (Op::Rename(Some(Transposition { dims, order })), Some(operand)) => {
                let before = operand.placement.as_ref();
                before.and_then(|before| placement::transposed(before, dims, order))
            }
            (Op::Layer(_) | Op::Map(_), _) => alike(),
            _ => None,
        };
        let placement = placement
            .or_else(|| self.wishes.get(tensor).cloned())
            .or_else(|| placement::positional(&dims));
        self.add_placed(tensor, operands, op, onnx_nodes, placement)
    }

    /// Adds a node whose result is the ONNX tensor `tensor` and lies as `placement` says.
    pub(crate) fn add_placed(
        &mut self,
        tensor: &str,
        operands: &[NodeId],
        op: Op,
        onnx_nodes: Vec<String>,
        placement: Option<Placement>,
    ) -> NodeId {
        let (dtype, dims) = self
            .facts
            .get(tensor)
            .map_or((Dtype::F32, Vec::new()), |f| (f.dtype, f.dims.clone()));
        // Nodes that only move values keep them on their grid.
        let moves = matches!(op, Op::Rename(_) | Op::Slice(_));
        let source = operands.first().filter(|_| moves);
        let grid = source.and_then(|&source| self.graph.dag[source].grid);
        self.graph.add(
            Node {
                tensor: tensor.to_owned(),
                observed_as: None,
                onnx_nodes,
                dtype,
                dims,
                placement,
                grid,
                op,
            },
            operands,
        )
    }

    /// A node whose result is another shape or order of a machine tensor, moved if its readers gain by that.
    pub(crate) fn as_wished(&mut self, id: NodeId) -> NodeId {
        match self.wishes.get(&self.graph.dag[id].tensor).cloned() {
            Some(wanted) => self.graph.placed(id, wanted),
            None => id,
        }
    }

    /// The node that computes operand `index`, lying as a plane: axes 0 to 3 on images, channels, rows and columns.
    pub(crate) fn plane(&mut self, node: &NodeProto, index: usize) -> Result<NodeId, String> {
        let id = self.floats(node, index)?;
        let dims = &self.graph.dag[id].dims;
        let wanted = placement::positional(dims).filter(|_| dims.len() > 2);
        let wanted = wanted.ok_or_else(|| no_form(&node.input[index], dims))?;
        legal::tensor(wanted.shape().unwrap_or_default())
            .map_err(|reason| format!("of `{}`: {reason}", node.input[index]))?;
        Ok(self.graph.placed(id, wanted))
    }

    /// The node that computes operand `index`, if it is a float activation that the machine can hold.
    pub(crate) fn activation(&self, node: &NodeProto, index: usize) -> Result<NodeId, String> {
        let id = self.value(node, index)?;
        let shape = self.graph.dag[id].shape();
        let fits = shape.map_or(Ok(()), legal::tensor);
        fits.map_err(|reason| format!("of `{}`: {reason}", self.graph.dag[id].tensor))?;
        Ok(id)
    }

    /// The node that computes operand `index`, if it is of floats and has a form `[N, C, H, W]`, however large.
    pub(crate) fn value(&self, node: &NodeProto, index: usize) -> Result<NodeId, String> {
        let id = self.floats(node, index)?;
        let data = &self.graph.dag[id];
        if data.shape().is_none() {
            return Err(no_form(&node.input[index], &data.dims));
        }
        Ok(id)
    }

    /// The node that computes operand `index`, if it is of floats.
    pub(crate) fn floats(&self, node: &NodeProto, index: usize) -> Result<NodeId, String> {
        let name = node.input.get(index).map_or("", |name| name);
        let twin = self.twins.get(name).map(|twin| twin.node);
        let Some(id) = self.results.get(name).copied().or(twin) else {
            return Err(format!("operand {index} is a constant"));
        };
        let data = &self.graph.dag[id];
        // A comparison may become part of a function.
        let compared = data.dtype == Dtype::Bool && matches!(data.op, Op::Map(_));
        if data.dtype != Dtype::F32 && !compared {
            return Err(format!(
                "`{name}` is of type {:?}; the array takes 32-bit floats",
                data.dtype
            ));
        }
        Ok(id)
    }

    /// The factors of the axes of a node's result.
    pub(crate) fn axes(&self, id: NodeId) -> Result<placement::Axes, String> {
        let data = &self.graph.dag[id];
        let placement = data.placement.as_ref();
        placement
            .and_then(|placement| placement::axes(placement, &data.dims))
            .ok_or_else(|| {
                format!(
                    "its axes {:?} cut through those that `{}` lies with on the machine",
                    data.dims, data.tensor
                )
            })
    }

    /// A name for a part of the result `tensor` that the model itself does not name.
    pub(crate) fn part_name(&self, tensor: &str, part: &str) -> String {
        let mut name = format!("{tensor}.{part}");
        while self.facts.get(&name).is_some() {
            name.push('\'');
        }
        name
    }

    /// The constant that is operand `index`.
    pub(crate) fn constant(&self, node: &NodeProto, index: usize) -> Option<&'a Tensor> {
        node.input
            .get(index)
            .filter(|name| !name.is_empty())
            .and_then(|name| self.facts.constant(name))
    }

    /// Whether operand `index` is given.
    pub(crate) fn has_operand(node: &NodeProto, index: usize) -> bool {
        node.input.get(index).is_some_and(|name| !name.is_empty())
    }
}

/// Why a tensor cannot be on the machine.
fn no_form(name: &str, dims: &[u64]) -> String {
    format!("`{name}` has shape {dims:?}; the array takes [N, C], [N, C, L] and [N, C, H, W]")
}

/// Why a foreign node is on the host.
const FOREIGN: &str = "only ONNX Runtime has it, or has it right";

/// The reason of a node in a sentence.
pub(crate) fn reason_of(node: &NodeProto, reason: Reason) -> OnHost {
    OnHost {
        node: node_name(node),
        operator: node.op_type.clone(),
        reason,
    }
}

/// A `Transpose` node that gives the axes of `input` the order `order` under the name `output`.
pub(crate) fn transpose_node(
    input: &str,
    output: &str,
    name: Option<&String>,
    order: &[usize],
) -> NodeProto {
    let order = tract_onnx::pb::AttributeProto {
        name: "perm".to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Ints as i32,
        ints: order.iter().map(|&axis| axis as i64).collect(),
        ..tract_onnx::pb::AttributeProto::default()
    };
    NodeProto {
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        name: name
            .cloned()
            .unwrap_or_else(|| format!("{output}.transpose")),
        op_type: "Transpose".to_owned(),
        attribute: vec![order],
        ..NodeProto::default()
    }
}

/// A `Reshape` node that gives `input` the extents `dims` under the name `output`, and the initializer it needs.
pub(crate) fn reshape_node(
    input: &str,
    output: &str,
    dims: &[u64],
) -> (NodeProto, tract_onnx::pb::TensorProto) {
    let shape = format!("{output}.shape");
    let node = NodeProto {
        input: vec![input.to_owned(), shape.clone()],
        output: vec![output.to_owned()],
        name: format!("{output}.reshape"),
        op_type: "Reshape".to_owned(),
        ..NodeProto::default()
    };
    let tensor = tract_onnx::pb::TensorProto {
        name: shape,
        dims: vec![dims.len() as i64],
        data_type: crate::normalise::proto::onnx_type(Dtype::I64) as i32,
        int64_data: dims.iter().map(|&d| d as i64).collect(),
        ..tract_onnx::pb::TensorProto::default()
    };
    (node, tensor)
}
