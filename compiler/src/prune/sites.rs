//! Where the weights of a model lie: the constants that its convolutions and matrix products multiply with.

use super::pattern::Layout;
use super::quantised::IntegerWeights;
use super::write_back::PrunedWeights;
use crate::import::Source;
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, Tensor};

/// Weights, and the nodes that use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Names of the nodes, one but where weights are shared.
    pub nodes: Vec<String>,
    /// Name of the tensor.
    pub tensor: String,
    /// How it lies.
    pub layout: Layout,
    /// How its integers stand for weights; none where it is of floats.
    pub quantised: Option<IntegerWeights>,
}

/// The weights in `source` that nodes of a name in `wanted` use, in the order of the nodes.
///
/// Weights that are computed otherwise than by a `DequantizeLinear` of constants, or shared by nodes that read them in
/// different ways, are left out.
pub fn sites(source: &Source, wanted: &dyn Fn(&str) -> bool) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    let mut conflicting: Vec<String> = Vec::new();
    let dequantised: BTreeMap<&str, &NodeProto> = source
        .nodes()
        .iter()
        .filter(|node| node.op_type == "DequantizeLinear")
        .filter_map(|node| Some((node.output.first()?.as_str(), node)))
        .collect();
    for node in source.nodes() {
        let Some(name) = node
            .input
            .get(1)
            .filter(|_| inputs_first(node, 2).is_some())
        else {
            continue;
        };
        let behind = dequantised.get(name.as_str());
        let (name, quantised) = match behind.and_then(|node| IntegerWeights::of(node, source)) {
            Some((integers, quantised)) => (integers, Some(quantised)),
            None => (name.clone(), None),
        };
        let Some(tensor) = source.tensor(&name) else {
            continue;
        };
        let floats = [DatumType::F32, DatumType::F16, DatumType::F64];
        if quantised.is_none() && !floats.contains(&tensor.datum_type()) {
            continue;
        }
        let Some(layout) = layout(node, tensor.shape()) else {
            continue;
        };
        let node = crate::import::node_name(node);
        match sites.iter_mut().find(|site| site.tensor == name) {
            Some(site) if (site.layout, &site.quantised) == (layout, &quantised) => {
                site.nodes.push(node);
            }
            Some(site) => conflicting.push(site.tensor.clone()),
            None => sites.push(Site {
                nodes: vec![node],
                tensor: name,
                layout,
                quantised,
            }),
        }
    }
    sites.retain(|site| {
        site.nodes.iter().any(|node| wanted(node)) && !conflicting.contains(&site.tensor)
    });
    sites
}

/// Whether a node has weights of `rank` dimensions with the input channels before the output channels.
fn inputs_first(node: &NodeProto, rank: usize) -> Option<bool> {
    let transposed = || {
        let attribute = node.attribute.iter().find(|a| a.name == "transB");
        attribute.is_some_and(|attribute| attribute.i != 0)
    };
    match node.op_type.as_str() {
        "Conv" => Some(false),
        "ConvTranspose" => Some(true),
        "Gemm" if rank == 2 => Some(!transposed()),
        "MatMul" if rank == 2 => Some(true),
        _ => None,
    }
}

/// How a node reads its weights of extents `dims`, if it multiplies activations with them.
fn layout(node: &NodeProto, dims: &[usize]) -> Option<Layout> {
    if dims.len() < 2 {
        return None;
    }
    let inputs_first = inputs_first(node, dims.len())?;
    let (inputs, outputs) = if inputs_first {
        (dims[0], dims[1])
    } else {
        (dims[1], dims[0])
    };
    let layout = Layout {
        outputs,
        inputs,
        taps: dims[2..].iter().product(),
        inputs_first,
    };
    (!layout.is_empty()).then_some(layout)
}

impl Site {
    /// The name it is shown under.
    pub fn name(&self) -> &str {
        self.nodes.first().map_or(&self.tensor, |name| name)
    }

    /// The weights as floats, in the order of the tensor.
    pub fn weights(&self, source: &Source) -> Option<Vec<f32>> {
        let tensor = source.tensor(&self.tensor)?;
        if let Some(quantised) = &self.quantised {
            return quantised.weights(&tensor);
        }
        let floats = tensor.cast_to::<f32>().ok()?;
        let view = floats.to_plain_array_view::<f32>().ok()?;
        Some(view.iter().copied().collect())
    }

    /// The weights as they are written back.
    pub fn stored(&self, source: &Source) -> Option<PrunedWeights> {
        Some(PrunedWeights {
            values: self.weights(source)?,
            quantised: self.quantised.clone(),
        })
    }

    /// Pruned weights as a tensor of the type and shape that it has in `source`.
    pub fn tensor_of(&self, weights: &[f32], source: &Source) -> Option<Arc<Tensor>> {
        let original = source.tensor(&self.tensor)?;
        if let Some(quantised) = &self.quantised {
            return quantised.cleared(&original, weights).map(Arc::new);
        }
        let tensor = Tensor::from_shape(original.shape(), weights).ok()?;
        let cast = tensor.cast_to_dt(original.datum_type()).ok()?;
        Some(Arc::new(cast.into_owned()))
    }
}
