//! Layer descriptors: the computations of array and PPU, selected by a `cfg` instruction.
//!
//! A layer reads one tensor, writes one tensor, and runs in **passes**, one for each temporal tile of its output.
//! An array layer runs each pass in **rounds**: in a round every PE group processes one output-channel group,
//! all input channels of it. A PPU layer (`array` absent) sends its source through the PPU alone.

use crate::arith::{self, Rounding};
use crate::ids::{SectionId, TensorId};
use crate::layout::{Grid, Layout, Tile};
use crate::plane::{Axis, Rect, Span};
use serde::{Deserialize, Serialize};

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Unique name, as in reports: usually the ONNX node's.
    pub name: String,
    /// Channels that are read.
    pub source: View,
    /// Channels that are written.
    pub destination: View,
    /// The array's part; absent for a layer of the PPU alone, whose channels then match the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayStage>,
    /// The PPU's part.
    pub ppu: PpuStage,
    /// Temporal tiles of the output, which they partition.
    pub passes: Vec<Pass>,
}

/// A range of a tensor's channels.
///
/// Concatenation is several layers writing into views of one tensor; a channel slice is a view that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The tensor.
    pub tensor: TensorId,
    /// First and one past the last channel.
    pub channels: Span,
}

/// A convolution as the array computes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayStage {
    /// Convolution groups; `C` and `K` are multiples of it.
    pub groups: u32,
    /// Rows: kernel extent R (as in KCRS; the paper has S here), stride, padding.
    pub y: Axis,
    /// Columns: kernel extent S (the paper's R).
    pub x: Axis,
    /// PE groups the array is divided into: 1 x 1 where weights are broadcast.
    pub pe_groups: Grid,
    /// Output-channel groups as ranges of K, a multiple of the PE groups in number: group `i` runs in round
    /// `i / pe_groups.count()` on PE group `i % pe_groups.count()`. An empty range leaves its PE group idle.
    /// None straddles a convolution group.
    pub channel_groups: Vec<Span>,
    /// Order of the weights inside a block.
    pub order: WeightOrder,
    /// The encoded weights.
    pub weights: SectionId,
    /// Every product is rounded to `2^product_shift` before it is added.
    pub product_shift: u8,
}

/// Order of the taps of one (output-channel group, input channel) in the weight block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightOrder {
    /// Output channel outermost: k, r, s.
    Krs,
    /// Output channel innermost: r, s, k.
    Rsk,
}

/// The PPU's operations on each value, in this order: bias and requantisation, operand, function, clamp, pooling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PpuStage {
    /// Bias and factor of every output channel.
    pub requantise: SectionId,
    /// Left shift of the source's values where there is no array stage, by which biases are finer than the values. Zero with
    /// an array stage, whose sums are fine enough.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub source_shift: u8,
    /// How requantisation, operand and average are rounded.
    #[serde(default, skip_serializing_if = "Rounding::is_away")]
    pub rounding: Rounding,
    /// Divisor of results before they are rounded to even: the scale of the destination where they are real
    /// values, 1 where they are in units of it already.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub divisor: f32,
    /// A second tensor that each value meets before the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operand: Option<Operand>,
    /// Activation function; a `ReLU` is the clamp's lower bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,
    /// The slopes of a leaky function are multiples of `2^(slope_exponent - 15)`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slope_exponent: u8,
    /// The function that a table approximates, for reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximates: Option<Approximation>,
    /// Smallest and largest value that leaves; an average is of values that are not bounded yet.
    pub clamp: [i16; 2],
    /// Pooling, last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
}

const fn one() -> f32 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde wants it.
fn is_one(divisor: &f32) -> bool {
    *divisor == 1.0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks for.
const fn is_zero(shift: &u8) -> bool {
    *shift == 0
}

/// A second tensor that the PPU adds to its values or multiplies them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operand {
    /// The tensor and its channels.
    pub view: View,
    /// Addition or multiplication.
    #[serde(default, skip_serializing_if = "OperandKind::is_add")]
    pub kind: OperandKind,
    /// How it lies over the values.
    #[serde(default, skip_serializing_if = "OperandShape::is_same")]
    pub shape: OperandShape,
    /// Factor from the operand's units, or those of the product, to the output's; of an operand that is added, as they are
    /// without channel shifts.
    pub multiplier: i32,
    /// Right shift after the factor.
    pub shift: u8,
}

/// The PPU's operation with an operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperandKind {
    /// Adds it, aligned with the result in every channel ([`crate::arith::aligned_shift`]).
    #[default]
    Add,
    /// Multiplies by it ([`crate::arith::scale_product`]).
    Multiply,
}

/// How an operand lies over the values that it meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperandShape {
    /// A value for each.
    #[default]
    Same,
    /// One value for each image and channel: a plane of 1 x 1.
    PerChannel,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks for.
impl OperandKind {
    fn is_add(&self) -> bool {
        *self == Self::Add
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Likewise.
impl OperandShape {
    fn is_same(&self) -> bool {
        *self == Self::Same
    }
}

/// An activation function beyond a clamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Negative values are multiplied by a factor of their channel ([`crate::arith::leaky`]).
    Leaky(SectionId),
    /// Straight lines between knots, by channel shift of the result ([`crate::arith::Tables`]).
    Table(SectionId),
}

/// A function of real numbers, and how near a table comes to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approximation {
    /// The function as a formula of `x`.
    pub function: String,
    /// Largest distance from it over all inputs, those between two integers included, in units of the output.
    pub largest_error: f32,
}

/// Pooling in the PPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Maximum or mean.
    pub kind: PoolKind,
    /// Rows.
    pub y: Axis,
    /// Columns.
    pub x: Axis,
    /// Factor from the pooled units to the output's; 1 for a maximum.
    pub multiplier: i32,
    /// Right shift after the factor, at most 30.
    pub shift: u8,
}

/// Kinds of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// Maximum of the positions inside the plane.
    Max,
    /// Mean of the positions inside the plane.
    Average,
    /// Mean over the window as far as it lies inside the padded plane; padding counts as zero.
    AverageWithPadding,
}

/// One temporal tile of a layer: the part of its output that is produced, and the tile of the source that is read for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// The part of the output plane (after pooling).
    pub output: Rect,
    /// Index of the source layout's tile; it holds every input that `output` needs.
    pub source_tile: u32,
}

impl Layer {
    /// The positions between array and pooling that `output` (after pooling) is made from.
    pub fn inner_rect(&self, output: Rect) -> Rect {
        self.ppu.pool.as_ref().map_or(output, |pool| Rect {
            n: output.n,
            y: pool.y.inputs(output.y),
            x: pool.x.inputs(output.x),
        })
    }

    /// The positions of the source plane that `output` (after pooling) is made from.
    pub fn source_rect(&self, output: Rect) -> Rect {
        let inner = self.inner_rect(output);
        self.array.as_ref().map_or(inner, |array| Rect {
            n: inner.n,
            y: array.y.inputs(inner.y),
            x: array.x.inputs(inner.x),
        })
    }
}

impl ArrayStage {
    /// Rounds of a pass.
    pub fn rounds(&self) -> u32 {
        self.channel_groups.len() as u32 / self.pe_groups.count().max(1)
    }

    /// The output channels of `round` on PE group `pe_group`.
    pub fn channel_group(&self, round: u32, pe_group: u32) -> Span {
        let index = round as usize * self.pe_groups.count() as usize + pe_group as usize;
        self.channel_groups.get(index).copied().unwrap_or_default()
    }

    /// The input channels (of the source view) that reach the output channels `k`: those of its convolution group.
    pub fn input_channels(&self, k: Span, input_channels: u32, output_channels: u32) -> Span {
        let groups = self.groups.max(1);
        let (per_in, per_out) = (input_channels / groups, output_channels / groups);
        let group = k.begin / per_out.max(1);
        // A program that was not verified may name any channel.
        let begin = group.saturating_mul(per_in);
        Span::new(begin, begin.saturating_add(per_in))
    }

    /// The taps (r, s) that residue (`ry`, `rx`) of an input block meets, r major.
    pub fn taps(&self, residues: Grid, ry: u32, rx: u32) -> Vec<(u32, u32)> {
        let columns: Vec<u32> = (0..self.x.kernel)
            .filter(|&s| self.x.pairs(rx, residues.cols, s))
            .collect();
        (0..self.y.kernel)
            .filter(|&r| self.y.pairs(ry, residues.rows, r))
            .flat_map(|r| columns.iter().map(move |&s| (r, s)))
            .collect()
    }
}

impl WeightOrder {
    /// The (output channel in the group, tap index) of position `index` of a block of `kc` channels and `taps` taps.
    #[inline]
    pub const fn split(self, index: u32, kc: u32, taps: u32) -> (u32, u32) {
        match self {
            Self::Krs => (index / taps, index % taps),
            Self::Rsk => (index % kc, index / kc),
        }
    }
}

impl PoolKind {
    /// Whether it is a mean.
    pub const fn averages(self) -> bool {
        matches!(self, Self::Average | Self::AverageWithPadding)
    }
}

impl PpuStage {
    /// Bounds and divisor of the values before pooling: an average is divided and bounded after its sum.
    pub fn inner(&self) -> ([i16; 2], f32) {
        let pool = self.pool.as_ref();
        let averages = pool.is_some_and(|pool| pool.kind.averages());
        if averages {
            ([i16::MIN, i16::MAX], 1.0)
        } else {
            (self.clamp, self.divisor)
        }
    }
}

impl Pool {
    /// The pooled value of a window: its values, in the order of rows and columns, and how many an average is of.
    pub fn value(
        &self,
        window: impl Iterator<Item = i16>,
        count: u32,
        (rounding, divisor): (Rounding, f32),
    ) -> i32 {
        match (self.kind, rounding) {
            (PoolKind::Max, _) => window.max().map_or(0, i32::from),
            (_, Rounding::Away) => {
                let sum = window.map(i64::from).sum();
                arith::average(sum, count.max(1), self.multiplier, self.shift)
            }
            (_, Rounding::Even) => {
                let factor = arith::factor(self.multiplier, self.shift);
                arith::average_even(window, count.max(1), factor, divisor)
            }
        }
    }

    /// The divisor of the average at output (`y`, `x`).
    pub fn count(&self, y: u32, x: u32) -> u32 {
        let along = |axis: &Axis, output: u32| match self.kind {
            PoolKind::Max => 1,
            PoolKind::Average => (0..axis.kernel)
                .filter(|&t| axis.input(output, t).is_some())
                .count() as u32,
            PoolKind::AverageWithPadding => (0..axis.kernel)
                .filter(|&t| in_padded(axis, output, t))
                .count() as u32,
        };
        along(&self.y, y) * along(&self.x, x)
    }
}

fn in_padded(axis: &Axis, output: u32, tap: u32) -> bool {
    let position = i64::from(output) * i64::from(axis.stride) - i64::from(axis.pad[0])
        + i64::from(tap) * i64::from(axis.dilation);
    position < i64::from(axis.input) + i64::from(axis.pad[1])
}

/// For every tile of a result's layout, by PE: the index of the last of `passes` that has outputs in the PE's part of
/// the tile, with which its blocks are complete; none for a PE without positions.
pub fn completing_passes(layout: &Layout, passes: &[Pass]) -> Vec<Vec<Option<usize>>> {
    let of_tile = |tile: &Tile| {
        let pes = tile.pes();
        let of_pe = |pe: u32| {
            let held = tile.pe_rect(pe / pes.cols, pe % pes.cols);
            let outputs = |pass: &Pass| !held.intersect(pass.output).is_empty();
            passes.iter().rposition(outputs)
        };
        (0..pes.count()).map(of_pe).collect()
    };
    layout.tiles.iter().map(of_tile).collect()
}
