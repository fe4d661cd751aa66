//! Positions of an activation plane: half-open spans, rectangles, and how one axis of a convolution or a
//! pooling window maps input positions to output positions.
//!
//! A *plane* is everything of an activation tensor `[N, C, H, W]` but its channels: positions `(n, y, x)`.
//! The two spatial axes of a layer never interact, so all geometry here is one-dimensional ([`Axis`]) and a
//! layer holds two of them.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Half-open range of positions `begin..end` along one axis.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "[u32; 2]", into = "[u32; 2]")]
pub struct Span {
    /// First position.
    pub begin: u32,
    /// One past the last position.
    pub end: u32,
}

impl Span {
    /// `begin..end`; an inverted pair becomes the empty span at `begin`.
    pub const fn new(begin: u32, end: u32) -> Self {
        Self {
            begin,
            end: if end < begin { begin } else { end },
        }
    }

    /// Number of positions.
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.begin)
    }

    /// Whether there is no position in it.
    pub const fn is_empty(self) -> bool {
        self.end <= self.begin
    }

    /// Whether `position` is inside.
    pub const fn contains(self, position: u32) -> bool {
        self.begin <= position && position < self.end
    }

    /// Whether every position of `other` is inside.
    pub fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.begin <= other.begin && other.end <= self.end)
    }

    /// Positions in both.
    pub fn intersect(self, other: Self) -> Self {
        Self::new(self.begin.max(other.begin), self.end.min(other.end))
    }

    /// The smallest span holding both; an empty span adds nothing.
    pub fn hull(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self::new(self.begin.min(other.begin), self.end.max(other.end)),
        }
    }

    /// The positions in order.
    pub fn iter(self) -> std::ops::Range<u32> {
        self.begin..self.end
    }
}

impl From<[u32; 2]> for Span {
    fn from([begin, end]: [u32; 2]) -> Self {
        Self { begin, end }
    }
}

impl From<Span> for [u32; 2] {
    fn from(span: Span) -> Self {
        [span.begin, span.end]
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.begin, self.end)
    }
}

/// A box of plane positions: images `n`, rows `y`, columns `x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rect {
    /// Images of the batch.
    pub n: Span,
    /// Rows.
    pub y: Span,
    /// Columns.
    pub x: Span,
}

impl Rect {
    /// The whole plane of `n` images of `h` rows and `w` columns.
    pub const fn plane(n: u32, h: u32, w: u32) -> Self {
        Self {
            n: Span::new(0, n),
            y: Span::new(0, h),
            x: Span::new(0, w),
        }
    }

    /// Number of positions.
    pub const fn positions(self) -> u64 {
        self.n.len() as u64 * self.y.len() as u64 * self.x.len() as u64
    }

    /// Whether there is no position in it.
    pub const fn is_empty(self) -> bool {
        self.n.is_empty() || self.y.is_empty() || self.x.is_empty()
    }

    /// Positions in both.
    pub fn intersect(self, other: Self) -> Self {
        Self {
            n: self.n.intersect(other.n),
            y: self.y.intersect(other.y),
            x: self.x.intersect(other.x),
        }
    }

    /// Whether every position of `other` is inside.
    pub fn covers(self, other: Self) -> bool {
        other.is_empty()
            || (self.n.covers(other.n) && self.y.covers(other.y) && self.x.covers(other.x))
    }
}

impl fmt::Display for Rect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{} y{} x{}", self.n, self.y, self.x)
    }
}

/// One spatial axis of a convolution or of a pooling window.
///
/// Input position `i` and tap `t` meet output position `o` when
///
/// ```text
/// o * stride = i * upsample + pad.begin - t * dilation        with 0 <= o < output
/// ```
///
/// `upsample` is 1 but for transposed convolutions, whose stride it is: SCNN scatters, so a transposed
/// convolution is the same loop with the roles of the two factors exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Extent of the input plane along this axis.
    pub input: u32,
    /// Extent of the output plane along this axis.
    pub output: u32,
    /// Number of taps (filter rows R or columns S, window height or width).
    pub kernel: u32,
    /// Step between output positions, in input positions.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: u32,
    /// Step between input positions, in output positions (transposed convolution); else 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub upsample: u32,
    /// Distance between taps.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub dilation: u32,
    /// Padding before and after the input. Negative padding crops (transposed convolutions).
    /// `pad[1]` decides nothing but the divisor of an average that includes padding.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pad: [i32; 2],
}

/// The default of fields that a text may leave out of an axis.
const fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks for.
const fn is_one(factor: &u32) -> bool {
    *factor == 1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Likewise.
const fn is_zero(pad: &[i32; 2]) -> bool {
    matches!(pad, [0, 0])
}

impl Axis {
    /// An axis on which nothing happens: one tap, same extent.
    pub const fn identity(extent: u32) -> Self {
        Self {
            input: extent,
            output: extent,
            kernel: 1,
            stride: 1,
            upsample: 1,
            dilation: 1,
            pad: [0, 0],
        }
    }

    /// The output position that input `position` reaches through `tap`, if it is a whole one inside the plane.
    pub fn output(&self, position: u32, tap: u32) -> Option<u32> {
        let scaled = self.numerator(position, tap);
        let stride = i64::from(self.stride);
        if scaled < 0 || scaled % stride != 0 {
            return None;
        }
        u32::try_from(scaled / stride)
            .ok()
            .filter(|&o| o < self.output)
    }

    /// Share of (position, tap) pairs whose output lies in `within`; 0 where there is no pair. Positions are those of `span`,
    /// and each meets the taps of its residue class, of `residues`, alone.
    pub fn landing(&self, span: Span, within: Span, residues: u32) -> f64 {
        let residues = i64::from(residues.max(1));
        let (mut meet, mut land) = (0_u64, 0_u64);
        for position in span.iter() {
            for tap in 0..self.kernel {
                meet += u64::from(self.numerator(position, tap) % residues == 0);
                let output = self.output(position, tap);
                land += u64::from(output.is_some_and(|at| within.begin <= at && at < within.end));
            }
        }
        land as f64 / meet.max(1) as f64
    }

    /// The input position under `tap` of the window at `output`, if there is one inside the plane.
    pub fn input(&self, output: u32, tap: u32) -> Option<u32> {
        let scaled = i64::from(output) * i64::from(self.stride) - i64::from(self.pad[0])
            + i64::from(tap) * i64::from(self.dilation);
        let upsample = i64::from(self.upsample);
        if scaled < 0 || scaled % upsample != 0 {
            return None;
        }
        u32::try_from(scaled / upsample)
            .ok()
            .filter(|&i| i < self.input)
    }

    /// Output positions that the inputs `span` reach through any tap: their hull, clipped to the plane.
    pub fn outputs(&self, span: Span) -> Span {
        if span.is_empty() || self.kernel == 0 {
            return Span::default();
        }
        let first = self.numerator(span.begin, self.kernel - 1);
        let last = self.numerator(span.end - 1, 0);
        let stride = i64::from(self.stride);
        let begin = ceil_div(first, stride).clamp(0, i64::from(self.output));
        let end = (last.div_euclid(stride) + 1).clamp(0, i64::from(self.output));
        Span::new(begin as u32, end as u32)
    }

    /// Input positions that the outputs `span` need through any tap: their hull, clipped to the plane.
    pub fn inputs(&self, span: Span) -> Span {
        if span.is_empty() || self.kernel == 0 {
            return Span::default();
        }
        let upsample = i64::from(self.upsample);
        let pad = i64::from(self.pad[0]);
        let first = i64::from(span.begin) * i64::from(self.stride) - pad;
        let last = i64::from(span.end - 1) * i64::from(self.stride) - pad
            + i64::from(self.kernel - 1) * i64::from(self.dilation);
        let begin = ceil_div(first, upsample).clamp(0, i64::from(self.input));
        let end = (last.div_euclid(upsample) + 1).clamp(0, i64::from(self.input));
        Span::new(begin as u32, end as u32)
    }

    /// Whether `tap` can ever meet an input position that is `residue` modulo `residues`.
    ///
    /// With `residues == stride` this is the split of a strided convolution into unit-stride phases: the tap
    /// meets exactly one residue. With `residues == 1` it may meet the only one there is.
    pub fn pairs(&self, residue: u32, residues: u32, tap: u32) -> bool {
        // From one position of the residue to the next the numerator grows by the same step, so modulo the stride it takes
        // every value that differs from its first by a multiple of their common divisor.
        let step = u64::from(residues) * u64::from(self.upsample);
        let divisor = common_divisor(step, u64::from(self.stride)).max(1);
        self.numerator(residue, tap) % divisor as i64 == 0
    }

    /// Where the cut before input `position` falls on the output axis, so that a PE owns the outputs whose
    /// window is centred on its inputs. A same-padded unit-stride convolution maps every cut to itself.
    pub fn project(&self, position: u32) -> u32 {
        let reach = i64::from(self.kernel.saturating_sub(1)) * i64::from(self.dilation);
        let centre =
            i64::from(position) * i64::from(self.upsample) + i64::from(self.pad[0]) - reach / 2;
        ceil_div(centre, i64::from(self.stride)).clamp(0, i64::from(self.output)) as u32
    }

    /// The phase of a tap: taps of different phases never meet the same output, as those of a transposed convolution that are
    /// not a multiple of `upsample` apart. `None` where the tap meets no output at all.
    pub fn phase(&self, tap: u32) -> Option<u32> {
        let upsample = u64::from(self.upsample).max(1);
        let reach = u64::from(tap) * u64::from(self.dilation);
        // What is under the tap moves by the stride from output to output, so it is whole again after `upsample` of them.
        let before = i64::from(self.pad[0]) - reach as i64;
        let first = ceil_div(before, i64::from(self.stride.max(1))).max(0);
        let outputs = first..(first + upsample as i64).min(i64::from(self.output));
        let meets = outputs
            .filter_map(|output| u32::try_from(output).ok())
            .any(|output| self.input(output, tap).is_some());
        meets.then_some((reach % upsample) as u32)
    }

    fn numerator(&self, position: u32, tap: u32) -> i64 {
        i64::from(position) * i64::from(self.upsample) + i64::from(self.pad[0])
            - i64::from(tap) * i64::from(self.dilation)
    }
}

/// Which taps of a kernel have products that meet in one sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapPhases {
    /// By tap, row-major; `None` where it has products in no sum.
    of_tap: Cow<'static, [Option<usize>]>,
    count: usize,
}

impl TapPhases {
    /// Those of one tap.
    pub const ONE: Self = Self {
        of_tap: Cow::Borrowed(&[Some(0)]),
        count: 1,
    };

    /// The phases of a kernel of these axes.
    pub fn of(y: &Axis, x: &Axis) -> Self {
        let mut known = Vec::new();
        let columns: Vec<_> = (0..x.kernel).map(|tap| x.phase(tap)).collect();
        let rows = (0..y.kernel).map(|tap| y.phase(tap));
        let taps = rows.flat_map(|row| columns.iter().map(move |&column| row.zip(column)));
        let mut index = |phase: (u32, u32)| {
            known
                .iter()
                .position(|&other| other == phase)
                .unwrap_or_else(|| {
                    known.push(phase);
                    known.len() - 1
                })
        };
        let of_tap = taps.map(|phase| phase.map(&mut index)).collect();
        Self {
            of_tap,
            count: known.len(),
        }
    }

    /// By tap, row-major.
    pub fn of_taps(&self) -> &[Option<usize>] {
        &self.of_tap
    }

    /// Number of phases.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The phase of a tap, row-major, below [`Self::count`]; `None` where it has products in no sum.
    pub fn of_tap(&self, tap: usize) -> Option<usize> {
        self.of_tap.get(tap).copied().flatten()
    }

    /// Whether the products of all taps meet in one sum.
    pub fn is_one(&self) -> bool {
        self.count == 1 && self.of_tap.iter().all(Option::is_some)
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn ceil_div(value: i64, divisor: i64) -> i64 {
    -(-value).div_euclid(divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn axes()(
            input in 1u32..20, kernel in 1u32..6, stride in 1u32..5, upsample in 1u32..4, dilation in 1u32..3,
            begin in -2i32..5, output in 1u32..24,
        ) -> Axis {
            Axis { input, output, kernel, stride, upsample, dilation, pad: [begin, 0] }
        }
    }

    proptest! {
        #[test]
        fn taps_of_one_phase_alone_meet_the_same_output(axis in axes()) {
            let met = |tap| (0..axis.output).filter(move |&output| axis.input(output, tap).is_some());
            for tap in 0..axis.kernel {
                prop_assert_eq!(axis.phase(tap).is_some(), met(tap).next().is_some());
                for other in 0..axis.kernel {
                    let share = met(tap).any(|output| axis.input(output, other).is_some());
                    prop_assert!(!share || axis.phase(tap) == axis.phase(other));
                }
            }
        }

        #[test]
        fn output_and_input_are_each_others_inverse(axis in axes()) {
            for tap in 0..axis.kernel {
                for position in 0..axis.input {
                    if let Some(output) = axis.output(position, tap) {
                        prop_assert_eq!(axis.input(output, tap), Some(position));
                    }
                }
                for output in 0..axis.output {
                    if let Some(position) = axis.input(output, tap) {
                        prop_assert_eq!(axis.output(position, tap), Some(output));
                    }
                }
            }
        }

        #[test]
        fn the_hull_of_outputs_holds_every_output(axis in axes(), a in 0u32..20, b in 0u32..20) {
            let span = Span::new(a.min(b), a.max(b).min(axis.input));
            let hull = axis.outputs(span);
            for position in span.iter() {
                for tap in 0..axis.kernel {
                    if let Some(output) = axis.output(position, tap) {
                        prop_assert!(hull.contains(output));
                    }
                }
            }
        }

        #[test]
        fn the_hull_of_inputs_holds_every_input(axis in axes(), a in 0u32..24, b in 0u32..24) {
            let span = Span::new(a.min(b), a.max(b).min(axis.output));
            let hull = axis.inputs(span);
            for output in span.iter() {
                for tap in 0..axis.kernel {
                    if let Some(position) = axis.input(output, tap) {
                        prop_assert!(hull.contains(position));
                    }
                }
            }
        }

        #[test]
        fn a_tap_pairs_with_every_residue_it_meets(axis in axes(), residues in 1u32..5) {
            for tap in 0..axis.kernel {
                for position in 0..axis.input {
                    if axis.output(position, tap).is_some() {
                        prop_assert!(axis.pairs(position % residues, residues, tap));
                    }
                }
            }
        }
    }

    #[test]
    fn a_same_padded_convolution_keeps_its_cuts() {
        let axis = Axis {
            kernel: 3,
            pad: [1, 1],
            ..Axis::identity(14)
        };
        assert_eq!(
            (0..=14).map(|cut| axis.project(cut)).collect::<Vec<_>>(),
            (0..=14).collect::<Vec<_>>()
        );
    }
}
