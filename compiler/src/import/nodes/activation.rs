//! Functions of one value: clamps, slopes for what is negative, and the PPU's tables.

use super::constants::{bounds, per_channel};
use super::{finish, or_host, shape};
use crate::graph::{Function, Layer, NodeId};
use crate::import::attributes::{Attributes, outside};
use crate::import::{Importer, Translated};
use tract_onnx::pb::NodeProto;

pub(crate) fn relu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    finish(
        importer,
        node,
        &[input],
        Layer {
            clamp: Some((0.0, f32::INFINITY)),
            ..Layer::default()
        },
    )
}

pub(crate) fn clip(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let bound = |index: usize, name: &str, default: f32| -> Result<f32, String> {
        if let Some(value) = attributes.optional_float(name) {
            return Ok(value);
        }
        match importer.constant(node, index) {
            Some(tensor) => bounds(tensor)?
                .first()
                .copied()
                .ok_or_else(|| format!("its bound `{name}` is empty: export the model again")),
            None if Importer::has_operand(node, index) => Err(format!(
                "its bound `{name}` is computed: export it as an initializer"
            )),
            None => Ok(default),
        }
    };
    let low = or_host!(bound(1, "min", f32::NEG_INFINITY));
    let high = or_host!(bound(2, "max", f32::INFINITY));
    if low.is_nan() || high.is_nan() || low > high {
        let taken = "`min` up to `max`";
        return Translated::Host(outside("min", low, taken, &format!("`max` is {high}")));
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            clamp: Some((low, high)),
            ..Layer::default()
        },
    )
}

pub(crate) fn leaky_relu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let [_, channels, ..] = or_host!(shape(importer, input));
    leaky(
        importer,
        node,
        input,
        vec![attributes.float("alpha", 0.01); channels as usize],
    )
}

pub(crate) fn prelu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    _: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let Some(slope) = importer.constant(node, 1) else {
        return Translated::Host("its `slope` is computed: export it as an initializer".into());
    };
    let slopes = or_host!(per_channel(importer, input, slope));
    leaky(importer, node, input, slopes)
}

fn leaky(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    input: NodeId,
    slopes: Vec<f32>,
) -> Translated {
    if let Some(slope) = slopes.iter().find(|s| !(-1.0..=1.0).contains(*s)) {
        let name = if node.op_type == "PRelu" {
            "slope"
        } else {
            "alpha"
        };
        let remedy = "a steeper one has no place in the PPU's 16-bit factors";
        return Translated::Host(outside(name, slope, "-1 to 1", remedy));
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            function: Some(Function::Leaky(slopes)),
            ..Layer::default()
        },
    )
}

pub(crate) fn function(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.activation(node, 0));
    let function = match node.op_type.as_str() {
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "HardSwish" => Function::HardSwish,
        "Elu" => Function::Elu {
            alpha: attributes.float("alpha", 1.0),
            gamma: 1.0,
        },
        "Selu" => Function::Elu {
            alpha: attributes.float("alpha", 1.673_263_2),
            gamma: attributes.float("gamma", 1.050_701),
        },
        "Gelu" => Function::Gelu {
            tanh: attributes
                .text("approximate")
                .is_some_and(|way| way == "tanh"),
        },
        "Mish" => Function::Mish,
        "Softplus" => Function::Softplus,
        "Softsign" => Function::Softsign,
        "Swish" => Function::Swish {
            alpha: attributes.float("alpha", 1.0),
        },
        "HardSigmoid" => Function::HardSigmoid {
            alpha: attributes.float("alpha", 0.2),
            beta: attributes.float("beta", 0.5),
        },
        other => return Translated::Host(format!("the PPU has no table for {other}")),
    };
    finish(
        importer,
        node,
        &[input],
        Layer {
            function: Some(function),
            ..Layer::default()
        },
    )
}
