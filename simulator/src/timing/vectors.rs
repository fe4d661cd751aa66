//! The activation vectors of a pass, as the steps need them.
//!
//! What a product needs to know of its activation is its part of the address and which taps keep it in the plane. All
//! activations with the same set of such taps are of one **class**; in a large plane nearly all are of the class of the
//! interior. The weights of a part are tabulated once for each class ([`super::table`]), and a lane of an activation
//! vector is nothing but a place in that table.

use super::addresses::{AccumulatorTile, BankOf, origin};
use super::nonzeros::{BlockWalk, Nonzeros, stored_zeros};
use rayon::prelude::*;
use scnn_isa::codec::Format;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::machine::Machine;
use scnn_isa::plane::{Axis, Rect, Span};

/// Classes of the activations of one residue; 0 is the class of those that have no product in the plane.
#[derive(Clone, Debug)]
pub struct Classes {
    /// By (class, tap r major): whether the tap keeps the class in the plane.
    inside: Vec<bool>,
    taps: usize,
    count: usize,
    /// By class: the tap, if it is the only one inside.
    only_tap: Vec<Option<u32>>,
    /// Kinds of columns: a class is one and the kind of row times these and the kind of column.
    kinds_of_cols: u32,
}

impl Classes {
    fn new(rows: &[Vec<bool>], cols: &[Vec<bool>], taps: usize) -> Self {
        let mut inside = vec![false; taps];
        for row in rows {
            for col in cols {
                inside.extend(row.iter().flat_map(|&r| col.iter().map(move |&s| r && s)));
            }
        }
        let only_tap = inside.chunks(taps).map(|inside| {
            let mut taps = (0u32..).zip(inside).filter(|(_, inside)| **inside);
            match (taps.next(), taps.next()) {
                (Some((tap, _)), None) => Some(tap),
                _ => None,
            }
        });
        Self {
            only_tap: only_tap.collect(),
            inside,
            taps,
            count: 1 + rows.len() * cols.len(),
            kinds_of_cols: cols.len() as u32,
        }
    }

    /// Classes, with the class of those that have no product.
    pub fn count(&self) -> usize {
        self.count
    }

    /// By tap, r major: whether it keeps the activations of a class in the plane.
    #[inline]
    pub fn inside(&self, class: usize) -> &[bool] {
        &self.inside[class * self.taps..][..self.taps]
    }
}

/// The bit that all classes from this number on share in a set of classes.
pub const SHARED_BIT: usize = 63;

/// Bit of a class in a set of classes.
const fn class_bit(class: usize) -> u64 {
    1 << if class < SHARED_BIT {
        class
    } else {
        SHARED_BIT
    }
}

/// The kinds of positions along an axis for one residue: which taps keep them in the plane.
struct Kinds {
    kinds: Vec<Vec<bool>>,
    /// By position of the plane.
    of: Vec<u32>,
}

impl Kinds {
    fn new(axis: &Axis, inner: Span, residue: u32, residues: u32) -> Self {
        let mut kinds: Vec<Vec<bool>> = Vec::new();
        let of = (0..axis.input)
            .map(|i| {
                if i % residues != residue {
                    return 0;
                }
                let reaches = |tap| axis.output(i, tap).is_some_and(|o| inner.contains(o));
                let taps: Vec<bool> = (0..axis.kernel).map(reaches).collect();
                let known = kinds.iter().rposition(|other| *other == taps);
                known.unwrap_or_else(|| {
                    kinds.push(taps);
                    kinds.len() - 1
                }) as u32
            })
            .collect();
        Self { kinds, of }
    }
}

/// The vectors of one (PE, channel, residue).
#[derive(Clone, Copy, Debug)]
pub struct BlockVectors {
    /// PE of the group.
    pub pe: u32,
    /// First vector.
    pub begin: u32,
    /// One past the last.
    pub end: u32,
    /// The classes of its lanes, by [`class_bit`].
    pub classes: u64,
    /// The whole block, if it is one activation with products under one tap only.
    pub lone: Option<Lone>,
}

/// A block of one activation that has products under one tap only, which no other of its (channel, residue) has.
#[derive(Clone, Copy, Debug)]
pub struct Lone {
    /// The tap, r major.
    pub tap: u32,
    /// The activation's part of the address.
    pub address: i32,
}

/// The activation vectors of a pass, for all PEs of a group.
pub struct PassVectors {
    /// By (vector, lane), those first that have products: the lane's place in the table.
    pub places: Vec<u32>,
    /// Likewise, for bank maps that are no rotation: its part of the address.
    pub addresses: Vec<i32>,
    /// Lanes of each vector that have products.
    pub occupied: Vec<u8>,
    /// Blocks that have vectors, by (channel, residue), PEs ascending.
    blocks: Vec<BlockVectors>,
    /// First block by (channel, residue), with the end behind.
    starts: Vec<u32>,
    /// By residue.
    pub classes: Vec<Classes>,
    /// Lanes of a vector.
    pub width: usize,
}

/// The geometry of a table of weights: how far classes and banks are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    /// Entries of a class.
    pub class: usize,
    /// How addresses choose banks.
    pub banks: BankOf,
}

impl Spacing {
    /// The place of an activation of a class whose part of the address is `address`: for rotations, where in two equal
    /// histograms in a row its products' histogram begins.
    #[inline]
    fn place(&self, class: usize, address: i32) -> u32 {
        let rotation = match self.banks {
            BankOf::Modulo(banks) if address > 0 => banks - address as u32,
            _ => 0,
        };
        (class * self.class) as u32 + rotation
    }
}

impl PassVectors {
    /// Compresses the channels `channels` of the view that begins at `view_begin`.
    pub fn new(
        machine: &Machine,
        array: &ArrayStage,
        (nonzeros, layout): (&Nonzeros, &Layout),
        (tile, inner): (&Tile, Rect),
        (view_begin, channels): (u32, Span),
        spacing: Spacing,
    ) -> Self {
        let residues = layout.residues;
        let builder = Builder {
            nonzeros,
            format: machine.activation_format(),
            width: machine.pe.activations_per_vector as usize,
            spacing,
            accumulators: AccumulatorTile::of(array, tile, inner),
            residues: (0..residues.count())
                .map(|residue| Residue::new(array, tile, inner, residue, residues))
                .collect(),
        };
        let channels: Vec<ChannelVectors> = channels
            .iter()
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|c| builder.channel(view_begin + c))
            .collect();
        let mut all = Self {
            places: Vec::with_capacity(channels.iter().map(|c| c.places.len()).sum()),
            addresses: Vec::new(),
            occupied: Vec::with_capacity(channels.iter().map(|c| c.occupied.len()).sum()),
            blocks: Vec::with_capacity(channels.iter().map(|c| c.blocks.len()).sum()),
            starts: vec![0],
            classes: Vec::new(),
            width: builder.width,
        };
        for channel in channels {
            let (vectors, blocks) = (all.occupied.len() as u32, all.blocks.len() as u32);
            all.places.extend(channel.places);
            all.addresses.extend(channel.addresses);
            all.occupied.extend(channel.occupied);
            all.blocks
                .extend(channel.blocks.iter().map(|block| BlockVectors {
                    begin: block.begin + vectors,
                    end: block.end + vectors,
                    ..*block
                }));
            all.starts
                .extend(channel.ends.iter().map(|end| end + blocks));
        }
        all.classes = builder.residues.into_iter().map(|r| r.classes).collect();
        all
    }

    /// The blocks of a (channel, residue), by its number from the pass's first, that have vectors.
    #[inline]
    pub fn blocks(&self, column: u32) -> &[BlockVectors] {
        let column = column as usize;
        &self.blocks[self.starts[column] as usize..self.starts[column + 1] as usize]
    }
}

/// Geometry of the activations of one residue, the same for all channels.
struct Residue {
    classes: Classes,
    pes: Vec<PeLines>,
}

/// The positions that a PE holds of a residue.
struct PeLines {
    walk: BlockWalk,
    images: Span,
    /// By row and column of the walk: its part of the output row or column, and its kind.
    rows: Vec<(i64, u32)>,
    cols: Vec<(i64, u32)>,
    first_image: u32,
}

impl Residue {
    fn new(array: &ArrayStage, tile: &Tile, inner: Rect, residue: u32, residues: Grid) -> Self {
        let at = (residue / residues.cols, residue % residues.cols);
        let y = Kinds::new(&array.y, inner.y, at.0, residues.rows);
        let x = Kinds::new(&array.x, inner.x, at.1, residues.cols);
        let entry = |axis: &Axis, span: Span, inner: Span, kinds: &Kinds, at: u32| {
            (origin(axis, span, inner, at), kinds.of[at as usize])
        };
        let grid = tile.pes();
        let pes = (0..grid.count())
            .map(|pe| {
                let rect = tile.pe_rect(pe / grid.cols, pe % grid.cols);
                let walk = BlockWalk::new(rect, at, residues);
                let row = |at| entry(&array.y, rect.y, inner.y, &y, at);
                let column = |at| entry(&array.x, rect.x, inner.x, &x, at);
                PeLines {
                    images: inner.n,
                    rows: walk.rows().map(row).collect(),
                    cols: walk.columns().map(column).collect(),
                    walk,
                    first_image: rect.n.begin,
                }
            })
            .collect();
        Self {
            classes: Classes::new(
                &y.kinds,
                &x.kinds,
                (array.y.kernel * array.x.kernel) as usize,
            ),
            pes,
        }
    }
}

/// The vectors of one channel.
#[derive(Default)]
struct ChannelVectors {
    places: Vec<u32>,
    addresses: Vec<i32>,
    occupied: Vec<u8>,
    blocks: Vec<BlockVectors>,
    /// End of the blocks of each residue.
    ends: Vec<u32>,
    /// Lanes of the vector under way: all, and those that have products.
    filled: usize,
    useful: u8,
}

struct Builder<'a> {
    nonzeros: &'a Nonzeros,
    format: Format,
    width: usize,
    spacing: Spacing,
    accumulators: AccumulatorTile,
    residues: Vec<Residue>,
}

impl Builder<'_> {
    fn channel(&self, channel: u32) -> ChannelVectors {
        let mut vectors = ChannelVectors::default();
        for residue in &self.residues {
            let first = vectors.blocks.len();
            let (mut known, mut shared) = (0, 0);
            for (number, pe) in residue.pes.iter().enumerate() {
                let begin = vectors.occupied.len() as u32;
                let (classes, last) = self.block(channel, residue, pe, &mut vectors);
                let end = vectors.occupied.len() as u32;
                (known, shared) = (known | classes, shared | known & classes);
                if end > begin {
                    let alone = end - begin == 1 && vectors.occupied[begin as usize] == 1;
                    let (class, address) = last;
                    vectors.blocks.push(BlockVectors {
                        pe: number as u32,
                        begin,
                        end,
                        classes,
                        lone: residue.classes.only_tap[class]
                            .filter(|_| alone)
                            .map(|tap| Lone { tap, address }),
                    });
                }
            }
            for block in &mut vectors.blocks[first..] {
                block.lone = block.lone.filter(|_| block.classes & shared == 0);
            }
            vectors.ends.push(vectors.blocks.len() as u32);
        }
        vectors
    }

    /// Appends the vectors of a block; the classes of its lanes, and class and address of the last that has products.
    fn block(
        &self,
        channel: u32,
        residue: &Residue,
        pe: &PeLines,
        into: &mut ChannelVectors,
    ) -> (u64, (usize, i32)) {
        let kinds_of_cols = residue.classes.kinds_of_cols;
        let keeps_addresses = matches!(self.spacing.banks, BankOf::Xor(_));
        let (mut classes, mut last) = (0, (0, 0));
        let behind = pe
            .walk
            .each(self.nonzeros, channel, |zeros, n, row, column| {
                self.skip(into, stored_zeros(self.format, zeros));
                let (row, row_kind) = pe.rows[row as usize];
                let (col, col_kind) = pe.cols[column as usize];
                if pe.images.contains(n) {
                    let class = (1 + row_kind * kinds_of_cols + col_kind) as usize;
                    let image = i64::from(n - pe.first_image);
                    let address = self.accumulators.position(image, row, col);
                    let address = self.spacing.banks.part(address);
                    classes |= class_bit(class);
                    last = (class, address);
                    into.places.push(self.spacing.place(class, address));
                    if keeps_addresses {
                        into.addresses.push(address);
                    }
                    into.useful += 1;
                }
                self.fill(into);
            });
        if !self.format.compressed {
            self.skip(into, behind);
        }
        if into.filled > 0 {
            self.flush(into);
        }
        (classes, last)
    }

    /// Lanes of zeros.
    #[inline]
    fn skip(&self, into: &mut ChannelVectors, lanes: u32) {
        for _ in 0..lanes {
            self.fill(into);
        }
    }

    #[inline]
    fn fill(&self, into: &mut ChannelVectors) {
        into.filled += 1;
        if into.filled == self.width {
            self.flush(into);
        }
    }

    fn flush(&self, into: &mut ChannelVectors) {
        into.occupied.push(into.useful);
        let lanes = into.occupied.len() * self.width;
        into.places.resize(lanes, 0);
        if matches!(self.spacing.banks, BankOf::Xor(_)) {
            into.addresses.resize(lanes, 0);
        }
        (into.filled, into.useful) = (0, 0);
    }
}
