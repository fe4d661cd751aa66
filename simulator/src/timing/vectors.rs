//! The vectors that steps are made of, with the accumulator addresses of their products.
//!
//! The product of a weight (k, r, s) and an activation at (n, y, x) goes to the accumulator
//!
//! ```text
//! ((k * N' + n) * Ht' + oy) * Wt' + ox
//! ```
//!
//! of its PE, with k counted in the output-channel group, (oy, ox) from the first output that the PE has sums of, and
//! N' x Ht' x Wt' the largest accumulator tile of the pass. As `o = i - t` in the units of the stride, an address is
//! the sum of what the activation and what the weight contribute.

use crate::timing::blocks::aligned;
use rayon::prelude::*;
use scnn_isa::codec::{Format, positions};
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::{Axis, Rect, Span};
use scnn_isa::section::{WeightBlocks, group_channels, residue_taps};

/// How an address chooses its bank, with the number of banks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BankOf {
    /// `address mod banks`. Addresses are kept reduced.
    Modulo(u32),
    /// `(address xor address / banks) mod banks`; the banks are a power of two.
    Xor(u32),
}

impl BankOf {
    /// The map of a machine.
    pub fn new(machine: &Machine) -> Self {
        match machine.pe.bank_map {
            BankMap::Modulo => Self::Modulo(machine.pe.banks),
            BankMap::Xor => Self::Xor(machine.pe.banks),
        }
    }

    /// A contribution to an address, in the form in which it is kept.
    fn part(self, address: i64) -> i32 {
        match self {
            Self::Modulo(banks) => address.rem_euclid(i64::from(banks)) as i32,
            Self::Xor(_) => address as i32,
        }
    }

    /// The bank of the address with these two parts.
    fn bank(self, activation: i32, weight: i32) -> usize {
        let address = (activation + weight) as usize;
        match self {
            Self::Modulo(banks) if address >= banks as usize => address - banks as usize,
            Self::Modulo(_) => address,
            Self::Xor(banks) => (address ^ (address / banks as usize)) % banks as usize,
        }
    }
}

/// Accumulator tile of a pass: images, rows, columns, the largest of all PEs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccumulatorTile([i64; 3]);

impl AccumulatorTile {
    /// The tile of a pass that reads `tile` and produces `inner`.
    pub fn of(array: &ArrayStage, tile: &Tile, inner: Rect) -> Self {
        let largest = |cuts: &[u32], outputs: &dyn Fn(Span) -> Span, inside: Span| {
            cuts.windows(2)
                .map(|cut| outputs(Span::new(cut[0], cut[1])).intersect(inside).len())
                .max()
                .map_or(0, i64::from)
        };
        Self([
            largest(&tile.n, &|span| span, inner.n),
            largest(&tile.y, &|span| array.y.outputs(span), inner.y),
            largest(&tile.x, &|span| array.x.outputs(span), inner.x),
        ])
    }
}

/// Positions along one axis of a PE's rectangle: what each adds to the address, and which taps keep it in the plane.
struct Line {
    /// By position from the rectangle's first: output coordinate under tap 0, from the PE's first output.
    offset: Vec<i64>,
    /// By (position, tap).
    inside: Vec<bool>,
    taps: usize,
}

impl Line {
    fn new(axis: &Axis, span: Span, inner: Span) -> Self {
        let first = i64::from(axis.outputs(span).intersect(inner).begin);
        let stride = i64::from(axis.stride);
        let origin = |i: u32| {
            let scaled = i64::from(i) * i64::from(axis.upsample) + i64::from(axis.pad[0]);
            scaled.div_euclid(stride) - first
        };
        let reaches = |i: u32, tap| axis.output(i, tap).is_some_and(|o| inner.contains(o));
        Self {
            offset: span.iter().map(origin).collect(),
            inside: span
                .iter()
                .flat_map(|i| (0..axis.kernel).map(move |tap| reaches(i, tap)))
                .collect(),
            taps: axis.kernel as usize,
        }
    }

    fn inside(&self, position: usize) -> &[bool] {
        &self.inside[position * self.taps..(position + 1) * self.taps]
    }
}

/// What a tap subtracts from the output coordinate, in the units of the stride.
fn tap_offset(axis: &Axis, tap: u32) -> i64 {
    (i64::from(tap) * i64::from(axis.dilation)).div_euclid(i64::from(axis.stride))
}

const INTERIOR: u32 = u32::MAX;

/// Banks for which histograms are kept: the paper's machine.
pub const HISTOGRAM_BANKS: usize = 32;

/// Products of a weight with a set of activations by bank, twice in a row, so that every rotation of it is a slice; and
/// zeros behind, for lanes without a weight.
pub type Histogram = [u8; 3 * HISTOGRAM_BANKS];

/// The activation vectors of one channel of a pass, for all PEs of a group.
#[derive(Clone, Debug, Default)]
pub struct ChannelVectors {
    /// By (vector, lane).
    addresses: Vec<i32>,
    /// By vector: [`INTERIOR`], or its index among the vectors that have a product outside the plane.
    edges: Vec<u32>,
    /// By (edge vector, tap r-major): which of the vector's sets of lanes stays in the plane.
    kinds: Vec<u16>,
    /// Sets of lanes, none twice in a vector: of an interior vector the one of its non-zeros.
    sets: Vec<u64>,
    /// First set of each vector.
    first_sets: Vec<u32>,
    /// By set, for machines of [`HISTOGRAM_BANKS`] banks: how many of its lanes go to each bank.
    histograms: Vec<Histogram>,
    /// Blocks with vectors: PE, first vector and end.
    blocks: Vec<(u32, u32, u32)>,
    /// First block by residue, with the end behind.
    residues: Vec<u32>,
}

/// The activation vectors of a pass.
pub struct PassVectors {
    channels: Vec<ChannelVectors>,
    first_channel: u32,
    taps: usize,
    width: usize,
    banks: BankOf,
}

impl PassVectors {
    /// Compresses the channels `channels` of the view that begins at `view_begin`; `values` are `[N, C, H, W]`.
    pub fn new(
        machine: &Machine,
        array: &ArrayStage,
        (values, shape, layout): (&[i16], [u32; 4], &Layout),
        (tile, inner): (&Tile, Rect),
        (view_begin, channels): (u32, Span),
    ) -> Self {
        let pes = tile.pes();
        let banks = BankOf::new(machine);
        let builder = Builder {
            values,
            shape,
            residues: layout.residues,
            format: machine.activation_format(),
            width: machine.pe.activations_per_vector as usize,
            banks,
            accumulators: AccumulatorTile::of(array, tile, inner),
            taps: residue_taps(array, layout.residues),
            kernel_cols: array.x.kernel,
            all_taps: (array.y.kernel * array.x.kernel) as usize,
            pes: (0..pes.count())
                .map(|pe| {
                    let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
                    PeLines {
                        rect,
                        images: inner.n,
                        y: Line::new(&array.y, rect.y, inner.y),
                        x: Line::new(&array.x, rect.x, inner.x),
                    }
                })
                .collect(),
        };
        Self {
            channels: channels
                .iter()
                .collect::<Vec<_>>()
                .into_par_iter()
                .map(|c| builder.channel(view_begin + c))
                .collect(),
            first_channel: channels.begin,
            taps: (array.y.kernel * array.x.kernel) as usize,
            width: builder.width,
            banks,
        }
    }

    /// The blocks of a (channel of the view, residue) that have vectors, one for a PE.
    pub fn blocks(
        &self,
        channel: u32,
        residue: u32,
    ) -> impl ExactSizeIterator<Item = ActivationBlock<'_>> {
        let data = &self.channels[(channel - self.first_channel) as usize];
        let residue = residue as usize;
        let (begin, end) = (data.residues[residue], data.residues[residue + 1]);
        let blocks = &data.blocks[begin as usize..end as usize];
        blocks.iter().map(|&(pe, begin, end)| ActivationBlock {
            data,
            pe: pe as usize,
            begin: begin as usize,
            end: end as usize,
            taps: self.taps,
            width: self.width,
            banks: self.banks,
        })
    }
}

struct PeLines {
    rect: Rect,
    images: Span,
    y: Line,
    x: Line,
}

struct Builder<'a> {
    values: &'a [i16],
    shape: [u32; 4],
    residues: Grid,
    format: Format,
    width: usize,
    banks: BankOf,
    accumulators: AccumulatorTile,
    /// Taps of each residue.
    taps: Vec<Vec<(u32, u32)>>,
    kernel_cols: u32,
    all_taps: usize,
    pes: Vec<PeLines>,
}

impl Builder<'_> {
    fn channel(&self, channel: u32) -> ChannelVectors {
        let mut vectors = ChannelVectors {
            residues: vec![0],
            ..ChannelVectors::default()
        };
        let mut pending = Pending::new(self.width);
        for residue in 0..self.residues.count() {
            for (number, pe) in self.pes.iter().enumerate() {
                let begin = vectors.edges.len() as u32;
                self.block(channel, residue, pe, &mut pending, &mut vectors);
                let end = vectors.edges.len() as u32;
                if end > begin {
                    vectors.blocks.push((number as u32, begin, end));
                }
            }
            vectors.residues.push(vectors.blocks.len() as u32);
        }
        vectors
    }

    fn block(
        &self,
        channel: u32,
        residue: u32,
        pe: &PeLines,
        pending: &mut Pending,
        into: &mut ChannelVectors,
    ) {
        let [_, channels, height, width] = self.shape;
        let [_, tile_height, tile_width] = self.accumulators.0;
        let (ry, rx) = (residue / self.residues.cols, residue % self.residues.cols);
        let period = self.format.max_run() + 1;
        let mut run = 0;
        for n in pe.rect.n.iter() {
            let plane = (n as usize * channels as usize + channel as usize) * height as usize;
            let image = i64::from(n) - i64::from(pe.rect.n.begin);
            for y in aligned(pe.rect.y, ry, self.residues.rows) {
                let row = &self.values[(plane + y as usize) * width as usize..][..width as usize];
                let py = (y - pe.rect.y.begin) as usize;
                let above = (image * tile_height + pe.y.offset[py]) * tile_width;
                for x in aligned(pe.rect.x, rx, self.residues.cols) {
                    if row[x as usize] == 0 {
                        run += 1;
                        if !self.format.compressed {
                            self.push(pending, None, residue, pe, into);
                        }
                        continue;
                    }
                    if self.format.compressed {
                        for _ in 0..run / period {
                            self.push(pending, None, residue, pe, into);
                        }
                    }
                    run = 0;
                    let px = (x - pe.rect.x.begin) as usize;
                    let element = Lane {
                        address: self.banks.part(above + pe.x.offset[px]),
                        y: py,
                        x: px,
                        image_inside: pe.images.contains(n),
                    };
                    self.push(pending, Some(element), residue, pe, into);
                }
            }
        }
        if pending.filled > 0 {
            self.flush(pending, residue, pe, into);
        }
    }

    fn push(
        &self,
        pending: &mut Pending,
        lane: Option<Lane>,
        residue: u32,
        pe: &PeLines,
        into: &mut ChannelVectors,
    ) {
        pending.lanes[pending.filled] = lane;
        pending.filled += 1;
        if pending.filled == self.width {
            self.flush(pending, residue, pe, into);
        }
    }

    fn flush(&self, pending: &mut Pending, residue: u32, pe: &PeLines, into: &mut ChannelVectors) {
        let taps = &self.taps[residue as usize];
        let (mut occupied, mut interior) = (0u64, true);
        for (index, lane) in pending.lanes.iter_mut().enumerate() {
            if index >= pending.filled {
                *lane = None;
            }
            let Some(lane) = lane else {
                into.addresses.push(0);
                continue;
            };
            into.addresses.push(lane.address);
            occupied |= 1 << index;
            let (rows, cols) = (pe.y.inside(lane.y), pe.x.inside(lane.x));
            interior &= lane.image_inside
                && taps
                    .iter()
                    .all(|&(r, s)| rows[r as usize] && cols[s as usize]);
        }
        let first_set = into.sets.len();
        into.first_sets.push(first_set as u32);
        if interior {
            into.edges.push(INTERIOR);
            into.sets.push(occupied);
        } else {
            into.edges.push((into.kinds.len() / self.all_taps) as u32);
            let first = into.kinds.len();
            into.kinds.resize(first + self.all_taps, 0);
            for &(r, s) in taps {
                let mut set = 0u64;
                for (index, lane) in pending.lanes.iter().enumerate() {
                    if let Some(lane) = lane
                        && lane.image_inside
                        && pe.y.inside(lane.y)[r as usize]
                        && pe.x.inside(lane.x)[s as usize]
                    {
                        set |= 1 << index;
                    }
                }
                let known = into.sets[first_set..]
                    .iter()
                    .position(|other| *other == set);
                let kind = known.unwrap_or_else(|| {
                    into.sets.push(set);
                    into.sets.len() - 1 - first_set
                });
                into.kinds[first + (r * self.kernel_cols + s) as usize] = kind as u16;
            }
        }
        if self.banks == BankOf::Modulo(HISTOGRAM_BANKS as u32) {
            for &set in &into.sets[first_set..] {
                let mut histogram = [0; 3 * HISTOGRAM_BANKS];
                for (index, lane) in pending.lanes.iter().enumerate() {
                    if let Some(lane) = lane
                        && set >> index & 1 == 1
                    {
                        histogram[lane.address as usize] += 1;
                        histogram[lane.address as usize + HISTOGRAM_BANKS] += 1;
                    }
                }
                into.histograms.push(histogram);
            }
        }
        pending.filled = 0;
    }
}

/// A vector that is being filled.
struct Pending {
    lanes: Vec<Option<Lane>>,
    filled: usize,
}

impl Pending {
    fn new(width: usize) -> Self {
        Self {
            lanes: vec![None; width],
            filled: 0,
        }
    }
}

#[derive(Clone, Copy)]
struct Lane {
    address: i32,
    y: usize,
    x: usize,
    image_inside: bool,
}

/// The activation vectors of one (channel, residue, PE).
#[derive(Clone, Copy, Debug)]
pub struct ActivationBlock<'a> {
    data: &'a ChannelVectors,
    /// PE of the group.
    pub pe: usize,
    begin: usize,
    end: usize,
    taps: usize,
    /// Lanes of a vector.
    pub width: usize,
    /// How banks are chosen.
    pub banks: BankOf,
}

impl ActivationBlock<'_> {
    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        self.end - self.begin
    }

    /// The lanes of a vector whose product with a weight at `tap` is neither zero nor outside the plane.
    pub fn in_plane(&self, vector: usize, tap: u32) -> u64 {
        let kind = self.kinds(vector).map_or(0, |kinds| kinds[tap as usize]);
        let first = self.data.first_sets[self.begin + vector];
        self.data.sets[first as usize + usize::from(kind)]
    }

    /// By tap, which of an edge vector's sets of lanes stays in the plane; none for an interior vector, which has one.
    pub fn kinds(&self, vector: usize) -> Option<&[u16]> {
        let edge = self.data.edges[self.begin + vector];
        (edge != INTERIOR).then(|| &self.data.kinds[edge as usize * self.taps..][..self.taps])
    }

    /// The histograms of a vector's sets and those of the vectors behind it.
    pub fn histograms(&self, vector: usize) -> &[Histogram] {
        &self.data.histograms[self.data.first_sets[self.begin + vector] as usize..]
    }

    /// The bank of the product of a lane and a weight's address.
    pub fn bank(&self, vector: usize, lane: usize, weight_address: i32) -> usize {
        let activation = self.data.addresses[(self.begin + vector) * self.width + lane];
        self.banks.bank(activation, weight_address)
    }
}

/// One stored weight of a block.
#[derive(Clone, Copy, Debug)]
struct StoredWeight {
    /// Output channel in the group.
    k: u32,
    /// Tap, r-major; [`PLACEHOLDER`] for a zero.
    tap: u32,
}

const PLACEHOLDER: u32 = u32::MAX;

/// The weight blocks of a layer as they are streamed.
#[derive(Clone, Debug)]
pub struct WeightStream {
    elements: Vec<StoredWeight>,
    /// First element of each block in streaming order, with the end behind.
    starts: Vec<u32>,
    /// First block of each output-channel group.
    groups: Vec<u32>,
    /// First channel of each group's blocks.
    channels: Vec<u32>,
    residues: u32,
}

impl WeightStream {
    /// From decoded blocks.
    pub fn new(
        blocks: &WeightBlocks,
        array: &ArrayStage,
        inputs: u32,
        outputs: u32,
        residues: Grid,
    ) -> Self {
        let taps = residue_taps(array, residues);
        let mut elements = Vec::with_capacity(blocks.elements.len());
        let mut channel_begins = Vec::with_capacity(array.channel_groups.len());
        for (group, &k) in array.channel_groups.iter().enumerate() {
            let channels = group_channels(array, k, inputs, outputs);
            channel_begins.push(channels.begin);
            for channel in channels.iter() {
                for (residue, taps) in taps.iter().enumerate() {
                    let block = blocks.block(group, channel, residue as u32);
                    elements.extend(positions(block).map(|(position, value)| {
                        let (k, tap) =
                            array
                                .order
                                .split(position as u32, k.len(), taps.len() as u32);
                        let tap = if value == 0 {
                            PLACEHOLDER
                        } else {
                            let (r, s) = taps[tap as usize];
                            r * array.x.kernel + s
                        };
                        StoredWeight { k, tap }
                    }));
                }
            }
        }
        Self {
            elements,
            starts: blocks.starts.clone(),
            groups: blocks.group_starts.clone(),
            channels: channel_begins,
            residues: residues.count(),
        }
    }

    fn elements(&self, group: usize, channel: u32, residue: u32) -> &[StoredWeight] {
        let block = self.groups[group] + (channel - self.channels[group]) * self.residues + residue;
        let (begin, end) = (self.starts[block as usize], self.starts[block as usize + 1]);
        &self.elements[begin as usize..end as usize]
    }

    /// Stored elements of a block.
    pub fn len(&self, group: usize, channel: u32, residue: u32) -> usize {
        self.elements(group, channel, residue).len()
    }
}

/// A weight of a vector.
#[derive(Clone, Copy, Debug)]
pub struct WeightLane {
    /// Tap, r-major.
    pub tap: u32,
    /// What it contributes to the address.
    pub address: i32,
}

/// The weight vectors of a part of a block, made ready for a pass.
#[derive(Clone, Debug)]
pub struct WeightVectors {
    /// Lanes of a vector.
    pub width: usize,
    lanes: Vec<WeightLane>,
    /// First lane of each vector, with the end behind.
    starts: Vec<u32>,
    /// By (vector, lane): where in two histograms in a row, with zeros behind, the lane's rotation begins. Only for
    /// at most 85 banks, so that it fits a byte.
    pub rotations: Vec<u8>,
    /// By (vector, lane): the tap; 0 for lanes without a weight.
    pub taps: Vec<u32>,
}

impl WeightVectors {
    /// Room for vectors of `width`.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            lanes: Vec::new(),
            starts: Vec::new(),
            rotations: Vec::new(),
            taps: Vec::new(),
        }
    }

    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        self.starts.len() - 1
    }

    /// The non-zeros of a vector.
    pub fn vector(&self, index: usize) -> &[WeightLane] {
        &self.lanes[self.starts[index] as usize..self.starts[index + 1] as usize]
    }

    /// Makes the elements `part` of a block ready.
    pub fn fill(
        &mut self,
        stream: &WeightStream,
        (group, channel, residue): (usize, u32, u32),
        part: std::ops::Range<usize>,
        array: &ArrayStage,
        accumulators: AccumulatorTile,
        banks: BankOf,
    ) {
        let [images, height, width] = accumulators.0;
        self.lanes.clear();
        self.starts.clear();
        self.rotations.clear();
        self.taps.clear();
        self.starts.push(0);
        for vector in stream.elements(group, channel, residue)[part].chunks(self.width) {
            for index in 0..self.width {
                let weight = vector.get(index).filter(|weight| weight.tap != PLACEHOLDER);
                if let BankOf::Modulo(count) = banks {
                    self.rotations.push(2 * count as u8);
                }
                self.taps.push(weight.map_or(0, |weight| weight.tap));
                let Some(weight) = weight else { continue };
                let (r, s) = (weight.tap / array.x.kernel, weight.tap % array.x.kernel);
                let row = i64::from(weight.k) * images * height - tap_offset(&array.y, r);
                let address = banks.part(row * width - tap_offset(&array.x, s));
                self.lanes.push(WeightLane {
                    tap: weight.tap,
                    address,
                });
                if let (BankOf::Modulo(count), Some(rotation)) = (banks, self.rotations.last_mut())
                {
                    *rotation = ((count as i32 - address) % count as i32) as u8;
                }
            }
            self.starts.push(self.lanes.len() as u32);
        }
    }
}
