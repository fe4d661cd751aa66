//! Batch normalisation as a factor and an addend per channel.

use super::constants::{floats, per_channel};
use super::{finish, or_host};
use crate::graph::{Affine, Layer};
use crate::import::attributes::{Attributes, outside};
use crate::import::{Importer, Translated};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

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
    let dims = importer.graph.dag[input].dims.clone();
    let channels = dims.get(1).copied().unwrap_or(0);
    if [&gamma, &beta, &mean, &variance]
        .iter()
        .any(|p| p.len() as u64 != channels)
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
    // By entry of axis 1, wherever that lies on the machine.
    let along = |values: &[f32]| -> Result<Vec<f32>, String> {
        let mut shape = vec![1; dims.len() - 1];
        shape[0] = values.len();
        let constant = Tensor::from_shape(&shape, values).map_err(|e| e.to_string())?;
        per_channel(importer, input, &constant)
    };
    if scale.iter().chain(&offset).any(|v| !v.is_finite()) {
        return Translated::Host(outside(
            "epsilon",
            epsilon,
            "what makes scale / sqrt(variance + epsilon) finite",
            "give a larger one, or variances from 0",
        ));
    }
    let (scale, offset) = (or_host!(along(&scale)), or_host!(along(&offset)));
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
