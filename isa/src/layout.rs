//! How an activation tensor is cut over the PEs and in which order its blocks are stored.
//!
//! A tensor `[N, C, H, W]` is stored as a list of [`Tile`]s: boxes of the plane that are processed one after the
//! other (one, when the whole plane is processed at once). Tiles may overlap: a halo that two consecutive tiles
//! need is stored in both. Each tile is cut over the PEs of a *PE group*, and every PE group holds a replica.
//!
//! A PE's part of one channel is split by *residue*, the position modulo the stride ([`Layout::residues`]), so that a
//! convolution of stride s can run as s x s unit-stride phases. One (tile, PE, channel, residue) is one
//! compressed **block**, its positions in the order images, rows, columns:
//!
//! ```text
//! for tile / for PE of the group / for channel / for residue (y major) / for (n, y, x) in the PE's rectangle
//! ```
//!
//! Where a PE has no position of a residue it has no block either, not even an empty one: an array that is larger than
//! the plane moves no bytes for its idle PEs.

use crate::plane::{Rect, Span};
use serde::{Deserialize, Serialize};

/// Rows and columns of something two-dimensional: PEs, PE groups, residues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[u32; 2]", into = "[u32; 2]")]
pub struct Grid {
    /// Rows (the y axis).
    pub rows: u32,
    /// Columns (the x axis).
    pub cols: u32,
}

impl Grid {
    /// One by one.
    pub const ONE: Self = Self::new(1, 1);

    /// `rows` by `cols`.
    pub const fn new(rows: u32, cols: u32) -> Self {
        Self { rows, cols }
    }

    /// Number of cells.
    pub const fn count(self) -> u32 {
        self.rows.saturating_mul(self.cols)
    }
}

impl From<[u32; 2]> for Grid {
    fn from([rows, cols]: [u32; 2]) -> Self {
        Self { rows, cols }
    }
}

impl From<Grid> for [u32; 2] {
    fn from(grid: Grid) -> Self {
        [grid.rows, grid.cols]
    }
}

/// Storage and distribution of an activation tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// PE groups the array is divided into; each holds a replica of the tensor.
    pub groups: Grid,
    /// Moduli that split a block into residues: `rows` for y, `cols` for x. The strides of its consumers.
    pub residues: Grid,
    /// Temporal tiles, in the order in which they are stored.
    pub tiles: Vec<Tile>,
}

/// One temporal tile: a box of the plane and its cut over the PEs of a group.
///
/// Rows of PEs are cut first by image, then by row: PE row `i` holds image part `i / (y.len() - 1)` (of
/// `images.rows`) and row part `i % (y.len() - 1)`; PE columns likewise. A single image has `images` 1 x 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Parts the images of the batch are divided into, along PE rows and PE columns.
    pub images: Grid,
    /// Cuts of the image axis: `images.count() + 1` positions, ascending.
    pub n: Vec<u32>,
    /// Cuts of the row axis: one more than there are row parts, ascending.
    pub y: Vec<u32>,
    /// Cuts of the column axis, likewise.
    pub x: Vec<u32>,
}

impl Tile {
    /// Cuts `rect` uniformly, ceil(extent / parts) positions to a part, over a group of `pes`, with the images
    /// divided into `images` parts.
    ///
    /// The paper's tile: `ceil(W / cols) x ceil(H / rows)` (section 3.1). `images` must divide `pes`.
    pub fn uniform(rect: Rect, pes: Grid, images: Grid) -> Self {
        Self {
            images,
            n: uniform_cuts(rect.n, images.count()),
            y: uniform_cuts(rect.y, pes.rows / images.rows.max(1)),
            x: uniform_cuts(rect.x, pes.cols / images.cols.max(1)),
        }
    }

    /// The box of the plane that this tile holds.
    pub fn rect(&self) -> Rect {
        Rect {
            n: hull(&self.n),
            y: hull(&self.y),
            x: hull(&self.x),
        }
    }

    /// PEs of a group that this tile is cut over.
    pub fn pes(&self) -> Grid {
        Grid::new(
            self.images.rows.saturating_mul(parts(&self.y)),
            self.images.cols.saturating_mul(parts(&self.x)),
        )
    }

    /// The positions in the PE at (`row`, `col`) of the group.
    pub fn pe_rect(&self, row: u32, col: u32) -> Rect {
        let (rows, cols) = (parts(&self.y).max(1), parts(&self.x).max(1));
        let image = (row / rows) * self.images.cols + col / cols;
        Rect {
            n: part(&self.n, image),
            y: part(&self.y, row % rows),
            x: part(&self.x, col % cols),
        }
    }

    /// The (row, column) in the group of the PE that holds position (`n`, `y`, `x`), if the tile has it.
    pub fn owner(&self, n: u32, y: u32, x: u32) -> Option<(u32, u32)> {
        let (n, y, x) = (
            part_of(&self.n, n)?,
            part_of(&self.y, y)?,
            part_of(&self.x, x)?,
        );
        let cols = self.images.cols.max(1);
        Some((n / cols * parts(&self.y) + y, n % cols * parts(&self.x) + x))
    }
}

impl Layout {
    /// One tile, the whole plane, uniformly cut over all `pes`; one group, one residue.
    pub fn whole(plane: Rect, pes: Grid) -> Self {
        Self {
            groups: Grid::ONE,
            residues: Grid::ONE,
            tiles: vec![Tile::uniform(plane, pes, Grid::ONE)],
        }
    }

    /// Whether a PE that holds `rect` of the plane has blocks of residue (`ry`, `rx`).
    pub fn has_block(&self, rect: Rect, ry: u32, rx: u32) -> bool {
        self.block_positions(rect, ry, rx) > 0
    }

    /// Number of positions of `rect` in the block of residue (`ry`, `rx`).
    pub fn block_positions(&self, rect: Rect, ry: u32, rx: u32) -> u64 {
        u64::from(rect.n.len())
            * u64::from(count_residue(rect.y, ry, self.residues.rows))
            * u64::from(count_residue(rect.x, rx, self.residues.cols))
    }
}

/// Positions of `span` that are `residue` modulo `residues`.
pub fn count_residue(span: Span, residue: u32, residues: u32) -> u32 {
    let below = |end: u32| (end + residues - 1 - residue) / residues;
    if span.is_empty() {
        0
    } else {
        below(span.end) - below(span.begin)
    }
}

fn uniform_cuts(span: Span, parts: u32) -> Vec<u32> {
    let step = span.len().div_ceil(parts.max(1));
    (0..=parts.max(1))
        .map(|i| {
            span.begin
                .saturating_add(i.saturating_mul(step))
                .min(span.end)
        })
        .collect()
}

fn hull(cuts: &[u32]) -> Span {
    Span::new(
        cuts.first().copied().unwrap_or(0),
        cuts.last().copied().unwrap_or(0),
    )
}

fn parts(cuts: &[u32]) -> u32 {
    cuts.len().saturating_sub(1) as u32
}

fn part(cuts: &[u32], index: u32) -> Span {
    match cuts.get(index as usize..) {
        Some([begin, end, ..]) => Span::new(*begin, *end),
        _ => Span::default(),
    }
}

fn part_of(cuts: &[u32], position: u32) -> Option<u32> {
    (0..parts(cuts)).find(|&i| part(cuts, i).contains(position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_has_one_owner(
            n in 1u32..5, h in 1u32..20, w in 1u32..20, rows in 1u32..5, cols in 1u32..5, split in any::<bool>(),
        ) {
            let images = if split { Grid::new(rows, 1) } else { Grid::ONE };
            let tile = Tile::uniform(Rect::plane(n, h, w), Grid::new(rows, cols), images);
            prop_assert_eq!(tile.pes(), Grid::new(rows, cols));
            let mut seen = 0;
            for row in 0..rows {
                for col in 0..cols {
                    let rect = tile.pe_rect(row, col);
                    seen += rect.positions();
                    for (n, y, x) in positions(rect) {
                        prop_assert_eq!(tile.owner(n, y, x), Some((row, col)));
                    }
                }
            }
            prop_assert_eq!(seen, tile.rect().positions());
        }

        #[test]
        fn residues_partition_a_span(begin in 0u32..30, len in 0u32..30, residues in 1u32..6) {
            let span = Span::new(begin, begin + len);
            let total: u32 = (0..residues).map(|r| count_residue(span, r, residues)).sum();
            prop_assert_eq!(total, len);
            for r in 0..residues {
                let counted = span.iter().filter(|p| p % residues == r).count() as u32;
                prop_assert_eq!(count_residue(span, r, residues), counted);
            }
        }
    }

    fn positions(rect: Rect) -> impl Iterator<Item = (u32, u32, u32)> {
        rect.n.iter().flat_map(move |n| {
            rect.y
                .iter()
                .flat_map(move |y| rect.x.iter().map(move |x| (n, y, x)))
        })
    }
}
