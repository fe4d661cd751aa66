//! The weights of a layer as they are streamed: a word for each.

mod by_output;

pub use by_output::{OutputWeights, Weight};

use crate::pairs::Pairs;
use rayon::prelude::*;
use scnn_isa::codec::positions;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Grid;
use scnn_isa::plane::Span;
use scnn_isa::section::{WeightBlocks, group_channels, residue_taps};
use std::ops::Range;

/// The place of a weight in its output-channel group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWeight {
    /// Output channel in the group.
    pub k: u32,
    /// Tap, r-major.
    pub tap: u32,
}

/// Stored weights, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct StoredWeights<'a> {
    words: &'a [u32],
    pairs: Pairs,
    /// The tap of a zero.
    placeholder: u32,
}

impl<'a> StoredWeights<'a> {
    /// Vectors of `width` weights; the last may have fewer.
    #[inline]
    pub fn vectors(self, width: usize) -> impl ExactSizeIterator<Item = Self> {
        let vectors = self.words.chunks(width);
        vectors.map(move |words| Self { words, ..self })
    }

    /// The weights; none for a zero.
    #[inline]
    pub fn each(self) -> impl Iterator<Item = Option<StoredWeight>> + 'a {
        self.words.iter().map(move |&word| {
            let (k, tap) = self.pairs.split(word);
            (tap != self.placeholder).then_some(StoredWeight { k, tap })
        })
    }
}

/// The weight blocks of a layer, one behind the other.
#[derive(Clone, Debug)]
pub struct WeightStream {
    /// By element, output channel in the group and tap; see [`StoredWeights`].
    elements: Vec<u32>,
    pairs: Pairs,
    /// The tap number that marks a zero, one beyond the kernel's taps.
    placeholder: u32,
    /// First element of each block in streaming order, with the end behind.
    starts: Vec<u32>,
    /// First block of each output-channel group.
    groups: Vec<u32>,
    /// Channels of each group's blocks.
    channels: Vec<Span>,
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
        let channels: Vec<Span> = array
            .channel_groups
            .iter()
            .map(|&k| group_channels(array, k, inputs, outputs))
            .collect();
        let placeholder = array.y.kernel * array.x.kernel;
        let pairs = Pairs::new(placeholder + 1);
        let fill = |group: usize, elements: &mut [u32]| {
            let mut places = elements.iter_mut();
            let k = array.channel_groups[group];
            for channel in channels[group].iter() {
                for (residue, taps) in taps.iter().enumerate() {
                    let block = blocks.block(group, channel, residue as u32);
                    for ((position, value), place) in positions(block).zip(places.by_ref()) {
                        let count = taps.len() as u32;
                        let (k, tap) = array.order.split(position as u32, k.len(), count);
                        let tap = if value == 0 {
                            placeholder
                        } else {
                            let (r, s) = taps[tap as usize];
                            r * array.x.kernel + s
                        };
                        *place = pairs.join(k, tap);
                    }
                }
            }
        };
        // Each group writes where its elements stay: a large layer's are most of what a program needs in memory.
        let mut elements = vec![0; blocks.elements.len()];
        let mut rest = elements.as_mut_slice();
        let of_group = blocks.group_starts.windows(2).map(|of_group| {
            let [begin, end] = [0, 1].map(|at| blocks.starts[of_group[at] as usize] as usize);
            rest.split_off_mut(..end - begin).unwrap_or_default()
        });
        let of_group: Vec<&mut [u32]> = of_group.collect();
        let of_group = of_group.into_par_iter().enumerate();
        of_group.for_each(|(group, elements)| fill(group, elements));
        Self {
            elements,
            pairs,
            placeholder,
            starts: blocks.starts.clone(),
            groups: blocks.group_starts.clone(),
            channels,
            residues: residues.count(),
        }
    }

    /// The blocks of a group by (channel, residue): its first channel, and the blocks' numbers.
    pub fn blocks_of(&self, group: usize) -> (u32, Range<u32>) {
        self.blocks(group, self.channels[group])
    }

    /// The blocks of a group for those of its channels that are in `channels`, in order: the first channel, and the
    /// blocks' numbers.
    pub fn blocks(&self, group: usize, channels: Span) -> (u32, Range<u32>) {
        let all = self.channels[group];
        let channels = all.intersect(channels);
        if channels.is_empty() {
            return (channels.begin, 0..0);
        }
        let begin = self.groups[group] + (channels.begin - all.begin) * self.residues;
        (
            channels.begin,
            begin..begin + channels.len() * self.residues,
        )
    }

    /// The elements of a block, as a range of the stream.
    #[inline]
    pub fn range(&self, block: u32) -> Range<u32> {
        self.starts[block as usize]..self.starts[block as usize + 1]
    }

    /// Elements of the largest block.
    pub fn largest_block(&self) -> u32 {
        let lengths = self.starts.windows(2).map(|block| block[1] - block[0]);
        lengths.max().unwrap_or(0)
    }

    /// The elements in a range of the stream.
    #[inline]
    pub fn elements(&self, range: Range<u32>) -> StoredWeights<'_> {
        StoredWeights {
            words: &self.elements[range.start as usize..range.end as usize],
            pairs: self.pairs,
            placeholder: self.placeholder,
        }
    }
}
