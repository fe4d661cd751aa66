//! Legality: the rules of what a tensor and a layer on the machine may be, whatever their mapping.
//!
//! There is one set of them. The compiler asks it before it puts a node on the machine, and gives to the host what breaks a
//! rule, with the rule's words as the reason; [`crate::verify`] asks it of every tensor and layer of a program. What
//! depends on the mapping (tiles, passes, rounds, regions) is decided by the mapper and proven by the verifier alone.

use crate::layer::{OperandKind, OperandShape, PoolKind};
use crate::machine::{Multiply, ParameterValue};
use crate::plane::Axis;

/// Largest extent of a tensor, and largest kernel, stride, dilation or padding of an axis: what 16 bits can name.
pub const MAX_EXTENT: u32 = 65_535;

/// Most values of a tensor.
pub const MAX_ELEMENTS: u64 = 1 << 31;

/// Most residues of a block along an axis; the stride of a layer whose source has more is not split into phases.
pub const MAX_RESIDUES: u32 = 256;

/// Extents and windows of a layer, by which its legality is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// N, C, H, W of the source.
    pub source: [u32; 4],
    /// The convolution.
    pub array: Option<Convolution>,
    /// How the operand of the PPU lies over the values that it meets, and its N, C, H, W.
    pub operand: Option<(OperandShape, [u32; 4])>,
    /// Pooling.
    pub pool: Option<Window>,
    /// N, C, H, W of the destination.
    pub destination: [u32; 4],
}

/// The extents of a convolution; its channels are those of source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Groups.
    pub groups: u32,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
}

/// The extents of a pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kind.
    pub kind: PoolKind,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
}

/// Whether the machine can hold a tensor `[N, C, H, W]`.
///
/// # Errors
/// The rule that is broken.
pub fn tensor(shape: [u32; 4]) -> Result<(), String> {
    let extents = shape
        .into_iter()
        .zip(["images", "channels", "rows", "columns"]);
    if let Some((extent, what)) = extents.into_iter().find(|&(extent, _)| extent > MAX_EXTENT) {
        return Err(format!(
            "there are {extent} {what}; the array takes up to {MAX_EXTENT}"
        ));
    }
    let elements: u64 = shape.into_iter().map(u64::from).product();
    if (1..=MAX_ELEMENTS).contains(&elements) {
        Ok(())
    } else {
        Err(format!("{shape:?} is empty or has more than 2^31 values"))
    }
}

/// Whether a layer can be on the machine.
///
/// # Errors
/// The first rule that is broken.
pub fn layer(form: &Form) -> Result<(), String> {
    tensor(form.source)?;
    tensor(form.destination)?;
    let [n, mut channels, mut h, mut w] = form.source;
    if n != form.destination[0] {
        return Err("source and destination have other batches".to_owned());
    }
    if let Some(array) = &form.array {
        convolution(array, [h, w], channels, form.destination[1])?;
        (channels, h, w) = (form.destination[1], array.y.output, array.x.output);
    }
    if channels != form.destination[1] {
        return Err("the PPU does not change the number of channels".to_owned());
    }
    if let Some((lies, shape)) = form.operand {
        let wanted = match lies {
            OperandShape::Same => [n, channels, h, w],
            OperandShape::PerChannel => [n, channels, 1, 1],
        };
        if shape != wanted {
            return Err(format!("the operand is {shape:?}, not {wanted:?}"));
        }
    }
    if let Some(pool) = &form.pool {
        window(pool, [h, w])?;
        (h, w) = (pool.y.output, pool.x.output);
    }
    let [_, _, rows, cols] = form.destination;
    if [h, w] != [rows, cols] {
        return Err(format!(
            "it gives {h} x {w}, its destination is {rows} x {cols}"
        ));
    }
    Ok(())
}

/// Whether the PPU of a machine has that operation with a second tensor.
///
/// # Errors
/// The rule that is broken.
pub fn operand(multiply: Multiply, kind: OperandKind, lies: OperandShape) -> Result<(), String> {
    let possible = match (kind, lies) {
        (OperandKind::Add, _) => true,
        (OperandKind::Multiply, OperandShape::PerChannel) => multiply != Multiply::None,
        (OperandKind::Multiply, OperandShape::Same) => multiply == Multiply::Full,
    };
    if possible {
        return Ok(());
    }
    let stated = multiply.show();
    Err(format!(
        "it multiplies two activations, and the machine's `ppu.multiply` is `{stated}`"
    ))
}

fn convolution(
    array: &Convolution,
    [h, w]: [u32; 2],
    inputs: u32,
    outputs: u32,
) -> Result<(), String> {
    axis(&array.y, h)?;
    axis(&array.x, w)?;
    let groups = array.groups;
    if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(format!(
            "{groups} groups do not divide {inputs} and {outputs} channels"
        ));
    }
    Ok(())
}

fn window(pool: &Window, [h, w]: [u32; 2]) -> Result<(), String> {
    axis(&pool.y, h)?;
    axis(&pool.x, w)?;
    if [pool.y.upsample, pool.x.upsample] != [1, 1] {
        return Err("pooling does not upsample".to_owned());
    }
    for (what, axis) in [("rows", &pool.y), ("columns", &pool.x)] {
        if let Some(output) = (0..axis.output).find(|&output| meets_nothing(axis, output)) {
            return Err(format!(
                "the pooling window at {what} {output} meets no value, only padding"
            ));
        }
    }
    Ok(())
}

/// Whether no tap of the window at `output` lies inside the plane.
fn meets_nothing(axis: &Axis, output: u32) -> bool {
    (0..axis.kernel).all(|tap| axis.input(output, tap).is_none())
}

/// Whether an axis over `input` positions is one that descriptors can state.
fn axis(axis: &Axis, input: u32) -> Result<(), String> {
    let Axis {
        output,
        kernel,
        stride,
        upsample,
        dilation,
        pad: [before, after],
        ..
    } = *axis;
    let sane = |size: u32| (1..=MAX_EXTENT).contains(&size);
    let sizes = [axis.input, output, kernel, stride, upsample, dilation];
    let pads = axis.pad.iter().all(|pad| pad.unsigned_abs() <= MAX_EXTENT);
    if axis.input == input && sizes.into_iter().all(sane) && pads {
        return Ok(());
    }
    Err(format!(
        "an axis over {input} positions is not possible: {} in, {output} out, kernel {kernel}, stride {stride}, upsample \
         {upsample}, dilation {dilation}, pads {before} and {after}; each is 1 to {MAX_EXTENT}, pads are at most that \
         either way",
        axis.input
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(shape: [u32; 4]) -> Form {
        Form {
            source: shape,
            array: None,
            operand: None,
            pool: None,
            destination: shape,
        }
    }

    fn said(form: &Form) -> String {
        layer(form).unwrap_err()
    }

    #[test]
    fn the_ppu_alone_changes_neither_channels_nor_plane() {
        assert_eq!(layer(&copy([2, 3, 4, 5])), Ok(()));
        let other = |destination| Form {
            destination,
            ..copy([2, 3, 4, 5])
        };
        assert!(said(&other([2, 4, 4, 5])).contains("number of channels"));
        assert!(said(&other([2, 3, 4, 6])).contains("4 x 5"));
        assert!(said(&other([1, 3, 4, 5])).contains("batches"));
    }

    #[test]
    fn an_extent_is_what_16_bits_name() {
        assert_eq!(layer(&copy([1, 1, 1, 65_535])), Ok(()));
        assert!(said(&copy([1, 1, 1, 65_536])).contains("65536 columns"));
        assert!(said(&copy([1, 0, 1, 1])).contains("is empty"));
    }

    /// Two taps three positions apart, around a plane of one: both lie outside.
    #[test]
    fn a_window_meets_a_value() {
        let axis = Axis {
            kernel: 2,
            dilation: 3,
            pad: [1, 2],
            ..Axis::identity(1)
        };
        let pool = |x| Form {
            pool: Some(Window {
                kind: PoolKind::Max,
                y: Axis::identity(1),
                x,
            }),
            ..copy([1, 1, 1, 1])
        };
        assert!(said(&pool(axis)).contains("meets no value"));
        assert_eq!(
            layer(&pool(Axis {
                pad: [0, 3],
                ..axis
            })),
            Ok(())
        );
    }

    #[test]
    fn an_operand_lies_over_the_values_as_it_says() {
        let operand = |lies, extents| {
            layer(&Form {
                operand: Some((lies, extents)),
                ..copy([2, 3, 4, 5])
            })
        };
        assert_eq!(operand(OperandShape::Same, [2, 3, 4, 5]), Ok(()));
        assert_eq!(operand(OperandShape::PerChannel, [2, 3, 1, 1]), Ok(()));
        assert!(operand(OperandShape::Same, [2, 3, 1, 1]).is_err());
        assert!(operand(OperandShape::PerChannel, [2, 3, 4, 5]).is_err());
    }

    #[test]
    fn groups_divide_both_channels() {
        let array = |groups| Form {
            array: Some(Convolution {
                groups,
                y: Axis::identity(2),
                x: Axis::identity(2),
            }),
            destination: [1, 6, 2, 2],
            ..copy([1, 4, 2, 2])
        };
        assert_eq!(layer(&array(2)), Ok(()));
        assert!(said(&array(3)).contains("do not divide"));
        assert!(said(&array(0)).contains("do not divide"));
    }
}
