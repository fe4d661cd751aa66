//! Models that are quantised already: `QuantizeLinear`, `DequantizeLinear`, and what moves integers between them.
//!
//! A tensor of integers `q` with scale `s` and zero point `z` stands for the values `(q - z) s`. The machine has zero
//! point 0, and `q - z` is itself such an integer: so the values are held exactly, and a result that the model rounds
//! to that grid is rounded to it here ([`FixedScale`]) instead of to a calibrated one. Every tensor of integers has a
//! **twin** in the graph, the node of its values; the integers themselves come to exist only where somebody on the
//! host reads them.

use super::attributes::Attributes;
use super::{Importer, Translated, facts, node_name};
use crate::graph::{FixedScale, HostOp, Layer, NodeId, Op};
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
    /// What they are rounded to.
    pub grid: FixedScale,
    /// ONNX names of scale and zero point (empty: 0).
    parameters: [String; 2],
}

pub(crate) fn quantise_linear(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let value = match importer.activation(node, 0) {
        Ok(value) => value,
        Err(reason) => return Translated::Host(reason),
    };
    let result = node.output[0].clone();
    let dtype = importer
        .facts
        .get(&result)
        .map_or(Dtype::F32, |fact| fact.dtype);
    let grid = match grid(importer, node, dtype) {
        Ok(grid) => grid,
        Err(reason) => return Translated::Host(reason),
    };
    let from_outside = matches!(importer.graph.dag[value].op, Op::Input | Op::HostOutput(_));
    let id = if importer.graph.dag[value].grid == Some(grid) {
        // It lies on that grid already.
        value
    } else if from_outside && importer.readers(&node.input[0]) == 1 {
        importer.graph.dag[value].grid = Some(grid);
        value
    } else {
        let id = importer.add(
            &result,
            &[value],
            Op::Layer(Box::<Layer>::default()),
            vec![node_name(node)],
        );
        importer.values_of(id, &result, grid);
        id
    };
    let parameters = [1, 2].map(|i| node.input.get(i).cloned().unwrap_or_default());
    importer.twins.insert(
        result,
        RealValues {
            node: id,
            grid,
            parameters,
        },
    );
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
    if grid(importer, node, dtype) != Ok(twin.grid) {
        return Translated::Host(
            "it gives the integers another meaning than they were made with".into(),
        );
    }
    let data = &mut importer.graph.dag[twin.node];
    if !matches!(data.op, Op::Input | Op::HostOutput(_)) {
        let name = node_name(node);
        if data.onnx_nodes.last() != Some(&name) {
            data.onnx_nodes.push(name);
        }
        // The float model knows the values by this name.
        if data.tensor.ends_with(VALUES) {
            data.tensor.clone_from(&node.output[0]);
        }
    }
    Translated::Node(twin.node)
}

/// What the name of the values of a tensor of integers ends with.
const VALUES: &str = ".values";

impl Importer<'_> {
    /// Marks the result of a `DequantizeLinear` that runs on the host: the machine holds its values exactly.
    pub(super) fn mark_grid(&mut self, node: &NodeProto) {
        let dtype = self
            .facts
            .get(&node.input[0])
            .map_or(Dtype::F32, |fact| fact.dtype);
        if let (Ok(grid), Some(&id)) = (grid(self, node, dtype), self.results.get(&node.output[0]))
        {
            self.graph.dag[id].grid = Some(grid);
        }
    }

    /// Makes `id` the node of the values of the integers `name`.
    fn values_of(&mut self, id: NodeId, name: &str, grid: FixedScale) {
        let data = &mut self.graph.dag[id];
        data.dtype = Dtype::F32;
        data.tensor = format!("{name}{VALUES}");
        data.grid = Some(grid);
    }

    /// The twin whose integers `node` hands on, if it does: all that it reads must lie on one grid.
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
                .is_some_and(|twin| twin.grid == first.grid)
        };
        activations.into_iter().all(same).then(|| first.clone())
    }

    /// The results of such a node are values, on the same grid.
    pub(super) fn propagate(&mut self, twin: &RealValues, results: &[(String, NodeId)]) {
        for (name, id) in results {
            self.values_of(*id, name, twin.grid);
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
            reasons: vec![format!("{name}: its integers are read on the host")],
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

/// The grid of a `QuantizeLinear` or `DequantizeLinear` whose integers are of type `dtype`.
fn grid(importer: &Importer<'_>, node: &NodeProto, dtype: Dtype) -> Result<FixedScale, String> {
    let (low, high) = match dtype {
        Dtype::U8 => (0, 255),
        Dtype::I8 => (-128, 127),
        Dtype::I16 => (-32768, 32767),
        other => {
            return Err(format!(
                "its integers are {other:?}, the machine takes U8, I8 and I16: quantise to one of those"
            ));
        }
    };
    let scalar = |tensor: &Tensor| -> Option<f64> {
        let cast = tensor.cast_to::<f64>().ok()?;
        let view = cast.to_plain_array_view::<f64>().ok()?;
        (view.len() == 1).then(|| view.iter().next().copied())?
    };
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
    // -32768 has no counterpart; the machine's smallest number is -32767.
    let bound = |q: i32| {
        i16::try_from(q - zero as i32)
            .ok()
            .map(|b| b.max(-i16::MAX))
    };
    match (bound(low), bound(high)) {
        (Some(low), Some(high)) if low <= 0 && high >= 0 && scale > 0.0 && scale.is_finite() => {
            Ok(FixedScale {
                scale: scale as f32,
                range: [low, high],
            })
        }
        _ => Err(format!(
            "with zero point {zero} and scale {scale} its integers do not fit the machine's 16 bits around 0: \
             quantise with a positive scale and a zero point in reach of 0"
        )),
    }
}
