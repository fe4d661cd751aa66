//! Reducing a model to what makes a command fail.
//!
//! Nodes are taken away in ever smaller runs, as long as the rest still fails; what a remaining node then lacks
//! becomes an input, of the shape that import found for it. At last the weights are replaced by seeded noise with the
//! same zeros, so that the model can be passed on without them.

use scnn_host::datum_type;
use scnnc::import::{ImportOptions, import};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::Path;
use tract_onnx::pb::{
    GraphProto, ModelProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto, type_proto,
};

/// Initializers with fewer values are shapes, axes and factors rather than weights.
const FEWEST_WEIGHTS: usize = 16;

/// Whether a model still fails in the same way.
pub type Fails<'a> = dyn FnMut(&ModelProto) -> bool + 'a;

/// Takes away nodes of the model, which was read from `path`, while it still fails.
pub fn to_failing_nodes(path: &Path, model: ModelProto, fails: &mut Fails) -> ModelProto {
    let Some(graph) = model.graph.clone() else {
        return model;
    };
    let shapes = shapes(path);
    let mut kept: Vec<usize> = (0..graph.node.len()).collect();
    let mut best = model.clone();
    let mut run = kept.len() / 2;
    while run > 0 {
        let mut begin = 0;
        while begin < kept.len() && kept.len() > 1 {
            let end = (begin + run).min(kept.len());
            let fewer: Vec<usize> = [&kept[..begin], &kept[end..]].concat();
            let smaller = ModelProto {
                graph: Some(subgraph(&graph, &fewer, &shapes)),
                ..model.clone()
            };
            if !fewer.is_empty() && fails(&smaller) {
                (kept, best) = (fewer, smaller);
            } else {
                begin = end;
            }
        }
        run /= 2;
    }
    best
}

/// Replaces the weights by noise, all or as many as possible, while the model still fails; tells whether all were.
pub fn to_noise(model: ModelProto, fails: &mut Fails) -> (ModelProto, bool) {
    let count = model
        .graph
        .as_ref()
        .map_or(0, |graph| graph.initializer.len());
    let with_noise = |model: &ModelProto, which: &dyn Fn(usize) -> bool| {
        let mut noisy = model.clone();
        let tensors = noisy
            .graph
            .iter_mut()
            .flat_map(|graph| &mut graph.initializer);
        for (index, tensor) in tensors.enumerate().filter(|(index, _)| which(*index)) {
            make_noise(tensor, index as u64);
        }
        noisy
    };
    let all = with_noise(&model, &|_| true);
    if fails(&all) {
        return (all, true);
    }
    let mut best = model;
    let mut complete = true;
    for one in 0..count {
        let noisy = with_noise(&best, &|index| index == one);
        if fails(&noisy) {
            best = noisy;
        } else {
            complete = false;
        }
    }
    (best, complete)
}

/// Types and extents of every tensor, if the model can be imported.
fn shapes(path: &Path) -> BTreeMap<String, ValueInfoProto> {
    let imported = catch_unwind(|| import(path, &ImportOptions::default()));
    let Ok(Ok(imported)) = imported else {
        return BTreeMap::new();
    };
    let graph = &imported.graph.dag;
    graph
        .node_weights()
        .map(|node| {
            let dim = |&extent: &u64| tensor_shape_proto::Dimension {
                value: Some(tensor_shape_proto::dimension::Value::DimValue(
                    i64::try_from(extent).unwrap_or(i64::MAX),
                )),
                ..tensor_shape_proto::Dimension::default()
            };
            let float = datum_type(node.dtype) == tract_onnx::prelude::DatumType::F32;
            let tensor = type_proto::Tensor {
                // FLOAT, or INT64: what else is computed on the way is a shape.
                elem_type: if float { 1 } else { 7 },
                shape: Some(TensorShapeProto {
                    dim: node.dims.iter().map(dim).collect(),
                }),
            };
            let info = ValueInfoProto {
                name: node.tensor.clone(),
                r#type: Some(TypeProto {
                    value: Some(type_proto::Value::TensorType(tensor)),
                    ..TypeProto::default()
                }),
                ..ValueInfoProto::default()
            };
            (node.tensor.clone(), info)
        })
        .collect()
}

/// The nodes `kept` with inputs for what they lack and outputs for what none of them takes.
fn subgraph(
    graph: &GraphProto,
    kept: &[usize],
    shapes: &BTreeMap<String, ValueInfoProto>,
) -> GraphProto {
    let nodes: Vec<_> = kept
        .iter()
        .map(|&index| graph.node[index].clone())
        .collect();
    let produced: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.output).collect();
    let mut used: Vec<&String> = Vec::new();
    for name in nodes.iter().flat_map(|node| &node.input) {
        if !name.is_empty() && !used.contains(&name) {
            used.push(name);
        }
    }
    let constant = |name: &String| graph.initializer.iter().any(|tensor| tensor.name == *name);
    let described = |name: &String| {
        let known = graph.input.iter().chain(&graph.value_info);
        let known = known.chain(&graph.output).find(|info| info.name == *name);
        // What import found has bound dimensions.
        shapes
            .get(name)
            .or(known)
            .cloned()
            .unwrap_or_else(|| ValueInfoProto {
                name: name.clone(),
                ..ValueInfoProto::default()
            })
    };
    let outputs = produced.iter().filter(|name| {
        !name.is_empty() && (!used.contains(name) || graph.output.iter().any(|o| o.name == ***name))
    });
    GraphProto {
        input: used
            .iter()
            .filter(|name| !produced.contains(**name) && !constant(name))
            .map(|name| described(name))
            .collect(),
        output: outputs.map(|name| described(name)).collect(),
        initializer: graph
            .initializer
            .iter()
            .filter(|tensor| used.contains(&&tensor.name))
            .cloned()
            .collect(),
        node: nodes,
        value_info: Vec::new(),
        ..graph.clone()
    }
}

/// Floats become noise in -1..1; zeros stay zeros.
fn make_noise(tensor: &mut TensorProto, seed: u64) {
    if tensor.data_type != 1 || !tensor.external_data.is_empty() {
        return;
    }
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = |value: f32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let noise = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        if value == 0.0 { 0.0 } else { noise }
    };
    if tensor.raw_data.len() >= 4 * FEWEST_WEIGHTS {
        let (values, _) = tensor.raw_data.as_chunks::<4>();
        tensor.raw_data = values
            .iter()
            .flat_map(|&bytes| noise(f32::from_le_bytes(bytes)).to_le_bytes())
            .collect();
    }
    if tensor.float_data.len() >= FEWEST_WEIGHTS {
        for value in &mut tensor.float_data {
            *value = noise(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::NodeProto;

    fn chain(length: usize) -> ModelProto {
        let node = |i: usize| NodeProto {
            op_type: "Relu".to_owned(),
            name: format!("relu{i}"),
            input: vec![format!("t{i}")],
            output: vec![format!("t{}", i + 1)],
            ..NodeProto::default()
        };
        let weights = TensorProto {
            name: "t0".to_owned(),
            data_type: 1,
            dims: vec![32],
            float_data: (0..32).map(|i| (i % 2) as f32).collect(),
            ..TensorProto::default()
        };
        ModelProto {
            graph: Some(GraphProto {
                node: (0..length).map(node).collect(),
                initializer: vec![weights],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn a_chain_is_reduced_to_the_two_nodes_that_fail_together() {
        let needs = |model: &ModelProto, name: &str| {
            let graph = model.graph.as_ref().unwrap();
            graph.node.iter().any(|node| node.name == name)
        };
        let mut fails = |model: &ModelProto| needs(model, "relu3") && needs(model, "relu11");
        let reduced = to_failing_nodes(Path::new("nowhere.onnx"), chain(20), &mut fails);
        let graph = reduced.graph.unwrap();
        let names: Vec<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["relu3", "relu11"]);
        let inputs: Vec<&str> = graph
            .input
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        assert_eq!(inputs, ["t3", "t11"]);
        assert!(graph.initializer.is_empty());
    }

    #[test]
    fn weights_become_noise_and_zeros_stay() {
        let (noisy, all) = to_noise(chain(1), &mut |_| true);
        assert!(all);
        let graph = noisy.graph.unwrap();
        let values = &graph.initializer[0].float_data;
        assert!(values.iter().step_by(2).all(|v| *v == 0.0));
        assert!(
            values
                .iter()
                .skip(1)
                .step_by(2)
                .all(|v| *v != 1.0 && v.abs() <= 1.0)
        );
        let (kept, all) = to_noise(chain(1), &mut |_| false);
        assert!(!all);
        assert_eq!(kept, chain(1));
    }
}
