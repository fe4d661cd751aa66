//! Where the weights of a model lie: the constants that its convolutions and matrix products multiply with.

use super::pattern::Layout;
use crate::import::Source;
use std::sync::Arc;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, Tensor};

/// Weights, and the nodes that use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Names of the nodes, one but where weights are shared.
    pub nodes: Vec<String>,
    /// Name of the tensor.
    pub tensor: String,
    /// How it lies.
    pub layout: Layout,
}

/// The weights in `source` that nodes of a name in `wanted` use, in the order of the nodes.
///
/// Weights that are computed, of integers, or shared by nodes that read them in different ways are left out.
pub fn sites(source: &Source, wanted: &dyn Fn(&str) -> bool) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    let mut conflicting: Vec<String> = Vec::new();
    for node in source.nodes() {
        let Some(name) = node
            .input
            .get(1)
            .filter(|_| inputs_first(node, 2).is_some())
        else {
            continue;
        };
        let Some(layout) = source.tensor(name).and_then(|tensor| layout(node, &tensor)) else {
            continue;
        };
        let node = crate::import::node_name(node);
        match sites.iter_mut().find(|site| site.tensor == *name) {
            Some(site) if site.layout == layout => site.nodes.push(node),
            Some(site) => conflicting.push(site.tensor.clone()),
            None => sites.push(Site {
                nodes: vec![node],
                tensor: name.clone(),
                layout,
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

/// How a node reads its weights, if they are floats that it multiplies activations with.
fn layout(node: &NodeProto, tensor: &Tensor) -> Option<Layout> {
    let floats = [DatumType::F32, DatumType::F16, DatumType::F64];
    let dims = tensor.shape();
    if dims.len() < 2 || !floats.contains(&tensor.datum_type()) {
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
        let floats = tensor.cast_to::<f32>().ok()?;
        let view = floats.to_plain_array_view::<f32>().ok()?;
        Some(view.iter().copied().collect())
    }

    /// Weights as a tensor of the type and shape that it has in `source`.
    pub fn tensor_of(&self, weights: &[f32], source: &Source) -> Option<Arc<Tensor>> {
        let original = source.tensor(&self.tensor)?;
        let tensor = Tensor::from_shape(original.shape(), weights).ok()?;
        let cast = tensor.cast_to_dt(original.datum_type()).ok()?;
        Some(Arc::new(cast.into_owned()))
    }
}
