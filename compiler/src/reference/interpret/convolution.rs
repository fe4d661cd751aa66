//! The sums of a convolution as the interpreter forms them: channel by channel, tap by tap, every product rounded and then
//! added. Zero weights are passed over; zero activations are not.
//!
//! Where a tap meets the plane is found once for a layer. On one axis, the outputs that a tap reaches and the inputs that it
//! takes there follow each other in equal strides, so both axes are two loops; where whole rows follow each other without
//! a gap, or a row has one value, they are one loop.

use crate::quantise::IntConv;
use multiversion::multiversion;
use scnn_isa::arith;
use scnn_isa::plane::Axis;

/// The way of a layer's taps over the planes of its channels.
pub(super) struct Convolution<'a> {
    conv: &'a IntConv,
    /// Input channels of a group.
    per_in: usize,
    /// Output channels of a group.
    per_out: usize,
    /// Values of an input channel and of an output channel.
    planes: [usize; 2],
    /// By tap, r major; none for a tap that meets nothing.
    taps: Vec<Option<[Pairs; 2]>>,
}

/// Pairs of an output and an input, in equal strides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pairs {
    /// The first output and the first input.
    first: [usize; 2],
    /// From one to the next.
    stride: [usize; 2],
    count: usize,
}

impl<'a> Convolution<'a> {
    /// A convolution of `inputs` channels to `outputs` channels.
    pub(super) fn new(conv: &'a IntConv, inputs: usize, outputs: usize) -> Self {
        let groups = conv.groups as usize;
        let (y, x) = (&conv.y, &conv.x);
        let widths = [x.output, x.input].map(|width| width as usize);
        let columns: Vec<Option<Pairs>> = (0..x.kernel).map(|s| Pairs::of(x, s)).collect();
        let rows = (0..y.kernel).map(|r| Pairs::of(y, r));
        let taps = rows.flat_map(|rows| {
            let rows = rows.map(|rows| rows.of_width(widths));
            let columns = columns.iter();
            columns.map(move |columns| Some(joined(rows?, (*columns)?)))
        });
        Self {
            conv,
            per_in: inputs / groups,
            per_out: outputs / groups,
            planes: [y.input * x.input, y.output * x.output].map(|plane| plane as usize),
            taps: taps.collect(),
        }
    }

    /// The sums of output channel `k` from the planes of all input channels.
    pub(super) fn sums(&self, source: &[i16], k: usize) -> Vec<i32> {
        let [input, output] = self.planes;
        let (of_group, of_output) = (self.per_in * input, self.per_in * self.taps.len());
        let source = &source[k / self.per_out * of_group..][..of_group];
        let weights = &self.conv.weights[k * of_output..][..of_output];
        let shift = u32::from(self.conv.product_shift);
        if matches!(self.taps[..], [Some(_)]) && self.planes == [1, 1] {
            return vec![dot(weights, source, shift)];
        }
        let mut sums = vec![0; output];
        add_channels(&mut sums, (source, input), (weights, &self.taps), shift);
        sums
    }
}

/// Adds the products of all input channels.
#[multiversion(targets("x86_64+avx2"))]
fn add_channels(
    sums: &mut [i32],
    (source, plane): (&[i16], usize),
    (weights, taps): (&[i16], &[Option<[Pairs; 2]>]),
    shift: u32,
) {
    let weights = weights.chunks_exact(taps.len().max(1));
    for (plane, weights) in source.chunks_exact(plane.max(1)).zip(weights) {
        for (&weight, tap) in weights.iter().zip(taps) {
            let (false, Some([rows, columns])) = (weight == 0, tap) else {
                continue;
            };
            for row in 0..rows.count {
                let [output, input] =
                    [0, 1].map(|of| rows.first[of] + row * rows.stride[of] + columns.first[of]);
                let (sums, plane) = (&mut sums[output..], &plane[input..]);
                if columns.stride == [1, 1] {
                    for (sum, &value) in sums[..columns.count].iter_mut().zip(plane) {
                        add(sum, arith::product(weight, value, shift));
                    }
                } else {
                    let sums = sums.iter_mut().step_by(columns.stride[0]);
                    let values = plane.iter().step_by(columns.stride[1]);
                    for (sum, &value) in sums.zip(values).take(columns.count) {
                        add(sum, arith::product(weight, value, shift));
                    }
                }
            }
        }
    }
}

/// The one sum of channels that have one value each.
#[multiversion(targets("x86_64+avx2"))]
fn dot(weights: &[i16], values: &[i16], shift: u32) -> i32 {
    let mut sum = 0;
    for (&weight, &value) in weights.iter().zip(values) {
        add(&mut sum, arith::product(weight, value, shift));
    }
    sum
}

/// Adds a product. No sum leaves 32 bits ([`arith::SUM_BITS`]), and a check of that would keep the loops from taking several
/// at a time.
#[expect(
    clippy::inline_always,
    reason = "compiled anew for every processor that its callers are compiled for"
)]
#[inline(always)]
fn add(sum: &mut i32, product: i32) {
    *sum = sum.wrapping_add(product);
}

/// Rows and columns, fewer of the former where they make longer ones of the latter.
fn joined(rows: Pairs, columns: Pairs) -> [Pairs; 2] {
    let one = Pairs {
        first: [0, 0],
        stride: [0, 0],
        count: 1,
    };
    let moved = |by: [usize; 2]| [0, 1].map(|of| rows.first[of] + by[of]);
    if columns.count == 1 {
        let first = moved(columns.first);
        return [one, Pairs { first, ..rows }];
    }
    if columns.stride == [1, 1] && rows.stride == [columns.count; 2] {
        let count = rows.count * columns.count;
        let first = moved(columns.first);
        return [
            one,
            Pairs {
                first,
                count,
                ..columns
            },
        ];
    }
    [rows, columns]
}

impl Pairs {
    /// The pairs that a tap joins on an axis, if there are any.
    fn of(axis: &Axis, tap: u32) -> Option<Self> {
        let pair = |output: u32| {
            let input = axis.input(output, tap)?;
            Some([output as usize, input as usize])
        };
        let mut pairs = (0..axis.output).filter_map(pair);
        let first = pairs.next()?;
        let stride = match pairs.next() {
            Some(next) => [next[0] - first[0], next[1] - first[1]],
            None => [1, 1],
        };
        let last = (0..axis.output).rev().find_map(pair)?;
        Some(Self {
            first,
            stride,
            count: (last[0] - first[0]) / stride[0] + 1,
        })
    }

    /// The same for rows of these numbers of columns.
    fn of_width(self, widths: [usize; 2]) -> Self {
        Self {
            first: [0, 1].map(|of| self.first[of] * widths[of]),
            stride: [0, 1].map(|of| self.stride[of] * widths[of]),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn axis() -> impl Strategy<Value = Axis> {
        let sizes = (1u32..9, 1u32..5, 1u32..4, 1u32..4, 1u32..3);
        (sizes, (0i32..4, 0i32..4), 1u32..12).prop_map(|(sizes, pad, output)| {
            let (input, kernel, stride, upsample, dilation) = sizes;
            Axis {
                input,
                output,
                kernel,
                stride,
                upsample,
                dilation,
                pad: [pad.0, pad.1],
            }
        })
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_the_definition(
            y in axis(), x in axis(), groups in 1usize..3, per_in in 1usize..4, per_out in 1usize..3, shift in 0u8..=30,
            seed: u64,
        ) {
            let random = |index: usize| {
                let hash = (index as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                match hash % 8 { 0..=1 => 0, 2 => i16::MAX, _ => (hash >> 24) as i16 / 8 }
            };
            let (inputs, outputs) = (groups * per_in, groups * per_out);
            let taps = (y.kernel * x.kernel) as usize;
            let weights = (0..outputs * per_in * taps).map(random).collect();
            let conv = IntConv { weights: Arc::new(weights), groups: groups as u32, y, x, product_shift: shift };
            let plane = (y.input * x.input) as usize;
            let source: Vec<i16> = (0..inputs * plane).map(|i| random(9999 + i)).collect();
            let convolution = Convolution::new(&conv, inputs, outputs);
            for k in 0..outputs {
                let mut expected = Vec::new();
                for (oy, ox) in (0..y.output).flat_map(|oy| (0..x.output).map(move |ox| (oy, ox))) {
                    let mut sum = 0i32;
                    for (c, tap) in (0..per_in).flat_map(|c| (0..taps).map(move |tap| (c, tap))) {
                        let (r, s) = (tap as u32 / x.kernel, tap as u32 % x.kernel);
                        if let (Some(iy), Some(ix)) = (y.input(oy, r), x.input(ox, s)) {
                            let at = (k / per_out * per_in + c) * plane + (iy * x.input + ix) as usize;
                            let weight = conv.weights[(k * per_in + c) * taps + tap];
                            sum = sum.wrapping_add(arith::product(weight, source[at], u32::from(shift)));
                        }
                    }
                    expected.push(sum);
                }
                prop_assert_eq!(convolution.sums(&source, k), expected);
            }
        }
    }

    #[test]
    fn a_plane_of_one_value_that_no_tap_meets_has_empty_sums() {
        let before = Axis {
            stride: 2,
            pad: [1, 0],
            ..Axis::identity(1)
        };
        let conv = |y| IntConv {
            weights: Arc::new(vec![3]),
            groups: 1,
            y,
            x: Axis::identity(1),
            product_shift: 0,
        };
        let sums = |y| Convolution::new(&conv(y), 1, 1).sums(&[5], 0);
        assert_eq!(sums(before), [0]);
        assert_eq!(sums(Axis::identity(1)), [15]);
    }

    #[test]
    fn whole_rows_are_one_run() {
        let of = |kernel, pad| {
            let axis = Axis {
                kernel,
                pad: [pad; 2],
                ..Axis::identity(8)
            };
            let rows = Pairs::of(&axis, 0).unwrap().of_width([8, 8]);
            joined(rows, Pairs::of(&axis, 0).unwrap()).map(|pairs| pairs.count)
        };
        assert_eq!(of(1, 0), [1, 64]);
        assert_eq!(of(3, 1), [7, 7]);
    }
}
