//! Activations with a factor for each channel.

use super::constants::per_channel;
use super::elementwise::{has_many_values, map};
use super::{finish, or_host};
use crate::graph::{FixedScale, Function, Layer};
use crate::import::attributes::Attributes;
use crate::import::{Importer, Translated};
use tract_onnx::pb::NodeProto;

pub(crate) fn prelu(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if !has_many_values(importer, node, 1) {
        return map(importer, node, attributes);
    }
    let input = or_host!(importer.activation(node, 0));
    let Some(slope) = importer.constant(node, 1) else {
        return Translated::Host("its `slope` is computed: export it as an initializer".into());
    };
    let slopes = or_host!(per_channel(importer, input, slope));
    if let Some(slope) = slopes
        .iter()
        .find(|slope| slope.is_nan() || slope.abs() > MAX_SLOPE)
    {
        return Translated::Host(
            format!(
                "`slope` has {slope}; the PPU's factors reach from -{MAX_SLOPE} to {MAX_SLOPE}"
            )
            .into(),
        );
    }
    let own = slopes.windows(2).any(|pair| pair[0] != pair[1]);
    let grid = importer.graph.dag[input].grid;
    if own && grid.is_some_and(FixedScale::is_of_bytes) {
        return Translated::Host(
            "the model rounds it to 8 bits, and the PPU would round the result of each channel's own slope before that".into(),
        );
    }
    let layer = Layer {
        function: Some(Function::Leaky(slopes)),
        ..Layer::default()
    };
    finish(importer, node, &[input], layer)
}

/// Largest slope: a 16-bit factor of the largest exponent.
pub(crate) const MAX_SLOPE: f32 = 32767.0;
