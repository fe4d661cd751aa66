//! Where the non-zeros of every activation tensor are, so that any tiling can be counted exactly.
//!
//! One bit per value, from one calibration sample. [`Occupancy::count`] counts what a tile stores, in elements
//! (placeholders included) by (PE, channel, residue): the same numbers that the simulator measures on that sample.

use crate::quantise::{Operation, Quantised};
use multiversion::multiversion;
use rayon::prelude::*;
use scnn_isa::arith;
use scnn_isa::codec::Format;
use scnn_isa::ids::TensorId;
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::placement::Placement;
use scnn_isa::plane::{Rect, Span};
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// The non-zero positions of every tensor of a network.
#[derive(Clone, Debug, Default)]
pub struct Occupancy {
    tensors: Vec<BitMap>,
}

/// One bit per value `[N, C, H, W]`; every row begins with a word of its own.
#[derive(Clone, Debug)]
struct BitMap {
    shape: [u32; 4],
    words_per_row: usize,
    words: Vec<u64>,
}

impl Occupancy {
    /// The occupancy of `network` when its tensors hold `values` (by ONNX name); a tensor without values is taken as
    /// filled evenly to its calibrated density.
    pub fn of(network: &Quantised, values: &BTreeMap<String, Tensor>) -> Self {
        let even = Filling::of(network).finish();
        even.with(network, values)
    }

    /// Replaces the bits of tensors that hold `values` (by ONNX name); other tensors keep theirs.
    pub fn observe(&mut self, network: &Quantised, values: &BTreeMap<String, Tensor>) {
        *self = std::mem::take(self).with(network, values);
    }

    fn with(self, network: &Quantised, values: &BTreeMap<String, Tensor>) -> Self {
        let mut filling = Filling::over(network, self);
        for (name, tensor) in values {
            filling.fill(name, tensor);
        }
        filling.finish()
    }

    /// The non-zeros of one channel inside `rect` that have the residue `at` (rows first) of so many, in the order in
    /// which their block stores them: image, row, column.
    pub fn positions(
        &self,
        tensor: TensorId,
        channel: u32,
        rect: Rect,
        (residues, at): (Grid, u32),
    ) -> impl Iterator<Item = (u32, u32, u32)> {
        let bits = &self.tensors[tensor.index()];
        let (ry, rx) = (at / residues.cols, at % residues.cols);
        let of_residue = move |y: &u32| y % residues.rows == ry;
        let rows = move |n: u32| rect.y.iter().filter(of_residue).map(move |y| (n, y));
        rect.n.iter().flat_map(rows).flat_map(move |(n, y)| {
            let columns = set_bits(bits.row(n, channel, y), rect.x);
            let columns = columns.filter(move |x| x % residues.cols == rx);
            columns.map(move |x| (n, y, x))
        })
    }

    /// Counts the blocks of every tile of a layout.
    pub fn count(&self, tensor: TensorId, layout: &Layout, format: Format) -> Vec<TileCount> {
        layout
            .tiles
            .iter()
            .map(|tile| self.tensors[tensor.index()].count(layout, tile, format))
            .collect()
    }

    /// Non-zeros of channel `channel` in `images` x `rows` (ascending), columns selected by the bit mask `cols`.
    pub fn nonzeros(
        &self,
        tensor: TensorId,
        channel: u32,
        images: Span,
        rows: &[u32],
        cols: &[u64],
    ) -> u64 {
        let bits = &self.tensors[tensor.index()];
        let mut count = 0;
        for n in images.iter() {
            for &y in rows {
                let row = bits.row(n, channel, y);
                count += row
                    .iter()
                    .zip(cols)
                    .map(|(word, mask)| u64::from((word & mask).count_ones()))
                    .sum::<u64>();
            }
        }
        count
    }
}

/// The occupancy of a network whose values come one after the other, in any order.
pub struct Filling<'a> {
    network: &'a Quantised,
    tensors: Vec<BitMap>,
    /// By ONNX name.
    places: BTreeMap<&'a str, Vec<FilledPlace<'a>>>,
    /// By tensor, the channels filled with values of single layers, which are closer to the stored ones than values of the whole tensor.
    filled: Vec<Vec<Span>>,
}

/// Channels of a tensor that hold some values.
struct FilledPlace<'a> {
    tensor: TensorId,
    channels: Span,
    placement: Option<&'a Placement>,
    is_layer: bool,
}

impl<'a> Filling<'a> {
    /// Every tensor is filled evenly to its calibrated density at first.
    pub fn of(network: &'a Quantised) -> Self {
        let tensors = network.tensors.par_iter();
        let even = tensors.map(|tensor| BitMap::even(tensor.shape, tensor.density));
        let tensors = even.collect();
        Self::over(network, Occupancy { tensors })
    }

    /// Tensors stay as they are in `occupancy` until their values come.
    fn over(network: &'a Quantised, Occupancy { tensors }: Occupancy) -> Self {
        let mut places: BTreeMap<&str, Vec<FilledPlace<'_>>> = BTreeMap::new();
        for value in &network.values {
            if let Some(tensor) = value.tensor {
                places.entry(&value.name).or_default().push(FilledPlace {
                    tensor,
                    channels: Span::new(0, network.tensor(tensor).shape[1]),
                    placement: value.placement.as_ref(),
                    is_layer: false,
                });
            }
        }
        for operation in &network.operations {
            if let Operation::Layer(layer) = operation {
                places.entry(&layer.tensor).or_default().push(FilledPlace {
                    tensor: layer.destination.tensor,
                    channels: layer.destination.channels,
                    placement: layer.placement.as_ref(),
                    is_layer: true,
                });
            }
        }
        Self {
            network,
            filled: vec![Vec::new(); tensors.len()],
            tensors,
            places,
        }
    }

    /// Takes the values of the tensor of that name.
    pub fn fill(&mut self, name: &str, data: &Tensor) {
        let Some(places) = self.places.get(name) else {
            return;
        };
        let Ok(plain) = data.try_as_plain_ram() else {
            return;
        };
        let Ok(values) = plain.as_slice::<f32>() else {
            return;
        };
        for place in places {
            let tensor = self.network.tensor(place.tensor);
            let lies = place.placement;
            let lies = lies.filter(|lies| lies.elements() == values.len() as u64);
            let stored = lies.map(|lies| lies.to_machine(values));
            let values = stored.as_deref().unwrap_or(values);
            let of_channel = |channel| NonZero::of(tensor.unit(channel), tensor.range);
            let nonzero: Vec<NonZero> = if tensor.channel_shifts.is_empty() {
                vec![of_channel(0); place.channels.len() as usize]
            } else {
                place.channels.iter().map(of_channel).collect()
            };
            let bits = &mut self.tensors[place.tensor.index()];
            let filled = &mut self.filled[place.tensor.index()];
            if place.is_layer {
                bits.fill(place.channels, values, &nonzero);
                filled.push(place.channels);
            } else {
                let before = (!filled.is_empty()).then(|| bits.clone());
                bits.fill(place.channels, values, &nonzero);
                if let Some(before) = before {
                    for &span in &*filled {
                        bits.copy(span, &before);
                    }
                }
            }
        }
    }

    /// The occupancy.
    pub fn finish(self) -> Occupancy {
        Occupancy {
            tensors: self.tensors,
        }
    }
}

/// The blocks of one tile: columns are (channel, residue) pairs, channel major.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileCount {
    /// Residues of a channel.
    pub residues: u32,
    /// PEs of the group.
    pub pes: u32,
    /// By residue: PEs without a position of it, which have no blocks.
    pub without_blocks: Vec<u32>,
    /// Elements by (column, PE).
    pub elements: Vec<u32>,
}

impl TileCount {
    /// Channels.
    pub fn channels(&self) -> u32 {
        (self.columns() / self.residues.max(1) as usize) as u32
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.elements.len() / self.pes.max(1) as usize
    }

    /// Elements of a column by PE.
    pub fn column(&self, column: usize) -> &[u32] {
        &self.elements[column * self.pes as usize..(column + 1) * self.pes as usize]
    }
}

/// Bounds from which on floats are not zero as integers, on either side of 0. Rounding keeps the order, so two comparisons
/// decide what quantising each value would.
#[derive(Clone, Copy)]
struct NonZero {
    /// The least positive float that is not zero as an integer.
    above: f32,
    /// The greatest negative one likewise.
    below: f32,
}

impl NonZero {
    fn of(scale: f32, range: [i16; 2]) -> Self {
        let bound = |sign: f32| {
            // The bits of positive floats are ordered as they are; infinity is the last.
            let (mut zero, mut nonzero) = (0u32, f32::INFINITY.to_bits());
            if arith::quantise(sign * f32::INFINITY, scale, range) == 0 {
                return f32::NAN;
            }
            while nonzero - zero > 1 {
                let middle = zero + (nonzero - zero) / 2;
                if arith::quantise(sign * f32::from_bits(middle), scale, range) == 0 {
                    zero = middle;
                } else {
                    nonzero = middle;
                }
            }
            sign * f32::from_bits(nonzero)
        };
        Self {
            above: bound(1.0),
            below: bound(-1.0),
        }
    }

    fn holds(self, value: f32) -> bool {
        value >= self.above || value <= self.below
    }
}

impl BitMap {
    fn new(shape: [u32; 4]) -> Self {
        let [n, c, h, w] = shape.map(|extent| extent as usize);
        let words_per_row = w.div_ceil(64);
        Self {
            shape,
            words_per_row,
            words: vec![0; n * c * h * words_per_row],
        }
    }

    /// Non-zeros spread evenly, by a fixed multiplicative sequence.
    fn even(shape: [u32; 4], density: f64) -> Self {
        let mut bits = Self::new(shape);
        let limit = (density.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        let width = shape[3] as usize;
        let words_per_row = bits.words_per_row;
        for (row, words) in bits
            .words
            .chunks_exact_mut(words_per_row.max(1))
            .enumerate()
        {
            for x in 0..width {
                // Knuth's multiplicative hash of the position: no two neighbours alike, the same on every run.
                let hash = ((row * width + x) as u32).wrapping_mul(2_654_435_761);
                if hash.rotate_left(16).wrapping_mul(2_246_822_519) <= limit {
                    words[x / 64] |= 1 << (x % 64);
                }
            }
        }
        bits
    }

    /// Sets `channels` to where `values` `[N, channels, H, W]` are not zero; other numbers of values are left alone.
    fn fill(&mut self, channels: Span, values: &[f32], nonzero: &[NonZero]) {
        let [n, c, h, w] = self.shape.map(|extent| extent as usize);
        let count = channels.len() as usize;
        if values.len() != n * count * h * w || values.is_empty() {
            return;
        }
        let words_per_row = self.words_per_row;
        let of_image = self.words.chunks_exact_mut(c * h * words_per_row);
        for (words, values) in of_image.zip(values.chunks_exact(count * h * w)) {
            let first = channels.begin as usize * h * words_per_row;
            words[first..first + count * h * words_per_row]
                .par_chunks_exact_mut(words_per_row)
                .zip(values.par_chunks_exact(w))
                .enumerate()
                .with_min_len(1 << 10)
                .for_each(|(row, (words, values))| {
                    let nonzero = nonzero[row / h];
                    for (word, values) in words.iter_mut().zip(values.chunks(64)) {
                        let bit = |(x, &value)| u64::from(nonzero.holds(value)) << x;
                        *word = values
                            .iter()
                            .enumerate()
                            .map(bit)
                            .fold(0, |all, bit| all | bit);
                    }
                });
        }
    }

    /// Takes `channels` from bits of the same shape.
    fn copy(&mut self, channels: Span, from: &Self) {
        let [_, c, h, _] = self.shape.map(|extent| extent as usize);
        let plane = h * self.words_per_row;
        let words = channels.begin as usize * plane..channels.end as usize * plane;
        let images = self.words.chunks_exact_mut((c * plane).max(1));
        for (image, from) in images.zip(from.words.chunks_exact((c * plane).max(1))) {
            image[words.clone()].copy_from_slice(&from[words.clone()]);
        }
    }

    fn row(&self, n: u32, channel: u32, y: u32) -> &[u64] {
        let at = ((n * self.shape[1] + channel) * self.shape[2] + y) as usize;
        &self.words[at * self.words_per_row..(at + 1) * self.words_per_row]
    }

    fn count(&self, layout: &Layout, tile: &Tile, format: Format) -> TileCount {
        let (pes, residues) = (tile.pes(), layout.residues);
        let rects: Vec<Rect> = (0..pes.count())
            .map(|pe| tile.pe_rect(pe / pes.cols, pe % pes.cols))
            .collect();
        let per_channel = (residues.count() * pes.count()) as usize;
        let mut elements = vec![0u32; self.shape[1] as usize * per_channel];
        elements
            .par_chunks_mut(per_channel.max(1))
            .with_min_len(8)
            .enumerate()
            .for_each(|(channel, counts)| {
                let channel = channel as u32;
                if !format.compressed {
                    for (pe, &rect) in rects.iter().enumerate() {
                        let of_pe = counts[pe..].iter_mut().step_by(rects.len());
                        for (residue, count) in (0..residues.count()).zip(of_pe) {
                            let at = (residue / residues.cols, residue % residues.cols);
                            *count = layout.block_positions(rect, at.0, at.1) as u32;
                        }
                    }
                } else if residues == Grid::ONE {
                    count_blocks(self, channel, &rects, format, counts);
                } else {
                    count_phases(self, channel, &rects, (residues, format), counts);
                }
            });
        let without_blocks = (0..residues.count()).map(|residue| {
            let (ry, rx) = (residue / residues.cols, residue % residues.cols);
            let without = |rect: &&Rect| !layout.has_block(**rect, ry, rx);
            rects.iter().filter(without).count() as u32
        });
        TileCount {
            residues: residues.count(),
            pes: pes.count(),
            without_blocks: without_blocks.collect(),
            elements,
        }
    }

    /// Calls `seen` with the rows of a channel inside `rect`, piece by piece: row, column, up to a word of bits, and their
    /// many. The search for a mapping goes this way over every tensor many times.
    #[expect(
        clippy::inline_always,
        reason = "compiled anew for every processor that its callers are compiled for"
    )]
    #[inline(always)]
    fn rows(&self, channel: u32, rect: &Rect, mut seen: impl FnMut(u32, u32, u64, u32)) {
        let Span { begin, end } = rect.x;
        if begin >= end {
            return;
        }
        let (first, last) = ((begin / 64) as usize, ((end - 1) / 64) as usize);
        for n in rect.n.iter() {
            let plane = ((n * self.shape[1] + channel) * self.shape[2]) as usize;
            let mut row = (plane + rect.y.begin as usize) * self.words_per_row;
            for y in rect.y.iter() {
                let words = &self.words[row..row + self.words_per_row];
                row += self.words_per_row;
                let mut x = begin;
                for word in &words[first..=last] {
                    let next = end.min((x / 64 + 1) * 64);
                    let width = next - x;
                    seen(y, x, word >> (x % 64) & (u64::MAX >> (64 - width)), width);
                    x = next;
                }
            }
        }
    }
}

/// Counts the block of a channel in every PE.
#[multiversion(targets("x86_64+bmi1+bmi2+lzcnt+popcnt"))]
fn count_blocks(bits: &BitMap, channel: u32, rects: &[Rect], format: Format, counts: &mut [u32]) {
    for (count, rect) in counts.iter_mut().zip(rects) {
        let mut run = Run::new(format);
        bits.rows(channel, rect, |_, _, word, width| run.push(word, width));
        *count = run.finish();
    }
}

/// Counts the blocks of a channel in every PE, by residue and PE.
#[multiversion(targets("x86_64+bmi1+bmi2+lzcnt+popcnt"))]
fn count_phases(
    bits: &BitMap,
    channel: u32,
    rects: &[Rect],
    (residues, format): (Grid, Format),
    counts: &mut [u32],
) {
    let mut runs = vec![Run::new(format); residues.count() as usize];
    for (pe, rect) in rects.iter().enumerate() {
        bits.rows(channel, rect, |y, x, word, width| {
            let first = (y % residues.rows * residues.cols) as usize;
            let runs = &mut runs[first..first + residues.cols as usize];
            for at in 0..residues.cols.min(width) {
                let run = &mut runs[((x + at) % residues.cols) as usize];
                let width = (width - at).div_ceil(residues.cols);
                run.push(every(word >> at, residues.cols), width);
            }
        });
        let of_pe = counts[pe..].iter_mut().step_by(rects.len());
        for (count, run) in of_pe.zip(&mut runs) {
            *count = run.finish();
        }
    }
}

/// Every `step`-th bit, from the lowest, moved together.
fn every(word: u64, step: u32) -> u64 {
    if step == 2 {
        // Pairs, then fours and so on move together.
        let mut word = word & 0x5555_5555_5555_5555;
        for (shift, mask) in [
            (1, 0x3333_3333_3333_3333),
            (2, 0x0f0f_0f0f_0f0f_0f0f),
            (4, 0x00ff_00ff_00ff_00ff),
            (8, 0x0000_ffff_0000_ffff),
            (16, 0x0000_0000_ffff_ffff),
        ] {
            word = (word | word >> shift) & mask;
        }
        return word;
    }
    let bits = (0..u64::BITS).step_by(step as usize).enumerate();
    bits.fold(0, |all, (to, from)| all | (word >> from & 1) << to)
}

/// Counts the elements of one block from the words of its rows, without a look at every non-zero.
#[derive(Clone)]
struct Run {
    /// Positions that one element reaches, itself and the longest run of zeros before it, as a power of two: a run
    /// length is a number of bits.
    reach: u32,
    elements: u32,
    /// Zeros since the last non-zero.
    zeros: u32,
    /// Values that were not looked at yet, and how many: the rows of a PE are shorter than a word as a rule.
    waiting: u64,
    wait: u32,
}

#[expect(
    clippy::inline_always,
    reason = "compiled anew for every processor that its callers are compiled for"
)]
impl Run {
    fn new(format: Format) -> Self {
        Self {
            reach: u32::from(format.index_bits),
            elements: 0,
            zeros: 0,
            waiting: 0,
            wait: 0,
        }
    }

    /// The elements; the next block begins.
    #[inline(always)]
    fn finish(&mut self) -> u32 {
        self.add(self.waiting, self.wait);
        (self.waiting, self.wait, self.zeros) = (0, 0, 0);
        std::mem::take(&mut self.elements)
    }

    /// The next `width` values, 1 to 64, of which the set bits are not zero.
    #[inline(always)]
    fn push(&mut self, word: u64, width: u32) {
        let room = u64::BITS - self.wait;
        self.waiting |= word << self.wait;
        if width < room {
            self.wait += width;
            return;
        }
        self.add(self.waiting, u64::BITS);
        self.waiting = word.checked_shr(room).unwrap_or(0);
        self.wait = width - room;
    }

    /// Looks at `width` values.
    #[inline(always)]
    fn add(&mut self, word: u64, width: u32) {
        if word == 0 {
            self.zeros += width;
            return;
        }
        let (first, last) = (word.trailing_zeros(), word.ilog2());
        self.elements += word.count_ones() + ((self.zeros + first) >> self.reach);
        self.zeros = width - 1 - last;
        if (last - first) >> self.reach > 0 && has_gap(word, 1 << self.reach) {
            self.elements += placeholders_between(word, self.reach);
        }
    }
}

/// Whether `period` zeros or more stand between two set bits.
fn has_gap(word: u64, period: u32) -> bool {
    // Bits that begin a run of `long` zeros, with everything outside of the set bits taken as set.
    let inside = (u64::MAX << word.trailing_zeros()) & (u64::MAX >> word.leading_zeros());
    let mut begins = !word & inside;
    let mut long = 1;
    while long < period {
        let more = long.min(period - long);
        begins &= begins >> more;
        long += more;
    }
    begins != 0
}

/// Placeholders that the gaps between set bits take.
fn placeholders_between(mut word: u64, reach: u32) -> u32 {
    let mut placeholders = 0;
    let mut next = word.trailing_zeros();
    while word != 0 {
        let at = word.trailing_zeros();
        placeholders += (at - next) >> reach;
        next = at + 1;
        word &= word - 1;
    }
    placeholders
}

/// The set bits of a row inside a span, ascending.
fn set_bits(words: &[u64], span: Span) -> impl Iterator<Item = u32> + '_ {
    let (first, last) = (span.begin / 64, span.end.div_ceil(64));
    (first..last).flat_map(move |index| {
        let mut word = words[index as usize];
        if index == first {
            word &= u64::MAX << (span.begin % 64);
        }
        let end = span.end - index * 64;
        if end < 64 {
            word &= (1 << end) - 1;
        }
        std::iter::from_fn(move || {
            if word == 0 {
                return None;
            }
            let bit = word.trailing_zeros();
            word &= word - 1;
            Some(index * 64 + bit)
        })
    })
}

/// A mask, in words, of some columns of a row.
pub fn column_mask(width: u32, columns: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let mut words = vec![0; width.div_ceil(64) as usize];
    for x in columns {
        words[(x / 64) as usize] |= 1 << (x % 64);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMAT: Format = Format {
        data_bits: 16,
        index_bits: 4,
        compressed: true,
    };

    proptest! {
        /// Against the codec itself, on the values in the order in which a block stores them.
        #[test]
        fn blocks_are_counted_as_they_are_coded(
            n in 1u32..3, c in 1u32..4, h in 1u32..12, w in 1u32..80, density in 0.0f64..1.0,
            rows in 1u32..4, cols in 1u32..4, ry in 1u32..4, rx in 1u32..4, compressed in any::<bool>(),
        ) {
            let format = Format { compressed, ..FORMAT };
            let bits = BitMap::even([n, c, h, w], density);
            let residues = Grid::new(ry, rx);
            let tile = Tile::uniform(Rect::plane(n, h, w), Grid::new(rows, cols), Grid::ONE);
            let layout = Layout { groups: Grid::ONE, residues, tiles: vec![tile.clone()] };
            let counted = bits.count(&layout, &tile, format);
            let pes = rows * cols;
            for channel in 0..c {
                for residue in 0..residues.count() {
                    for pe in 0..pes {
                        let rect = tile.pe_rect(pe / cols, pe % cols);
                        let mut values = Vec::new();
                        for n in rect.n.iter() {
                            for y in rect.y.iter().filter(|y| y % ry == residue / rx) {
                                for x in rect.x.iter().filter(|x| x % rx == residue % rx) {
                                    let word = bits.row(n, channel, y)[(x / 64) as usize];
                                    values.push(i16::from(word >> (x % 64) & 1 == 1));
                                }
                            }
                        }
                        let expected = format.compress(values).len() as u32;
                        let column = (channel * residues.count() + residue) as usize;
                        prop_assert_eq!(counted.column(column)[pe as usize], expected);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn bounds_say_what_quantising_says(value in any::<f32>(), scale in 1e-6f32..1e6, signed in any::<bool>()) {
            let range = if signed { [-2047, 2047] } else { [0, 255] };
            let nonzero = NonZero::of(scale, range);
            for value in [value, scale * value.signum() * 0.5, (scale * 0.5).next_down(), -scale] {
                prop_assert_eq!(nonzero.holds(value), arith::quantise(value, scale, range) != 0);
            }
        }
    }

    #[test]
    fn filling_channels_leaves_the_others() {
        let mut bits = BitMap::new([2, 3, 1, 2]);
        let nonzero = NonZero::of(1.0, [-9, 9]);
        bits.fill(Span::new(1, 2), &[1.0, 0.2, -0.4, -3.0], &[nonzero]);
        let rows: Vec<u64> = (0..2)
            .flat_map(|n| (0..3).map(move |c| (n, c)))
            .map(|(n, c)| bits.row(n, c, 0)[0])
            .collect();
        assert_eq!(rows, [0, 0b01, 0, 0, 0b10, 0]);
    }
}
