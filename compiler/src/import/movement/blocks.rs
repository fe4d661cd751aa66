//! Blocks of the plane that lie on channels, and back: `DepthToSpace`, `SpaceToDepth`.
//!
//! Both are convolutions with one weight for each value, which is 1: transposed from channels to the plane, with the block as
//! stride from the plane to channels. A sparse machine multiplies once for each value, a hundredth of what the value would
//! take over the host link and back.

use crate::graph::Layer;
use crate::graph::reason::Reason;
use crate::import::attributes::{Attributes, outside};
use crate::import::nodes::{finish, or_host, shape};
use crate::import::{Importer, Translated};
use scnn_isa::plane::Axis;
use tract_onnx::pb::NodeProto;

/// The order of a block's values on channels.
#[derive(Clone, Copy)]
struct DepthBlocks {
    size: u32,
    /// Channels of the plane that has the blocks as planes.
    channels: u32,
    /// Whether the channels of one block are next to each other.
    together: bool,
}

impl DepthBlocks {
    /// The channel of the value at (`row`, `column`) of a block of `channel`.
    fn place(self, channel: u32, row: u32, column: u32) -> u32 {
        let inside = row * self.size + column;
        if self.together {
            channel * self.size * self.size + inside
        } else {
            inside * self.channels + channel
        }
    }

    /// All values of a block of every channel: channel, row, column.
    fn values(self) -> impl Iterator<Item = (u32, u32, u32)> {
        let size = self.size;
        (0..self.channels).flat_map(move |channel| {
            let rows = (0..size).map(move |row| (channel, row));
            rows.flat_map(move |(channel, row)| (0..size).map(move |column| (channel, row, column)))
        })
    }
}

pub(crate) fn depth_to_space(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.plane(node, 0));
    let [_, c, h, w] = or_host!(shape(importer, input));
    let size = or_host!(size(attributes));
    let blocks = DepthBlocks {
        size,
        channels: c / (size * size),
        together: or_host!(together(attributes)),
    };
    let axis = |input: u32| Axis {
        input,
        output: input * size,
        kernel: size,
        upsample: size,
        pad: [size as i32 - 1; 2],
        ..Axis::identity(input)
    };
    // The kernel of a transposed convolution is flipped.
    let taps = blocks.values().map(|(channel, row, column)| {
        let tap = [size - 1 - row, size - 1 - column];
        ([channel, blocks.place(channel, row, column)], tap)
    });
    let conv = or_host!(Layer::of_ones(
        [blocks.channels, c],
        [axis(h), axis(w)],
        taps
    ));
    finish(importer, node, &[input], conv)
}

pub(crate) fn space_to_depth(
    importer: &mut Importer<'_>,
    node: &NodeProto,
    attributes: &Attributes<'_>,
) -> Translated {
    let input = or_host!(importer.plane(node, 0));
    let [_, channels, h, w] = or_host!(shape(importer, input));
    let size = or_host!(size(attributes));
    let blocks = DepthBlocks {
        size,
        channels,
        together: or_host!(together(attributes)),
    };
    let axis = |input: u32| Axis {
        input,
        output: input / size,
        kernel: size,
        stride: size,
        ..Axis::identity(input)
    };
    let taps = blocks.values().map(|(channel, row, column)| {
        let to = blocks.place(channel, row, column);
        ([to, channel], [row, column])
    });
    let conv = or_host!(Layer::of_ones(
        [channels * size * size, channels],
        [axis(h), axis(w)],
        taps
    ));
    finish(importer, node, &[input], conv)
}

/// Whether the channels of a block are next to each other, from the order of depth, columns and rows that `mode` names.
fn together(attributes: &Attributes<'_>) -> Result<bool, Reason> {
    match attributes.text("mode").as_deref() {
        None | Some("DCR") => Ok(false),
        Some("CRD") => Ok(true),
        Some(mode) => Err(outside(
            "mode",
            mode,
            "DCR or CRD",
            "export the model again",
        )),
    }
}

fn size(attributes: &Attributes<'_>) -> Result<u32, String> {
    let given = attributes.int("blocksize", 1);
    let size = u32::try_from(given).ok();
    size.filter(|size| (1..=256).contains(size))
        .ok_or_else(|| format!("`blocksize` is {given}, the array takes 1 to 256"))
}
