//! Where what a program computed first departs from what the reference computed: the layer, the channel, the position,
//! and the PE that holds it.

use crate::quantise::{Operation, Quantised};
use scnn_isa::ids::TensorId;
use scnn_isa::plane::Span;
use scnn_isa::program::Program;
use std::fmt;

/// The first difference, in the order of execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Whose result it is; absent for a tensor that comes from the host.
    pub layer: Option<String>,
    /// ONNX nodes of the layer.
    pub onnx_nodes: Vec<String>,
    /// The tensor.
    pub tensor: String,
    /// Image, channel, row, column of its first value that differs.
    pub at: [u32; 4],
    /// Row and column, in its PE group, of the PE that holds this value.
    pub pe: Option<(u32, u32)>,
    /// What the program computed there.
    pub ours: i16,
    /// What the reference computed there.
    pub reference: i16,
    /// Values that differ.
    pub differing: usize,
    /// Values that were compared.
    pub compared: usize,
    /// Largest difference of a value.
    pub largest: u16,
    /// Mean difference of all values that were compared.
    pub mean: f64,
}

impl Difference {
    /// How far it reaches, for a note below the message.
    pub fn extent(&self) -> String {
        format!(
            "{} of {} values of tensor `{}` differ, by {} at most and {:.3} in the mean",
            self.differing, self.compared, self.tensor, self.largest, self.mean
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.layer {
            Some(layer) => write!(f, "layer `{layer}`")?,
            None => write!(f, "tensor `{}` from the host", self.tensor)?,
        }
        let [image, channel, row, column] = self.at;
        write!(
            f,
            ", image {image}, channel {channel}, row {row}, column {column}"
        )?;
        if let Some((row, column)) = self.pe {
            write!(f, ", PE row {row} column {column}")?;
        }
        write!(f, ": {} instead of {}", self.ours, self.reference)
    }
}

/// The first difference between the contents of all tensors, by [`TensorId`], after a run of `program` and after the
/// interpretation of the network that it was compiled from.
pub fn first(
    network: &Quantised,
    program: &Program,
    ours: &[Vec<i16>],
    reference: &[Vec<i16>],
) -> Option<Difference> {
    let border = |&value: &usize| {
        let id = network.values[value].tensor?;
        let all = Span::new(0, network.tensors[id.index()].shape[1]);
        of_channels(program, id, all, ours, reference)
    };
    let operations = || {
        network
            .operations
            .iter()
            .find_map(|operation| match operation {
                Operation::Host(segment) => segment.outputs.iter().find_map(border),
                Operation::Layer(layer) => {
                    let view = layer.destination;
                    let difference =
                        of_channels(program, view.tensor, view.channels, ours, reference)?;
                    Some(Difference {
                        layer: Some(layer.name.clone()),
                        onnx_nodes: layer.onnx_nodes.clone(),
                        ..difference
                    })
                }
            })
    };
    network.inputs.iter().find_map(border).or_else(operations)
}

/// The first difference in some channels of a tensor.
fn of_channels(
    program: &Program,
    id: TensorId,
    channels: Span,
    ours: &[Vec<i16>],
    reference: &[Vec<i16>],
) -> Option<Difference> {
    let tensor = program.tensor(id);
    let [_, all_channels, height, width] = tensor.shape;
    let position = |index: usize| {
        let index = index as u32;
        let (row, column) = (index / width % height, index % width);
        let channel = index / (width * height) % all_channels;
        [
            index / (width * height * all_channels),
            channel,
            row,
            column,
        ]
    };
    let (ours, reference) = (&ours[id.index()], &reference[id.index()]);
    if ours == reference {
        return None;
    }
    let pairs = || {
        let pairs = ours.iter().zip(reference).enumerate();
        pairs.filter(|&(index, _)| channels.contains(position(index)[1]))
    };
    let differing = || pairs().filter(|(_, (ours, reference))| ours != reference);
    let (index, (&value, &expected)) = differing().next()?;
    let at @ [image, _, row, column] = position(index);
    let mut tiles = tensor.layout.tiles.iter();
    Some(Difference {
        layer: None,
        onnx_nodes: Vec::new(),
        tensor: tensor.name.clone(),
        at,
        pe: tiles.find_map(|tile| tile.owner(image, row, column)),
        ours: value,
        reference: expected,
        differing: differing().count(),
        compared: pairs().count(),
        mean: pairs()
            .map(|(_, (a, b))| f64::from(a.abs_diff(*b)))
            .sum::<f64>()
            / pairs().count().max(1) as f64,
        largest: differing()
            .map(|(_, (a, b))| a.abs_diff(*b))
            .max()
            .unwrap_or(0),
    })
}
