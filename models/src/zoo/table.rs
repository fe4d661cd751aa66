//! A network of layers that a table has: each a convolution of its own, with its own input, as tables do not say how layers
//! follow each other. Weights and inputs are drawn from a seed at the densities of the table.

use super::onnx::{convolution, floats, value_info};
use super::random::pruned_weights;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto};

/// A layer of a table; extents fit each other.
#[derive(Clone, Debug, PartialEq)]
pub struct TableLayer {
    /// Name.
    pub name: String,
    /// Images, channels, rows and columns of the input, padding included.
    pub input: [usize; 4],
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps along rows and columns.
    pub stride: [usize; 2],
    /// Distances of taps along rows and columns.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
    /// Share of weights that are not zero.
    pub weights: f64,
    /// Share of inputs that are not zero.
    pub activations: f64,
}

/// An input of the network: name, extents, values.
pub type TableInput = (String, [usize; 4], Vec<f32>);

/// The ONNX file of a table, and a sample for it. Layers of one name are numbered.
pub fn network(name: &str, layers: &[TableLayer], seed: u64) -> (Vec<u8>, Vec<TableInput>) {
    let mut graph = GraphProto {
        name: name.to_owned(),
        ..GraphProto::default()
    };
    let mut inputs = Vec::new();
    let names = unique(layers.iter().map(|layer| layer.name.as_str()));
    for ((layer, name), number) in layers.iter().zip(names).zip(0..) {
        let [images, channels, ..] = layer.input;
        let [source, weight, result] =
            ["input", "weight", "output"].map(|part| format!("{name}.{part}"));
        let dims = [
            layer.outputs,
            channels / layer.groups,
            layer.kernel[0],
            layer.kernel[1],
        ];
        let draw = |dims: &[usize], density: f64, part: u64| {
            pruned_weights(
                dims.iter().product(),
                density,
                seed.wrapping_add(2 * number + part),
            )
        };
        graph
            .initializer
            .push(floats(&weight, &dims, &draw(&dims, layer.weights, 0)));
        // What a layer reads has left a ReLU.
        let values = draw(&layer.input, layer.activations, 1)
            .into_iter()
            .map(f32::abs);
        graph.input.push(value_info(&source, &layer.input));
        inputs.push((source.clone(), layer.input, values.collect()));
        let out: [usize; 2] = std::array::from_fn(|axis| {
            let window = layer.dilation[axis] * (layer.kernel[axis] - 1) + 1;
            (layer.input[axis + 2] - window) / layer.stride[axis] + 1
        });
        graph.output.push(value_info(
            &result,
            &[images, layer.outputs, out[0], out[1]],
        ));
        let steps = [&layer.kernel, &layer.stride, &layer.dilation];
        graph.node.push(convolution(
            &name,
            &[source, weight],
            &result,
            steps,
            layer.groups,
        ));
    }
    let model = ModelProto {
        ir_version: 8,
        producer_name: "scnnc".to_owned(),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    (model.encode_to_vec(), inputs)
}

/// Names of which no two are the same, and none is empty.
fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let fresh = |name: &str| {
        let name = if name.is_empty() { "layer" } else { name };
        let mut numbered = name.to_owned();
        let mut number = 1;
        while !seen.insert(numbered.clone()) {
            number += 1;
            numbered = format!("{name}_{number}");
        }
        numbered
    };
    names.map(fresh).collect()
}
