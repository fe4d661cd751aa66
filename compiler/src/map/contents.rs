//! Contents of the tiles of a layout on the calibration sample: elements, vectors and bytes, by PE and by channel.

mod excess;

use super::occupancy::TileCount;
pub use excess::{Excess, TileByTile};
use scnn_isa::codec::Format;
use scnn_isa::plane::Span;

/// PEs that are looked at together; every column is padded to a multiple.
pub const LANES: usize = 4;

/// Contents of all tiles of a layout.
#[derive(Debug, Default)]
pub struct Contents {
    /// By tile.
    pub tiles: Vec<TileContents>,
    /// Elements over all tiles.
    pub whole: PerPe,
    /// Encoded bytes of all tiles by channel, summed up to it.
    bytes: Vec<u64>,
    /// Encoded bytes of a channel that nothing was written to: its empty blocks.
    pub empty_channel: u64,
    /// Excess over regions, as far as it was computed.
    known: excess::ExcessCache,
}

/// Elements that every PE holds.
#[derive(Clone, Debug, Default)]
pub struct PerPe {
    /// By PE.
    pub elements: Vec<u64>,
    /// Of the fullest.
    pub most: u64,
}

/// Contents of a tile.
#[derive(Clone, Debug, Default)]
pub struct TileContents {
    /// Elements.
    pub held: PerPe,
    /// Vectors of the fullest PE, and of all.
    pub fullest: u64,
    /// See `fullest`.
    pub vectors: u64,
    /// Encoded bytes.
    pub bytes: u64,
    /// Channels.
    pub channels: u32,
    /// The same as the array meets it.
    pub columns: Columns,
}

/// The activation vectors of one tile by column, that is (channel, residue), and PE.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// PEs of a column: up to the last that holds anything of the tile, padded to [`LANES`].
    stride: usize,
    /// Vectors by (column, PE). Counts, as floats: that is what they are multiplied by.
    vectors: Vec<f32>,
    /// Elements likewise.
    held: Vec<f32>,
    /// Vectors of each column over all PEs.
    sums: Vec<u32>,
    /// Elements of each column over all PEs.
    elements: Vec<u32>,
}

impl Contents {
    /// Sums up counted tiles, coded in `format`, whose activation vectors have `width` elements.
    pub fn of(counts: &[TileCount], format: Format, width: u32) -> Self {
        let channels = counts.iter().map(TileCount::channels).max().unwrap_or(0);
        let mut of_channel = vec![0; channels as usize];
        let tiles: Vec<TileContents> = counts
            .iter()
            .map(|count| TileContents::of(count, format, width, &mut of_channel))
            .collect();
        let mut bytes = vec![0];
        for here in of_channel {
            bytes.push(bytes.last().copied().unwrap_or(0) + here);
        }
        let blocks = counts.iter().map(|count| {
            let without: u32 = count.without_blocks.iter().sum();
            u64::from(count.pes * count.residues - without)
        });
        let empty_channel = blocks.sum::<u64>() * format.block_bytes(0);
        Self {
            whole: PerPe::sum(tiles.iter().map(|tile| &tile.held)),
            tiles,
            bytes,
            empty_channel,
            known: excess::ExcessCache::default(),
        }
    }

    /// Encoded bytes of some channels.
    pub fn bytes_of(&self, channels: Span) -> u64 {
        self.bytes[channels.end as usize] - self.bytes[channels.begin as usize]
    }

    /// Elements of the fullest PE over some tiles.
    pub fn most(&self, tiles: Span) -> u64 {
        match (tiles.begin, tiles.len() as usize) {
            (first, 1) => self.tiles[first as usize].held.most,
            (0, all) if all == self.tiles.len() => self.whole.most,
            _ => PerPe::sum(tiles.iter().map(|tile| &self.tiles[tile as usize].held)).most,
        }
    }
}

impl PerPe {
    fn of(elements: Vec<u64>) -> Self {
        Self {
            most: elements.iter().copied().max().unwrap_or(0),
            elements,
        }
    }

    fn sum<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut sums: Vec<u64> = Vec::new();
        for part in parts {
            sums.resize(sums.len().max(part.elements.len()), 0);
            for (sum, elements) in sums.iter_mut().zip(&part.elements) {
                *sum += elements;
            }
        }
        Self::of(sums)
    }

    /// Elements of all PEs.
    pub fn all(&self) -> u64 {
        self.elements.iter().sum()
    }

    /// Elements beyond `room` elements of each PE, over all PEs.
    pub fn excess(&self, room: u64) -> u64 {
        if self.most <= room {
            return 0;
        }
        let elements = self.elements.iter();
        elements.map(|elements| elements.saturating_sub(room)).sum()
    }
}

impl TileContents {
    /// Adds the tile's bytes to those of every channel.
    fn of(count: &TileCount, format: Format, width: u32, of_channel: &mut [u64]) -> Self {
        let columns = Columns::of(count, width);
        let mut tile = Self {
            channels: count.channels(),
            ..Self::default()
        };
        let mut elements_of_pe = vec![0; count.pes as usize];
        // Blocks of few elements are by far the most: what they take is looked up.
        let few: Vec<u64> = (0..FEW)
            .map(|elements| format.block_bytes(elements))
            .collect();
        let mut vectors = vec![0.0; columns.stride];
        for index in 0..count.columns() {
            let residue = index % count.residues.max(1) as usize;
            let mut bytes = 0;
            for (held, &elements) in elements_of_pe.iter_mut().zip(count.column(index)) {
                let elements = u64::from(elements);
                bytes += match few.get(elements as usize) {
                    Some(&bytes) => bytes,
                    None => format.block_bytes(elements),
                };
                *held += elements;
            }
            bytes -= u64::from(count.without_blocks[residue]) * format.block_bytes(0);
            let of_column = columns.column(index).as_flattened();
            for (sum, vectors) in vectors.iter_mut().zip(of_column) {
                *sum += f64::from(*vectors);
            }
            of_channel[index / count.residues.max(1) as usize] += bytes;
            tile.bytes += bytes;
        }
        tile.held = PerPe::of(elements_of_pe);
        tile.fullest = vectors.iter().copied().fold(0.0, f64::max) as u64;
        tile.vectors = columns.sums.iter().map(|&sum| u64::from(sum)).sum();
        tile.columns = columns;
        tile
    }
}

/// Elements of a block up to which its bytes are looked up.
const FEW: u64 = 64;

impl Columns {
    /// From the counted elements, in vectors of `width`.
    fn of(count: &TileCount, width: u32) -> Self {
        let pes = count.pes as usize;
        let mut used = 0;
        for index in 0..count.columns() {
            let behind = &count.column(index)[used..];
            let last = behind.iter().rposition(|&held| held > 0);
            used += last.map_or(0, |last| last + 1);
            if used == pes {
                break;
            }
        }
        let stride = used.next_multiple_of(LANES);
        let mut columns = Self {
            stride,
            vectors: vec![0.0; stride * count.columns()],
            held: vec![0.0; stride * count.columns()],
            sums: Vec::with_capacity(count.columns()),
            elements: Vec::with_capacity(count.columns()),
        };
        // Divisions would take most of the time here; where vectors are a power of two wide, as on most machines, none is needed.
        let shift = width.is_power_of_two().then(|| width.ilog2());
        for index in 0..count.columns() {
            let held = &count.column(index)[..used];
            let (mut sum, mut elements) = (0, 0);
            for (at, &held) in held.iter().enumerate() {
                let vectors = match shift {
                    Some(shift) => (held + width - 1) >> shift,
                    None => held.div_ceil(width),
                };
                columns.vectors[index * stride + at] = vectors as f32;
                columns.held[index * stride + at] = held as f32;
                sum += vectors;
                elements += held;
            }
            columns.sums.push(sum);
            columns.elements.push(elements);
        }
        columns
    }

    /// Vectors of a column by PE; PEs behind the last one given hold none.
    pub fn column(&self, column: usize) -> &[[f32; LANES]] {
        let of_column = &self.vectors[column * self.stride..(column + 1) * self.stride];
        of_column.as_chunks().0
    }

    /// Elements of a column by PE, likewise.
    pub fn elements_by_pe(&self, column: usize) -> &[[f32; LANES]] {
        let of_column = &self.held[column * self.stride..(column + 1) * self.stride];
        of_column.as_chunks().0
    }

    /// Vectors of each column over all PEs.
    pub fn sums(&self) -> &[u32] {
        &self.sums
    }

    /// Elements of each column over all PEs.
    pub fn elements(&self) -> &[u32] {
        &self.elements
    }
}
