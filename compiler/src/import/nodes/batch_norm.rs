//! Batch normalisation as a factor and an addend per channel.

use super::constants::floats;
use super::{finish, or_host, shape};
use crate::graph::{Affine, Layer};
use crate::import::attributes::{Attributes, outside};
use crate::import::{Importer, Translated};
use tract_onnx::pb::NodeProto;

pub(crate) fn batch_normalization(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    if attributes.int("training_mode", 0) != 0 {
        return Translated::Host(outside(
            "training_mode",
            1,
            "0",
            "export the model for inference, after `model.eval()`",
        ));
    }
    let input = or_host!(importer.activation(node, 0));
    let epsilon = attributes.float("epsilon", 1e-5);
    let parameter = |index: usize| -> Result<Vec<f32>, String> {
        floats(
            importer
                .constant(node, index)
                .ok_or("its parameters are computed: export them as initializers")?,
        )
    };
    let (gamma, beta) = (or_host!(parameter(1)), or_host!(parameter(2)));
    let (mean, variance) = (or_host!(parameter(3)), or_host!(parameter(4)));
    let [_, channels, ..] = or_host!(shape(importer, input));
    if [&gamma, &beta, &mean, &variance]
        .iter()
        .any(|p| p.len() != channels as usize)
    {
        return Translated::Host(
            format!(
                "its parameters are not one for each of {channels} channels: export the model again"
            )
            .into(),
        );
    }
    let scale: Vec<f32> = gamma
        .iter()
        .zip(&variance)
        .map(|(g, v)| g / (v + epsilon).sqrt())
        .collect();
    let offset: Vec<f32> = beta
        .iter()
        .zip(&mean)
        .zip(&scale)
        .map(|((b, m), s)| b - m * s)
        .collect();
    if scale.iter().chain(&offset).any(|v| !v.is_finite()) {
        return Translated::Host(outside(
            "epsilon",
            epsilon,
            "what makes scale / sqrt(variance + epsilon) finite",
            "give a larger one, or variances from 0",
        ));
    }
    finish(
        importer,
        node,
        &[input],
        Layer {
            affine: Some(Affine { scale, offset }),
            ..Layer::default()
        },
    )
}
