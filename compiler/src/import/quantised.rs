//! Models that are quantised already: `QuantizeLinear`, `DequantizeLinear`, and the operators between them that move integers.
//!
//! A tensor of integers `q` with scale `s` and zero point `z` stands for the values `(q - z) s`. The machine has zero
//! point 0, and `q - z` is itself such an integer: so the values are held exactly, and a result that the model rounds
//! to that grid is rounded to it here ([`FixedScale`]) instead of to a calibrated one. Every tensor of integers has a
//! **twin** in the graph, the node of its values; the integers themselves come to exist only where somebody on the
//! host reads them.

use super::attributes::Attributes;
use super::nodes::{or_host, shape};
use super::{Importer, Translated, facts, node_name};
use crate::graph::reason::OnHost;
use crate::graph::{Affine, FixedScale, HostOp, Layer, NodeId, Op};
use scnn_host::RuntimeName;
use scnn_isa::program::Dtype;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

/// Operators that hand integers on as they are.
pub(super) const PASS_THROUGH: &[&str] = &[
    "Concat",
    "Flatten",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
];

/// The values of a tensor of integers.
#[derive(Clone, Debug)]
pub(super) struct RealValues {
    /// The node of the values.
    pub node: NodeId,
    /// Scale and zero point of the integers.
    meaning: Meaning,
    /// Smallest and largest integer; fewer than its type has behind a `Clip`.
    bounds: [i32; 2],
    /// ONNX names of scale and zero point (empty: 0).
    parameters: [String; 2],
}

/// The real value of an integer `q`: `(q - zero) scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Meaning {
    scale: f32,
    zero: i32,
}

impl Meaning {
    /// The values of the integers between two bounds, if 0 is one. -32768 has no counterpart on the machine, whose
    /// smallest number is -32767; of 65,536 values that lie unevenly about 0 it holds every second one.
    fn grid(self, [low, high]: [i32; 2]) -> Option<FixedScale> {
        let mut scale = self.scale;
        let mut bounds = [low - self.zero, high - self.zero];
        while bounds[0] < i32::from(i16::MIN) || bounds[1] > i32::from(i16::MAX) {
            scale *= 2.0;
            bounds = bounds.map(|bound| bound / 2);
        }
        let range = bounds.map(|bound| bound.max(-i32::from(i16::MAX)) as i16);
        (range[0] <= 0 && range[1] >= 0).then_some(FixedScale { scale, range })
    }
}

pub(crate) fn quantise_linear(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let value = or_host!(importer.activation(node, 0));
    let result = node.output[0].clone();
    let dtype = importer
        .facts
        .get(&result)
        .map_or(Dtype::F32, |fact| fact.dtype);
    let (meaning, bounds) = or_host!(meaning(importer, node, dtype));
    let grid = or_host!(meaning.grid(bounds).ok_or_else(|| without_zero(meaning)));
    let there = importer.graph.dag[value].grid;
    let id = if there.is_some_and(|there| there.lies_on(grid)) {
        value
    } else {
        importer.round(node, value, grid)
    };
    let parameters = [1, 2].map(|i| node.input.get(i).cloned().unwrap_or_default());
    let twin = RealValues {
        node: id,
        meaning,
        bounds,
        parameters,
    };
    importer.twins.insert(result, twin);
    Translated::RealValues
}

pub(crate) fn dequantise_linear(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let Some(twin) = importer.twins.get(&node.input[0]).cloned() else {
        return Translated::Host("its integers come from outside of the machine".into());
    };
    let dtype = importer
        .facts
        .get(&node.input[0])
        .map_or(Dtype::F32, |fact| fact.dtype);
    let (meaning, _) = or_host!(meaning(importer, node, dtype));
    if meaning != twin.meaning {
        return importer.other_meaning(node, &twin, meaning);
    }
    let data = &mut importer.graph.dag[twin.node];
    let name = node_name(node);
    if !matches!(data.op, Op::Input | Op::HostOutput(_)) && data.onnx_nodes.last() != Some(&name) {
        data.onnx_nodes.push(name);
    }
    // The float model knows the values by this name.
    if data.tensor.ends_with(VALUES) {
        data.tensor.clone_from(&node.output[0]);
    }
    Translated::Node(twin.node)
}

/// A `Clip` of integers: its bounds become bounds of the grid to which the values are rounded.
pub(super) fn clip_integers(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    twin: &RealValues,
) -> Translated {
    let bound = |index: usize, default: i32| match importer.constant(node, index) {
        Some(tensor) => scalar(tensor).map(|bound| bound as i32),
        None => (!Importer::has_operand(node, index)).then_some(default),
    };
    let bounds = or_host!(
        bound(1, twin.bounds[0])
            .zip(bound(2, twin.bounds[1]))
            .ok_or("its bounds are computed: export them as initializers")
    );
    let bounds = [bounds.0.max(twin.bounds[0]), bounds.1.min(twin.bounds[1])];
    let grid = or_host!(
        twin.meaning
            .grid(bounds)
            .ok_or_else(|| without_zero(twin.meaning))
    );
    let id = importer.round(node, twin.node, grid);
    let twin = RealValues {
        node: id,
        bounds,
        ..twin.clone()
    };
    importer.twins.insert(node.output[0].clone(), twin);
    Translated::RealValues
}

/// Suffix of the name of the values of a tensor of integers.
const VALUES: &str = ".values";

impl Importer<'_> {
    /// Whether a value is the host's, under whatever shape.
    pub(super) fn is_from_outside(&self, id: NodeId) -> bool {
        match self.graph.dag[id].op {
            Op::Input | Op::HostOutput(_) => true,
            Op::Rename(_) => self.is_from_outside(self.graph.operands(id)[0]),
            Op::Layer(_) | Op::Map(_) | Op::Concat | Op::Slice(_) | Op::Host(_) => false,
        }
    }

    /// Rounds a value: a layer without stages, until it is known who has the value ([`crate::transform::place_rounding`]).
    fn round(&mut self, node: &NodeProto, value: NodeId, grid: FixedScale) -> NodeId {
        let result = &node.output[0];
        let layer = Op::Layer(Box::<Layer>::default());
        let id = self.add(result, &[value], layer, vec![node_name(node)]);
        self.values_of(id, result, grid);
        id
    }

    /// The values of integers that are read by another scale and zero point than they were made with.
    fn other_meaning(&mut self, node: &NodeProto, twin: &RealValues, to: Meaning) -> Translated {
        let Some(grid) = to.grid(twin.bounds) else {
            return Translated::Host(without_zero(to).into());
        };
        let [_, channels, ..] = or_host!(shape(self, twin.node));
        let from = twin.meaning;
        // (q - z') s' of (q - z) s.
        let affine = Affine {
            scale: vec![to.scale / from.scale; channels as usize],
            offset: vec![(from.zero - to.zero) as f32 * to.scale; channels as usize],
        };
        let layer = Layer {
            affine: Some(affine),
            ..Layer::default()
        };
        let layer = Op::Layer(Box::new(layer));
        let id = self.add(&node.output[0], &[twin.node], layer, vec![node_name(node)]);
        self.graph.dag[id].grid = Some(grid);
        Translated::Node(id)
    }

    /// Marks the result of a `DequantizeLinear` that runs on the host: the machine holds its values exactly.
    pub(super) fn mark_grid(&mut self, node: &NodeProto) {
        let dtype = self
            .facts
            .get(&node.input[0])
            .map_or(Dtype::F32, |fact| fact.dtype);
        let grid = match meaning(self, node, dtype) {
            Ok((meaning, bounds)) => meaning.grid(bounds),
            Err(_) => self.any_zero(node, dtype),
        };
        if let (Some(grid), Some(&id)) = (grid, self.results.get(&node.output[0])) {
            self.graph.dag[id].grid = Some(grid);
        }
    }

    /// A grid that holds the values of integers whatever their zero point, which is computed.
    fn any_zero(&self, node: &NodeProto, dtype: Dtype) -> Option<FixedScale> {
        let scale = self.constant(node, 1).and_then(scalar)? as f32;
        let is_computed = Importer::has_operand(node, 2) && self.constant(node, 2).is_none();
        let [low, high] = integers(dtype)?;
        let meaning = Meaning { scale, zero: 0 };
        let is_scale = is_computed && scale > 0.0 && scale.is_finite();
        is_scale.then(|| meaning.grid([low - high, high - low]))?
    }

    /// Makes `id` the node of the values of the integers `name`.
    fn values_of(&mut self, id: NodeId, name: &str, grid: FixedScale) {
        let data = &mut self.graph.dag[id];
        data.dtype = Dtype::F32;
        data.tensor = format!("{name}{VALUES}");
        data.grid = Some(grid);
    }

    /// The twin that `node` reads first, if it reads one.
    pub(super) fn integers_read(&self, node: &NodeProto) -> Option<&RealValues> {
        node.input.iter().find_map(|name| self.twins.get(name))
    }

    /// The twin whose integers `node` hands on, if it does: all that it reads must have one meaning.
    pub(super) fn passes_through(&self, node: &NodeProto) -> Option<RealValues> {
        if !PASS_THROUGH.contains(&node.op_type.as_str()) {
            return None;
        }
        let first = self.twins.get(node.input.first()?)?;
        let activations = node
            .input
            .iter()
            .filter(|name| !name.is_empty() && self.facts.constant(name).is_none());
        let same = |name: &String| {
            self.twins
                .get(name)
                .is_some_and(|twin| (twin.meaning, twin.bounds) == (first.meaning, first.bounds))
        };
        activations.into_iter().all(same).then(|| first.clone())
    }

    /// The results of such a node are values, on the same grid.
    pub(super) fn propagate(&mut self, twin: &RealValues, results: &[(String, NodeId)]) {
        let Some(grid) = twin.meaning.grid(twin.bounds) else {
            return;
        };
        for (name, id) in results {
            self.values_of(*id, name, grid);
            self.twins.insert(
                name.clone(),
                RealValues {
                    node: *id,
                    ..twin.clone()
                },
            );
        }
    }

    /// The integers themselves, made on the host from their values.
    pub(super) fn integers(&mut self, name: &str) -> Option<NodeId> {
        let RealValues {
            node,
            parameters: [scale, zero],
            ..
        } = self.twins.get(name)?.clone();
        let values = self.graph.dag[node].tensor.clone();
        let quantise = NodeProto {
            input: [vec![values.clone(), scale.clone()], vec![zero.clone()]].concat(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: "QuantizeLinear".to_owned(),
            ..NodeProto::default()
        };
        let fact = self.facts.get(name)?;
        let constants = [&scale, &zero].into_iter().filter(|name| !name.is_empty());
        let host = HostOp {
            initializers: constants
                .filter_map(|name| facts::to_proto(name, self.facts.constant(name)?))
                .collect(),
            nodes: vec![quantise],
            inputs: vec![values],
            outputs: vec![(name.to_owned(), fact.dtype, fact.dims.clone())],
            runtime: RuntimeName::Tract,
            reasons: vec![OnHost::of_ours(name, "its integers are read on the host")],
            multiplications: 0,
        };
        let id = self.add(
            name,
            &[node],
            Op::Host(Box::new(host)),
            vec![name.to_owned()],
        );
        let result = self.add(name, &[id], Op::HostOutput(0), Vec::new());
        self.results.insert(name.to_owned(), result);
        Some(result)
    }
}

/// Scale and zero point of the integers of type `dtype` of a `QuantizeLinear` or `DequantizeLinear`, and their range.
fn meaning(
    importer: &Importer<'_>,
    node: &NodeProto,
    dtype: Dtype,
) -> Result<(Meaning, [i32; 2]), String> {
    let bounds = integers(dtype).ok_or_else(|| {
        format!(
            "its integers are {dtype:?}, the machine takes those of 8 and 16 bits: quantise to one of those"
        )
    })?;
    let scale = importer.constant(node, 1).and_then(scalar).ok_or(
        "its scale is not one constant: quantise activations per tensor, with an initializer",
    )?;
    let zero = match importer.constant(node, 2) {
        Some(tensor) => scalar(tensor)
            .ok_or("its zero point is not one number: quantise activations per tensor")?,
        None if Importer::has_operand(node, 2) => {
            return Err("its zero point is computed: export it as an initializer".into());
        }
        None => 0.0,
    };
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(format!("its scale is {scale}: quantise with one above 0"));
    }
    let meaning = Meaning {
        scale: scale as f32,
        zero: zero as i32,
    };
    Ok((meaning, bounds))
}

/// Smallest and largest integer of a type that the machine takes.
const fn integers(dtype: Dtype) -> Option<[i32; 2]> {
    match dtype {
        Dtype::U8 => Some([0, 255]),
        Dtype::I8 => Some([-128, 127]),
        Dtype::U16 => Some([0, 65535]),
        Dtype::I16 => Some([-32768, 32767]),
        _ => None,
    }
}

fn without_zero(meaning: Meaning) -> String {
    format!(
        "with zero point {} none of its integers stands for 0, which the machine needs: quantise with a zero point in reach",
        meaning.zero
    )
}

/// The value of a constant of one number.
pub(super) fn scalar(tensor: &Tensor) -> Option<f64> {
    let cast = tensor.cast_to::<f64>().ok()?;
    let view = cast.to_plain_array_view::<f64>().ok()?;
    (view.len() == 1).then(|| view.iter().next().copied())?
}
