//! Which values of a tensor are not zero: a bit for each, so that blocks are measured and compressed by words.

use rayon::prelude::*;
use scnn_isa::codec::Format;
use scnn_isa::layout::Grid;
use scnn_isa::plane::{Rect, Span};

/// The non-zeros of a tensor `[N, C, H, W]`.
#[derive(Clone, Debug)]
pub struct Nonzeros {
    /// By (image, channel, row), each row in whole words.
    words: Vec<u64>,
    words_per_row: usize,
    shape: [u32; 4],
}

impl Nonzeros {
    /// Of the values of a tensor of these extents.
    pub fn of(values: &[i16], shape: [u32; 4]) -> Self {
        let width = shape[3] as usize;
        let words_per_row = width.div_ceil(64);
        let rows = shape[0] as usize * shape[1] as usize * shape[2] as usize;
        let mut words = vec![0u64; rows * words_per_row];
        words
            .par_chunks_mut(words_per_row.max(1))
            .with_min_len(64)
            .zip(values.par_chunks(width.max(1)).with_min_len(64))
            .for_each(|(words, row)| {
                for (word, values) in words.iter_mut().zip(row.chunks(64)) {
                    *word = values
                        .iter()
                        .enumerate()
                        .fold(0, |word, (bit, &value)| word | u64::from(value != 0) << bit);
                }
            });
        Self {
            words,
            words_per_row,
            shape,
        }
    }

    /// A row: bit `x % 64` of word `x / 64`.
    #[inline]
    pub fn row(&self, n: u32, channel: u32, y: u32) -> &[u64] {
        let [_, channels, height, _] = self.shape.map(|extent| extent as usize);
        let row = (n as usize * channels + channel as usize) * height + y as usize;
        &self.words[row * self.words_per_row..][..self.words_per_row]
    }

    /// A mask of the columns for which `takes` holds.
    pub fn columns(&self, takes: impl Fn(u32) -> bool) -> Vec<u64> {
        let mut mask = vec![0; self.words_per_row];
        for x in (0..self.shape[3]).filter(|&x| takes(x)) {
            mask[x as usize / 64] |= 1 << (x % 64);
        }
        mask
    }

    /// Extents of the tensor.
    pub fn shape(&self) -> [u32; 4] {
        self.shape
    }
}

/// Walks the elements of the block of one (PE, channel, residue) in the order of its positions.
pub struct BlockWalk {
    images: Span,
    /// First row, how many, and how far they are apart.
    rows: (u32, u32, u32),
    /// How far columns are apart.
    step: u32,
    columns: Span,
    /// Positions of a row.
    per_row: u32,
    /// First word with a column of the PE, and the masks of those words.
    first_word: usize,
    masks: Vec<u64>,
}

/// The positions of a span that are `residue` modulo `modulus`, as (first, how many).
fn aligned(span: Span, residue: u32, modulus: u32) -> (u32, u32) {
    let first = span.begin + (residue + modulus - span.begin % modulus) % modulus;
    (first, span.end.saturating_sub(first).div_ceil(modulus))
}

/// `count` positions from `first` on, `step` apart.
fn places(first: u32, count: u32, step: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |index| first + index * step)
}

impl BlockWalk {
    /// The walk of a PE's rectangle, for the positions that are `residue` modulo `residues`.
    pub fn new(rect: Rect, residue: (u32, u32), residues: Grid) -> Self {
        let (first_row, rows) = aligned(rect.y, residue.0, residues.rows);
        let (first, per_row) = aligned(rect.x, residue.1, residues.cols);
        let columns = Span::new(first, rect.x.end.max(first));
        // A PE without a column of this residue reads no word; the first such column may lie behind the plane.
        let words = if per_row == 0 {
            0..0
        } else {
            columns.begin as usize / 64..(columns.end as usize).div_ceil(64)
        };
        let mut masks = vec![0; words.len()];
        for x in places(first, per_row, residues.cols) {
            masks[x as usize / 64 - words.start] |= 1 << (x % 64);
        }
        Self {
            images: rect.n,
            rows: (first_row, rows, residues.rows),
            step: residues.cols,
            columns,
            per_row,
            first_word: words.start,
            masks,
        }
    }

    /// Positions of the block.
    pub fn positions(&self) -> u32 {
        self.images.len() * self.rows.1 * self.per_row
    }

    /// Its rows of the plane.
    pub fn rows(&self) -> impl Iterator<Item = u32> {
        let (first, rows, apart) = self.rows;
        places(first, rows, apart)
    }

    /// Its columns of the plane.
    pub fn columns(&self) -> impl Iterator<Item = u32> {
        places(self.columns.begin, self.per_row, self.step)
    }

    /// Non-zeros of a channel.
    pub fn count(&self, nonzeros: &Nonzeros, channel: u32) -> u32 {
        let (first_row, rows, apart) = self.rows;
        let mut count = 0;
        for n in self.images.iter() {
            for row in 0..rows {
                let words = &nonzeros.row(n, channel, first_row + row * apart)[self.first_word..];
                let words = words.iter().zip(&self.masks);
                count += words
                    .map(|(word, mask)| (word & mask).count_ones())
                    .sum::<u32>();
            }
        }
        count
    }

    /// Calls `element` with the zeros before it, image, and number among the block's [rows](Self::rows) and
    /// [columns](Self::columns) of every non-zero of a channel; returns the zeros behind the last one.
    #[inline]
    pub fn each(
        &self,
        nonzeros: &Nonzeros,
        channel: u32,
        mut element: impl FnMut(u32, u32, u32, u32),
    ) -> u32 {
        let (first_row, rows, apart) = self.rows;
        let (mut at, mut next) = (0, 0);
        for n in self.images.iter() {
            for row in 0..rows {
                let y = first_row + row * apart;
                let words = &nonzeros.row(n, channel, y)[self.first_word..];
                for (index, (&word, &mask)) in words.iter().zip(&self.masks).enumerate() {
                    let base = ((self.first_word + index) * 64) as u32;
                    let mut word = word & mask;
                    while word != 0 {
                        let x = base + word.trailing_zeros();
                        word &= word - 1;
                        let column = x - self.columns.begin;
                        let column = if self.step == 1 {
                            column
                        } else {
                            column / self.step
                        };
                        let position = at + column;
                        element(position - next, n, row, column);
                        next = position + 1;
                    }
                }
                at += self.per_row;
            }
        }
        at - next
    }
}

/// Elements that are stored for `zeros` zeros before a non-zero.
#[inline]
pub fn stored_zeros(format: Format, zeros: u32) -> u32 {
    if format.compressed {
        zeros >> format.index_bits
    } else {
        zeros
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_walk_visits_the_non_zeros_of_its_block_in_order(
            width in 1u32..150, height in 1u32..4, begin in 0u32..80, extent in 0u32..100,
            rows in 1u32..4, cols in 1u32..4, seed: u64, density in 1u64..40,
        ) {
            let shape = [2, 2, height, width];
            let hash = |i: u32| (u64::from(i) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let values: Vec<i16> = (0..4 * height * width)
                .map(|i| i16::from(hash(i) % 40 < density))
                .collect();
            let begin = begin.min(width);
            let x = Span::new(begin, (begin + extent).min(width));
            let rect = Rect { n: Span::new(0, 2), y: Span::new(0, height), x };
            let (residues, residue) = (Grid::new(rows, cols), ((seed % u64::from(rows)) as u32, (seed % u64::from(cols)) as u32));
            let nonzeros = Nonzeros::of(&values, shape);
            let mut found = Vec::new();
            let walk = BlockWalk::new(rect, residue, residues);
            prop_assert!(walk.rows().eq((0..height).filter(|y| y % rows == residue.0)));
            prop_assert!(walk.columns().eq(x.iter().filter(|x| x % cols == residue.1)));
            let behind = walk.each(&nonzeros, 1, |zeros, n, row, column| found.push((zeros, n, row, column)));
            prop_assert_eq!(walk.count(&nonzeros, 1), found.len() as u32);
            prop_assert_eq!(walk.positions(), found.iter().map(|found| found.0 + 1).sum::<u32>() + behind);
            let (mut expected, mut zeros) = (Vec::new(), 0);
            for n in 0..2 {
                for (row, y) in (0..).zip((0..height).filter(|y| y % rows == residue.0)) {
                    for (column, x) in (0..).zip(x.iter().filter(|x| x % cols == residue.1)) {
                        if values[(((n * 2 + 1) * height + y) * width + x) as usize] == 0 {
                            zeros += 1;
                        } else {
                            expected.push((zeros, n, row, column));
                            zeros = 0;
                        }
                    }
                }
            }
            prop_assert_eq!((found, behind), (expected, zeros));
        }
    }
}
