//! Channels in any order, repeated, left out, or of one value: a 1 x 1 convolution whose weights are ones and zeros.
//!
//! ```text
//! channels 0 1 2 of x  ->  Pad: 0 1 2 -, Concat: 0 1 2 c, Gather: 2 0 0          -: zero, c: a constant
//! ```
//!
//! A channel of the result has one weight, or none where it is a constant, which is then the layer's offset. A sparse
//! machine multiplies once for each value that is not zero; over the host link each would go twice.

use crate::graph::{Affine, Layer};
use scnn_isa::plane::Axis;

/// Source of a channel of the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ChannelSource {
    /// The values of a channel of the operand.
    Channel(u32),
    /// One value everywhere.
    Constant(f32),
}

/// Weights for each value that is read and made, zeros included, up to which loading them takes less than the values over
/// the host link: a weight that is zero takes a sixteenth of one that is not, and a DRAM is about three times as fast.
const WEIGHTS_PER_VALUE: u64 = 32;

/// The layer that makes channels of these sources from an operand of so many images and channels; `planes` pad or crop the
/// plane too.
pub(super) fn of_channels(
    [images, channels]: [u32; 2],
    sources: &[ChannelSource],
    planes: [Axis; 2],
) -> Result<Layer, String> {
    let outputs = sources.len() as u32;
    let places = u64::from(images)
        * planes
            .iter()
            .map(|axis| u64::from(axis.input))
            .product::<u64>();
    let values = places * u64::from(channels + outputs);
    let weights = u64::from(channels) * u64::from(outputs);
    if weights > WEIGHTS_PER_VALUE * values {
        return Err(format!(
            "as a convolution that moves values it has {weights} weights, zeros included, for {values} values, which the host link takes sooner"
        ));
    }
    let ones = (0..).zip(sources).filter_map(|(to, source)| match *source {
        ChannelSource::Channel(from) => Some(([to, from], [0, 0])),
        ChannelSource::Constant(_) => None,
    });
    let offset: Vec<f32> = sources
        .iter()
        .map(|source| match *source {
            ChannelSource::Channel(_) => 0.0,
            ChannelSource::Constant(value) => value,
        })
        .collect();
    let is_plain = offset.iter().all(|&value| value == 0.0);
    let affine = Affine {
        scale: vec![1.0; sources.len()],
        offset,
    };
    Ok(Layer {
        affine: (!is_plain).then_some(affine),
        ..Layer::of_ones([outputs, channels], planes, ones)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_channel_has_no_weights_and_an_offset() {
        use ChannelSource::{Channel, Constant};
        let sources = [Channel(1), Constant(0.5), Constant(0.0), Channel(1)];
        let planes = [Axis::identity(3), Axis::identity(4)];
        let layer = of_channels([1, 2], &sources, planes).unwrap();
        let conv = layer.conv.unwrap();
        let weights: Vec<f32> = conv.weights.iter().copied().collect();
        assert_eq!(weights, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert!(conv.moves_only());
        assert_eq!(layer.affine.unwrap().offset, [0.0, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn channels_and_zeros_alone_have_no_offset() {
        let planes = [Axis::identity(3), Axis::identity(4)];
        let sources = [ChannelSource::Channel(0), ChannelSource::Constant(0.0)];
        let layer = of_channels([1, 1], &sources, planes).unwrap();
        assert!(layer.affine.is_none());
    }

    #[test]
    fn many_channels_of_few_values_stay_with_the_host() {
        let sources: Vec<ChannelSource> = (0..100).map(ChannelSource::Channel).collect();
        let with = |extent| of_channels([1, 100], &sources, [Axis::identity(extent); 2]);
        assert!(with(1).is_err());
        assert!(with(2).is_ok());
    }
}
