//! Sizes of compressed blocks: activations per (PE, channel, residue), weights per (output-channel group, channel,
//! residue), and exact counts of useful products.

use super::nonzeros::{BlockWalk, Nonzeros, stored_zeros};
use crate::weights::OutputWeights;
use rayon::prelude::*;
use scnn_isa::codec::Format;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::plane::{Rect, Span};
use scnn_isa::section::WeightBlocks;
use std::borrow::Cow;

/// Elements and non-zeros of one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Stored elements, placeholders included.
    pub elements: u32,
    /// Non-zero values.
    pub nonzeros: u32,
}

/// The activation blocks of one tile and a range of channels.
#[derive(Clone, Debug)]
pub struct ActivationBlocks {
    /// PEs of a group.
    pub pes: Grid,
    /// Residues of a channel.
    pub residues: u32,
    /// By (PE with a tile, channel, residue).
    blocks: Vec<Block>,
    channels: u32,
    /// By (PE row-major, residue): whether there are blocks.
    stored: Vec<bool>,
    /// By PE, where its tile is among those of all PEs: a small plane leaves most of them without one.
    places: Vec<Option<u32>>,
}

impl ActivationBlocks {
    /// Measures `channels` of a tensor.
    pub fn measure(
        nonzeros: &Nonzeros,
        layout: &Layout,
        tile: &Tile,
        channels: Span,
        format: Format,
    ) -> Self {
        let (pes, residues) = (tile.pes(), layout.residues.count());
        let residue_at = |residue: u32| {
            (
                residue / layout.residues.cols,
                residue % layout.residues.cols,
            )
        };
        let stored = (0..pes.count()).flat_map(|pe| {
            let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
            (0..residues).map(move |residue| {
                let at = residue_at(residue);
                layout.has_block(rect, at.0, at.1)
            })
        });
        let mut all = Self::empty(pes, residues, channels.len(), stored.collect());
        let with_tile = all.with_tile();
        all.blocks
            .par_chunks_mut((channels.len() * residues).max(1) as usize)
            .zip(with_tile)
            .for_each(|(blocks, pe)| {
                let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
                for residue in 0..residues {
                    let at = residue_at(residue);
                    let walk = BlockWalk::new(rect, at, layout.residues);
                    let of_residue = blocks[residue as usize..]
                        .iter_mut()
                        .step_by(residues as usize);
                    for (channel, block) in channels.iter().zip(of_residue) {
                        *block = measure_block(&walk, nonzeros, channel, format);
                    }
                }
            });
        all
    }

    /// Blocks without elements; `stored` is by (PE row-major, residue).
    fn empty(pes: Grid, residues: u32, channels: u32, stored: Vec<bool>) -> Self {
        let mut with_tile = 0;
        let of_pe = stored.chunks(residues as usize);
        let places = of_pe.map(|stored| {
            stored.contains(&true).then(|| {
                with_tile += 1;
                with_tile - 1
            })
        });
        let places = places.collect();
        Self {
            pes,
            residues,
            blocks: vec![Block::default(); (with_tile * channels * residues) as usize],
            channels,
            stored,
            places,
        }
    }

    /// The PEs that have a tile, in the order of their blocks.
    fn with_tile(&self) -> Vec<u32> {
        let has_tile = |&pe: &u32| self.places[pe as usize].is_some();
        (0..self.pes.count()).filter(has_tile).collect()
    }

    /// Whether a PE has blocks of a residue.
    pub fn stores(&self, pe: u32, residue: u32) -> bool {
        self.stored[(pe * self.residues + residue) as usize]
    }

    /// PEs of the group that have a tile: those that a vector of weights reaches.
    pub fn pes_with_tile(&self) -> u64 {
        self.places.iter().flatten().count() as u64
    }

    /// Elements of a PE.
    pub fn elements_of_pe(&self, pe: u32) -> u64 {
        self.of_pe(pe).iter().map(|b| u64::from(b.elements)).sum()
    }

    /// Elements of a channel in a PE, counted from the first that was measured.
    pub fn elements_of_channel(&self, pe: u32, channel: u32) -> u64 {
        let blocks = self.of_channel(pe, channel).iter();
        blocks.map(|block| u64::from(block.elements)).sum()
    }

    /// Encoded bytes of a channel in a PE, counted from the first that was measured.
    pub fn bytes_of_channel(&self, pe: u32, channel: u32, format: Format) -> u64 {
        let blocks = self.of_channel(pe, channel);
        let of_residue = |(residue, block): (u32, &Block)| {
            if self.stores(pe, residue) {
                format.block_bytes(u64::from(block.elements))
            } else {
                0
            }
        };
        (0..self.residues).zip(blocks).map(of_residue).sum()
    }

    /// The blocks of one PE, by (channel, residue); none if it has no tile.
    pub fn of_pe(&self, pe: u32) -> &[Block] {
        let per_pe = self.columns_per_pe();
        self.places[pe as usize].map_or(&[], |place| {
            &self.blocks[place as usize * per_pe..][..per_pe]
        })
    }

    /// The blocks of one channel in a PE, by residue; none if it has no tile.
    fn of_channel(&self, pe: u32, channel: u32) -> &[Block] {
        let first = (channel * self.residues) as usize;
        let of_pe = self.of_pe(pe).get(first..).unwrap_or_default();
        &of_pe[..of_pe.len().min(self.residues as usize)]
    }

    /// Pairs of a channel and a residue.
    pub fn columns_per_pe(&self) -> usize {
        (self.channels * self.residues) as usize
    }

    /// The blocks by (channel, residue), in vectors of `width` elements.
    pub fn columns(&self, width: u32) -> Columns {
        let per_pe = self.columns_per_pe();
        let with_tile = self.with_tile();
        let mut columns = Columns {
            sums: Vec::with_capacity(per_pe),
            pes: Vec::new(),
            starts: vec![0],
        };
        for column in 0..per_pe {
            let mut sums = [0u64; 3];
            for (&pe, blocks) in with_tile.iter().zip(self.blocks.chunks(per_pe)) {
                let block = blocks[column];
                let vectors = block.elements.div_ceil(width);
                if vectors > 0 {
                    columns.pes.push((pe, vectors));
                }
                sums[0] += u64::from(block.elements);
                sums[1] += u64::from(block.nonzeros);
                sums[2] += u64::from(vectors);
            }
            columns.sums.push(sums);
            columns.starts.push(columns.pes.len() as u32);
        }
        columns
    }

    /// Vectors of `width` elements that each PE holds.
    pub fn vectors_per_pe(&self, width: u32) -> Vec<u64> {
        let vectors = |b: &Block| u64::from(b.elements.div_ceil(width));
        (0..self.pes.count())
            .map(|pe| self.of_pe(pe).iter().map(vectors).sum())
            .collect()
    }

    /// Encoded bytes of all blocks.
    pub fn bytes(&self, format: Format) -> u64 {
        let of_pe = |pe| {
            let channels = 0..self.channels;
            channels.map(move |channel| self.bytes_of_channel(pe, channel, format))
        };
        (0..self.pes.count()).flat_map(of_pe).sum()
    }

    /// Vectors of `width` elements of all blocks.
    pub fn vectors(&self, width: u32) -> u64 {
        self.blocks
            .iter()
            .map(|b| u64::from(b.elements.div_ceil(width)))
            .sum()
    }
}

/// The blocks of one (channel, residue) over all PEs.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Elements.
    pub elements: u64,
    /// Non-zeros.
    pub nonzeros: u64,
    /// Vectors.
    pub vectors: u64,
    /// PEs that hold any, and their vectors.
    pub pes: &'a [(u32, u32)],
}

/// Activation blocks by (channel, residue), for all PEs at once.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Elements, non-zeros, vectors.
    sums: Vec<[u64; 3]>,
    pes: Vec<(u32, u32)>,
    /// First of `pes` by column, with the end behind.
    starts: Vec<u32>,
}

impl Columns {
    /// A column.
    #[inline]
    pub fn column(&self, index: usize) -> Column<'_> {
        let [elements, nonzeros, vectors] = self.sums[index];
        Column {
            elements,
            nonzeros,
            vectors,
            pes: &self.pes[self.starts[index] as usize..self.starts[index + 1] as usize],
        }
    }
}

fn measure_block(walk: &BlockWalk, nonzeros: &Nonzeros, channel: u32, format: Format) -> Block {
    // Where no gap is longer than an index can say, there are no placeholders.
    if format.compressed && stored_zeros(format, walk.positions().saturating_sub(1)) == 0 {
        let nonzeros = walk.count(nonzeros, channel);
        return Block {
            elements: nonzeros,
            nonzeros,
        };
    }
    let mut block = Block::default();
    let behind = walk.each(nonzeros, channel, |zeros, _, _, _| {
        block.nonzeros += 1;
        block.elements += 1 + stored_zeros(format, zeros);
    });
    if !format.compressed {
        block.elements += behind;
    }
    block
}

/// The weight blocks of a layer: sizes by (output-channel group, channel of its convolution group, residue).
#[derive(Clone, Debug)]
pub struct WeightSizes {
    /// By group: first channel, and blocks by (channel, residue).
    pub groups: Vec<(u32, Vec<Block>)>,
    /// Non-zero weights by (input channel of the view, tap r-major), over all output channels.
    nonzeros: Vec<u32>,
}

impl WeightSizes {
    /// Measures decoded blocks; `weights` are those of them that are not zero.
    pub fn measure(
        blocks: &WeightBlocks,
        array: &ArrayStage,
        inputs: u32,
        outputs: u32,
        residues: u32,
        weights: &OutputWeights,
    ) -> Self {
        let groups = array
            .channel_groups
            .iter()
            .enumerate()
            .map(|(group, &k)| {
                let channels = scnn_isa::section::group_channels(array, k, inputs, outputs);
                let sizes = channels
                    .iter()
                    .flat_map(|c| (0..residues).map(move |residue| (c, residue)))
                    .map(|(c, residue)| {
                        let elements = blocks.block(group, c, residue);
                        Block {
                            elements: elements.len() as u32,
                            nonzeros: elements.iter().filter(|e| e.value != 0).count() as u32,
                        }
                    })
                    .collect();
                (channels.begin, sizes)
            })
            .collect();
        Self {
            groups,
            nonzeros: by_tap(array, inputs, weights, 0..outputs),
        }
    }

    /// Non-zero weights by (input channel of the view, tap r-major), over the output channels of `rounds`; `weights` are
    /// those that were measured.
    pub fn nonzeros(
        &self,
        array: &ArrayStage,
        rounds: Span,
        weights: &OutputWeights,
    ) -> Cow<'_, [u32]> {
        if rounds == Span::new(0, array.rounds()) {
            return Cow::Borrowed(&self.nonzeros);
        }
        let per_round = array.pe_groups.count();
        let groups = rounds.begin * per_round..rounds.end * per_round;
        let of_rounds = groups.flat_map(|group| array.channel_groups[group as usize].iter());
        let inputs = self.nonzeros.len() as u32 / (array.y.kernel * array.x.kernel).max(1);
        Cow::Owned(by_tap(array, inputs, weights, of_rounds))
    }

    /// Non-zero products of some channels in a pass whose output lies inside `inner`: exact, by counting for every tap
    /// the non-zero activations of the tile that it takes there. `weights` are how many of those there are by
    /// ([input channel of the view, tap](Self::nonzeros)), and the view begins with channel `view` of its tensor.
    pub fn useful(
        array: &ArrayStage,
        (nonzeros, weights): (&Nonzeros, &[u32]),
        (view, channels): (u32, Span),
        tile: Rect,
        inner: Rect,
    ) -> u64 {
        let (rows, cols) = (array.y.kernel as usize, array.x.kernel as usize);
        let lands = |axis: &scnn_isa::plane::Axis, i: u32, tap: u32, inside: Span| {
            axis.output(i, tap).is_some_and(|o| inside.contains(o))
        };
        // By row tap: the rows that it takes inside, from the tile's first; by column tap: a mask of the columns.
        let ys: Vec<Vec<usize>> = (0..array.y.kernel)
            .map(|r| {
                let taken = tile.y.iter().filter(|&y| lands(&array.y, y, r, inner.y));
                taken.map(|y| (y - tile.y.begin) as usize).collect()
            })
            .collect();
        let xs: Vec<Vec<u64>> = (0..array.x.kernel)
            .map(|s| nonzeros.columns(|x| tile.x.contains(x) && lands(&array.x, x, s, inner.x)))
            .collect();
        let images = tile.n.intersect(inner.n);
        (channels.begin..channels.end)
            .into_par_iter()
            .map_init(Vec::new, |in_row: &mut Vec<u64>, c| {
                let taps = &weights[c as usize * rows * cols..(c as usize + 1) * rows * cols];
                let mut useful = 0u64;
                for n in images.iter() {
                    for (s, mask) in xs.iter().enumerate() {
                        if (0..rows).all(|r| taps[r * cols + s] == 0) {
                            continue;
                        }
                        in_row.clear();
                        in_row.extend(tile.y.iter().map(|y| {
                            let words = nonzeros.row(n, view + c, y).iter().zip(mask);
                            words
                                .map(|(word, mask)| u64::from((word & mask).count_ones()))
                                .sum::<u64>()
                        }));
                        for (r, ys) in ys.iter().enumerate() {
                            let weights = u64::from(taps[r * cols + s]);
                            if weights > 0 {
                                useful += weights * ys.iter().map(|&y| in_row[y]).sum::<u64>();
                            }
                        }
                    }
                }
                useful
            })
            .sum()
    }
}

/// How many weights are not zero by (input channel, tap r-major), over some output channels.
fn by_tap(
    array: &ArrayStage,
    inputs: u32,
    weights: &OutputWeights,
    outputs: impl Iterator<Item = u32>,
) -> Vec<u32> {
    let taps = (array.y.kernel * array.x.kernel) as usize;
    let mut nonzeros = vec![0; inputs as usize * taps];
    for weight in outputs.flat_map(|k| weights.of(k)) {
        nonzeros[weight.channel as usize * taps + weight.tap as usize] += 1;
    }
    nonzeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Three PEs, of which one may have no tile, with two channels of two residues.
        #[test]
        fn a_column_is_what_all_pes_hold_of_a_channel_and_residue(
            sizes in prop::collection::vec((0u32..3, 0u32..7), 3 * 4), width in 1u32..5, without in 0u32..4,
        ) {
            let block = |&(nonzeros, placeholders)| Block { elements: nonzeros + placeholders, nonzeros };
            let stored = (0..3).flat_map(|pe| [pe != without; 2]).collect();
            let mut blocks = ActivationBlocks::empty(Grid::new(1, 3), 2, 2, stored);
            for (block_of, size) in blocks.blocks.iter_mut().zip(&sizes) {
                *block_of = block(size);
            }
            prop_assert_eq!(blocks.pes_with_tile(), if without < 3 { 2 } else { 3 });
            let columns = blocks.columns(width);
            for index in 0..4 {
                let of_pe = |pe| blocks.of_pe(pe).get(index).copied().unwrap_or_default();
                let held: Vec<(u32, Block)> = (0..3).map(|pe| (pe, of_pe(pe))).collect();
                let sum = |of: &dyn Fn(&Block) -> u32| held.iter().map(|(_, block)| u64::from(of(block))).sum::<u64>();
                let vectors = |block: &Block| block.elements.div_ceil(width);
                let column = columns.column(index);
                prop_assert_eq!(column.elements, sum(&|block| block.elements));
                prop_assert_eq!(column.nonzeros, sum(&|block| block.nonzeros));
                prop_assert_eq!(column.vectors, sum(&vectors));
                let some = held.iter().filter(|(_, block)| block.elements > 0);
                let some: Vec<(u32, u32)> = some.map(|(pe, block)| (*pe, vectors(block))).collect();
                prop_assert_eq!(column.pes, some);
            }
            prop_assert_eq!(blocks.vectors(width), (0..4).map(|index| columns.column(index).vectors).sum::<u64>());
            prop_assert_eq!(blocks.vectors_per_pe(width).iter().sum::<u64>(), blocks.vectors(width));
        }
    }
}
