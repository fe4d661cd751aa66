//! Coding of the constant sections.
//!
//! | kind | bytes |
//! |---|---|
//! | weights | blocks in streaming order, each as [`crate::codec`] codes it |
//! | requantise | per output channel, little-endian: bias `i32`, multiplier `i16`, shift `u8`, 7 bytes; where halves go to even bias `i32`, multiplier `i32`, shift `u8`, offset `f32`, 13 bytes |
//! | table | per segment the logarithm of its width `u8` and the knot at its beginning (24 bits); the last knot; for each further table of the layer, the channel shift from which it serves `u8` and its segments likewise |
//! | slopes | per channel a factor `i16`, little-endian |
//!
//! Weight blocks stream in the order in which the array uses them:
//!
//! ```text
//! for output-channel group / for input channel of its convolution group / for residue (y major)
//! ```
//!
//! A block's positions are its output channels times the taps that meet the residue, in the layer's
//! [`WeightOrder`]. A block that exceeds the weight FIFO is delivered in parts of a full FIFO each.

use crate::arith::table::{TABLE_INPUTS, TableError};
use crate::arith::{Requantise, Rounding, Table, Tables};
use crate::codec::{CodecError, Element, Format};
use crate::layer::{ArrayStage, WeightOrder};
use crate::layout::Grid;
use crate::plane::Span;
use thiserror::Error;

/// Why a section's bytes do not fit its layer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SectionError {
    /// Not the length that its kind and channel count ask for.
    #[error("{kind} take {expected} bytes here, the section has {found}")]
    Length {
        /// Kind of constants.
        kind: &'static str,
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A shift is out of range.
    #[error("output channel {channel} has shift {shift}; at most {most} is possible")]
    Shift {
        /// The output channel.
        channel: usize,
        /// Its shift.
        shift: u8,
        /// The largest one.
        most: u8,
    },
    /// A multiplier is out of range.
    #[error(
        "output channel {channel} has multiplier {multiplier}; at most 2^24 either way is possible"
    )]
    Multiplier {
        /// The output channel.
        channel: usize,
        /// Its multiplier.
        multiplier: i32,
    },
    /// An offset is no number.
    #[error("output channel {channel} has offset {offset}, which is no finite number")]
    Offset {
        /// The output channel.
        channel: usize,
        /// Its offset.
        offset: String,
    },
    /// Segments and knots are no table.
    #[error("the table is none: {0}")]
    Table(#[from] TableError),
    /// A weight block is malformed.
    #[error(
        "weight block of output-channel group {group}, input channel {channel}, residue {residue}: {source}"
    )]
    Block {
        /// Index of the output-channel group.
        group: usize,
        /// Input channel of the source view.
        channel: u32,
        /// Residue, y major.
        residue: u32,
        /// What is wrong.
        source: CodecError,
    },
    /// More blocks than a program may have.
    #[error("the layer has {blocks} weight blocks; a program may have {MAX_BLOCKS}")]
    TooManyBlocks {
        /// Blocks the descriptor asks for.
        blocks: u64,
    },
    /// Weights of an output channel, or positions of a block, that have no number of [`MAX_POSITIONS`].
    #[error("the layer has {positions} {of}; a program may have {MAX_POSITIONS}")]
    TooManyPositions {
        /// Weights or positions.
        positions: u64,
        /// The channel or block that has them.
        of: &'static str,
    },
}

/// Bound on the weight blocks of a layer, so that a small file cannot ask for unbounded memory.
pub const MAX_BLOCKS: u64 = 1 << 28;

/// Bound on the weights of an output channel and on the positions of a block: the place of each fits 32 bits, also as two
/// numbers with bits of their own.
pub const MAX_POSITIONS: u64 = 1 << 30;

/// The decoded weight blocks of a layer, in streaming order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightBlocks {
    /// Elements of all blocks, back to back.
    pub elements: Vec<Element>,
    /// Where each block begins, with the end of the last one behind.
    pub starts: Vec<u32>,
    /// First block of each output-channel group, with the end behind.
    pub group_starts: Vec<u32>,
    residues: u32,
    channel_begin: Vec<u32>,
}

impl WeightBlocks {
    /// The block of output-channel group `group`, input channel `channel` (of the source view) and `residue`.
    /// The channel must belong to the group's convolution group.
    #[inline]
    pub fn block(&self, group: usize, channel: u32, residue: u32) -> &[Element] {
        let index = self.group_starts[group]
            + (channel - self.channel_begin[group]) * self.residues
            + residue;
        let index = index as usize;
        &self.elements[self.starts[index] as usize..self.starts[index + 1] as usize]
    }

    /// Decodes a weight section.
    ///
    /// `input_channels` and `output_channels` are those of the layer's views; `residues` the source layout's.
    ///
    /// # Errors
    /// The bytes are not exactly the blocks that the descriptor asks for.
    pub fn decode(
        bytes: &[u8],
        format: Format,
        array: &ArrayStage,
        input_channels: u32,
        output_channels: u32,
        residues: Grid,
    ) -> Result<Self, SectionError> {
        let of_channel = u64::from(residues.rows) * u64::from(residues.cols);
        let blocks = bounded(array, input_channels, of_channel)?;
        // Every block takes at least its count byte, so the file's size bounds what is allocated, the residues' taps first.
        if blocks > 0 && of_channel > bytes.len() as u64 {
            return Err(SectionError::Length {
                kind: "weight blocks",
                expected: blocks as usize,
                found: bytes.len(),
            });
        }
        let taps = if blocks == 0 {
            Vec::new()
        } else {
            taps_per_residue(array, residues)
        };
        let mut decoded = Self {
            residues: of_channel as u32,
            ..Self::default()
        };
        // No more than the bytes can hold, and no less, as a large layer's tables should not be copied as they grow.
        let room = bytes.len() * 8 / format.element_bits() as usize;
        decoded.elements.reserve_exact(room);
        decoded
            .starts
            .reserve_exact(bytes.len().min(blocks as usize) + 1);
        decoded.starts.push(0);
        let mut offset = 0;
        for (group, &k) in array.channel_groups.iter().enumerate() {
            let channels = group_channels(array, k, input_channels, output_channels);
            decoded.group_starts.push(decoded.starts.len() as u32 - 1);
            decoded.channel_begin.push(channels.begin);
            for channel in channels.iter() {
                for (residue, &taps) in taps.iter().enumerate() {
                    let positions = u64::from(k.len()) * u64::from(taps);
                    format
                        .decode(bytes, &mut offset, positions, &mut decoded.elements)
                        .map_err(|source| SectionError::Block {
                            group,
                            channel,
                            residue: residue as u32,
                            source,
                        })?;
                    decoded.starts.push(decoded.elements.len() as u32);
                }
            }
        }
        decoded.group_starts.push(decoded.starts.len() as u32 - 1);
        if offset != bytes.len() {
            return Err(SectionError::Length {
                kind: "weight blocks",
                expected: offset,
                found: bytes.len(),
            });
        }
        Ok(decoded)
    }
}

/// Blocks of a layer, `per_channel` of an input channel in each group of output channels.
///
/// # Errors
/// A layer whose blocks, or what they hold, exceed the bounds of a program.
fn bounded(array: &ArrayStage, input_channels: u32, per_channel: u64) -> Result<u64, SectionError> {
    let per_group = u64::from(input_channels / array.groups.max(1)).saturating_mul(per_channel);
    let groups = array.channel_groups.iter().filter(|k| !k.is_empty());
    let blocks = per_group.saturating_mul(groups.count() as u64);
    if blocks > MAX_BLOCKS {
        return Err(SectionError::TooManyBlocks { blocks });
    }
    let widest = array.channel_groups.iter().map(|k| k.len()).max();
    let taps = u64::from(array.y.kernel).saturating_mul(u64::from(array.x.kernel));
    for (counted, of) in [
        (input_channels, "weights of an output channel"),
        (widest.unwrap_or(0), "positions of a weight block"),
    ] {
        let positions = taps.saturating_mul(u64::from(counted));
        if positions > MAX_POSITIONS {
            return Err(SectionError::TooManyPositions { positions, of });
        }
    }
    Ok(blocks)
}

/// Encodes the weights of a layer; `weight(k, c, r, s)` is the weight of output channel `k`, channel `c` of the
/// source view, and tap (`r`, `s`). The inverse of [`WeightBlocks::decode`].
pub fn encode_weights(
    format: Format,
    array: &ArrayStage,
    input_channels: u32,
    output_channels: u32,
    residues: Grid,
    weight: impl Fn(u32, u32, u32, u32) -> i16,
) -> Vec<u8> {
    let taps = residue_taps(array, residues);
    array
        .channel_groups
        .iter()
        .flat_map(|&k| {
            let channels = group_channels(array, k, input_channels, output_channels);
            encode_group(format, array.order, k, channels, &taps, &weight)
        })
        .collect()
}

/// Encodes the blocks of the output channels `k` for the input `channels` ([`group_channels`]) and the taps of each
/// residue ([`residue_taps`]); the groups of a layer, one behind the other, are its section.
pub fn encode_group(
    format: Format,
    order: WeightOrder,
    k: Span,
    channels: Span,
    taps: &[Vec<(u32, u32)>],
    weight: impl Fn(u32, u32, u32, u32) -> i16,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut values, mut elements) = (Vec::new(), Vec::new());
    for channel in channels.iter() {
        for taps in taps {
            values.clear();
            match order {
                WeightOrder::Krs => values.extend(
                    k.iter()
                        .flat_map(|k| taps.iter().map(move |&(r, s)| (k, r, s)))
                        .map(|(k, r, s)| weight(k, channel, r, s)),
                ),
                WeightOrder::Rsk => values.extend(
                    taps.iter()
                        .flat_map(|&(r, s)| k.iter().map(move |k| (k, r, s)))
                        .map(|(k, r, s)| weight(k, channel, r, s)),
                ),
            }
            elements.clear();
            format.compress_into(values.iter().copied(), &mut elements);
            format.encode(&elements, &mut bytes);
        }
    }
    bytes
}

/// The input channels that an output-channel group streams blocks for: none when it is empty.
pub fn group_channels(
    array: &ArrayStage,
    k: Span,
    input_channels: u32,
    output_channels: u32,
) -> Span {
    if k.is_empty() {
        Span::default()
    } else {
        array.input_channels(k, input_channels, output_channels)
    }
}

/// The taps that meet each residue, y major.
pub fn residue_taps(array: &ArrayStage, residues: Grid) -> Vec<Vec<(u32, u32)>> {
    (0..residues.rows)
        .flat_map(|ry| (0..residues.cols).map(move |rx| (ry, rx)))
        .map(|(ry, rx)| array.taps(residues, ry, rx))
        .collect()
}

fn taps_per_residue(array: &ArrayStage, residues: Grid) -> Vec<u32> {
    residue_taps(array, residues)
        .iter()
        .map(|taps| taps.len() as u32)
        .collect()
}

/// Bytes of a channel's requantisation.
const fn requantise_bytes(rounding: Rounding) -> usize {
    match rounding {
        Rounding::Away => 7,
        Rounding::Even => 13,
    }
}

/// Encodes the requantisation of every output channel; where halves go away from zero multipliers have 16 bits and
/// there is no offset.
pub fn encode_requantise(channels: &[Requantise], rounding: Rounding) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(channels.len() * requantise_bytes(rounding));
    for channel in channels {
        bytes.extend(channel.bias.to_le_bytes());
        match rounding {
            Rounding::Away => {
                bytes.extend((channel.multiplier as i16).to_le_bytes());
                bytes.push(channel.shift);
            }
            Rounding::Even => {
                bytes.extend(channel.multiplier.to_le_bytes());
                bytes.push(channel.shift);
                bytes.extend(channel.offset.to_le_bytes());
            }
        }
    }
    bytes
}

/// Decodes the requantisation of `channels` output channels.
///
/// # Errors
/// Wrong length, or a shift or multiplier out of range.
pub fn decode_requantise(
    bytes: &[u8],
    channels: u32,
    rounding: Rounding,
) -> Result<Vec<Requantise>, SectionError> {
    let size = requantise_bytes(rounding);
    check_length("requantisation entries", bytes, channels as usize * size)?;
    bytes
        .chunks_exact(size)
        .enumerate()
        .map(|(channel, entry)| {
            let entry = match *entry {
                [b0, b1, b2, b3, m0, m1, shift] => Requantise {
                    bias: i32::from_le_bytes([b0, b1, b2, b3]),
                    multiplier: i16::from_le_bytes([m0, m1]).into(),
                    shift,
                    offset: 0.0,
                },
                [b0, b1, b2, b3, m0, m1, m2, m3, shift, o0, o1, o2, o3] => Requantise {
                    bias: i32::from_le_bytes([b0, b1, b2, b3]),
                    multiplier: i32::from_le_bytes([m0, m1, m2, m3]),
                    shift,
                    offset: f32::from_le_bytes([o0, o1, o2, o3]),
                },
                _ => Requantise::IDENTITY,
            };
            let Requantise {
                multiplier,
                shift,
                offset,
                ..
            } = entry;
            let most = rounding.largest_shift();
            if shift > most {
                return Err(SectionError::Shift {
                    channel,
                    shift,
                    most,
                });
            }
            if !offset.is_finite() {
                let offset = offset.to_string();
                return Err(SectionError::Offset { channel, offset });
            }
            if multiplier.unsigned_abs() > rounding.largest_multiplier().unsigned_abs() {
                return Err(SectionError::Multiplier {
                    channel,
                    multiplier,
                });
            }
            Ok(entry)
        })
        .collect()
}

/// Encodes the slopes of a leaky `ReLU`.
pub fn encode_slopes(slopes: &[i16]) -> Vec<u8> {
    slopes
        .iter()
        .flat_map(|slope| slope.to_le_bytes())
        .collect()
}

/// Bytes of a segment: its width and its first knot.
const SEGMENT_BYTES: usize = 1 + KNOT_BYTES;
const KNOT_BYTES: usize = 3;

/// Encodes the tables of a layer: the segments of the first, its last knot; then of each further one the channel shift from
/// which it serves, its segments, its last knot.
pub fn encode_tables(tables: &Tables) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (shift, table) in tables.iter() {
        if !bytes.is_empty() {
            bytes.push(shift);
        }
        for (&width, knot) in table.widths().iter().zip(table.knots()) {
            bytes.push(width);
            bytes.extend(&knot.to_le_bytes()[..KNOT_BYTES]);
        }
        let last = table.knots().last().unwrap_or(&0).to_le_bytes();
        bytes.extend(&last[..KNOT_BYTES]);
    }
    bytes
}

/// Decodes the tables of a layer.
///
/// # Errors
/// Wrong length, segments that do not fill the 16-bit range, tables out of order.
pub fn decode_tables(mut bytes: &[u8]) -> Result<Tables, SectionError> {
    let mut tables = vec![(0, decode_table(&mut bytes)?)];
    while let Some((&shift, rest)) = bytes.split_first() {
        bytes = rest;
        tables.push((shift, decode_table(&mut bytes)?));
    }
    Ok(Tables::new(tables)?)
}

/// Decodes the table at the beginning of `bytes`, and leaves what follows it.
fn decode_table(bytes: &mut &[u8]) -> Result<Table, SectionError> {
    let (mut widths, mut knots) = (Vec::new(), Vec::new());
    let mut covered = 0u64;
    while covered < u64::from(TABLE_INPUTS)
        && let Some((&[width, low, middle, high], rest)) = bytes.split_first_chunk()
    {
        *bytes = rest;
        widths.push(width);
        knots.push(knot([low, middle, high]));
        covered += 1u64.checked_shl(width.into()).unwrap_or(u64::MAX >> 1);
    }
    let Some((&last, rest)) = bytes.split_first_chunk() else {
        return Err(SectionError::Length {
            kind: "a table's segments and last knot",
            expected: widths.len() * SEGMENT_BYTES + KNOT_BYTES,
            found: widths.len() * SEGMENT_BYTES + bytes.len(),
        });
    };
    *bytes = rest;
    knots.push(knot(last));
    Ok(Table::new(widths, knots)?)
}

/// A knot of 24 bits, the lowest first.
fn knot([low, middle, high]: [u8; KNOT_BYTES]) -> i32 {
    i32::from_le_bytes([0, low, middle, high]) >> 8
}

/// Decodes the slopes of `channels` channels.
///
/// # Errors
/// Wrong length.
pub fn decode_slopes(bytes: &[u8], channels: u32) -> Result<Vec<i16>, SectionError> {
    check_length("slopes", bytes, channels as usize * 2)?;
    let (slopes, _) = bytes.as_chunks::<2>();
    Ok(slopes.iter().map(|&s| i16::from_le_bytes(s)).collect())
}

fn check_length(kind: &'static str, bytes: &[u8], expected: usize) -> Result<(), SectionError> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(SectionError::Length {
        kind,
        expected,
        found: bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SectionId;
    use crate::plane::Axis;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_survive_the_section(
            groups in 1u32..3, per_in in 1u32..4, per_out in 1u32..6, kernel in 1u32..4, stride in 1u32..3,
            kc in 1u32..4, krs: bool, phases: bool, seed: u64,
        ) {
            let axis = Axis { kernel, stride, pad: [1, 1], output: 4, ..Axis::identity(8) };
            let channel_groups = (0..groups)
                .flat_map(|g| (0..per_out).step_by(kc as usize).map(move |k| {
                    Span::new(g * per_out + k, g * per_out + (k + kc).min(per_out))
                }))
                .collect();
            let order = if krs { WeightOrder::Krs } else { WeightOrder::Rsk };
            let array = ArrayStage {
                groups, y: axis, x: axis, pe_groups: Grid::ONE, channel_groups, order,
                weights: SectionId(0), product_shift: 0,
            };
            let residues = if phases { Grid::new(stride, stride) } else { Grid::ONE };
            let weight = |k: u32, c: u32, r: u32, s: u32| {
                let hash = (u64::from(k * 1009 + c * 101 + r * 11 + s) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                if hash >> 62 == 0 { (hash >> 20) as i16 } else { 0 }
            };
            let format = Format { data_bits: 16, index_bits: 4, compressed: true };
            let (inputs, outputs) = (groups * per_in, groups * per_out);
            let bytes = encode_weights(format, &array, inputs, outputs, residues, weight);
            let blocks = WeightBlocks::decode(&bytes, format, &array, inputs, outputs, residues).unwrap();
            let lengths = blocks.starts.windows(2).map(|block| u64::from(block[1] - block[0]));
            let coded = lengths.map(|length| format.block_bytes(length)).sum::<u64>();
            prop_assert_eq!(coded, bytes.len() as u64);
            let taps = residue_taps(&array, residues);
            for (group, &k) in array.channel_groups.iter().enumerate() {
                for c in array.input_channels(k, inputs, outputs).iter() {
                    for (residue, taps) in taps.iter().enumerate() {
                        let count = taps.len() as u32;
                        let mut dense = vec![0; (k.len() * count) as usize];
                        for (position, value) in crate::codec::positions(blocks.block(group, c, residue as u32)) {
                            dense[position as usize] = value;
                        }
                        for (index, &value) in dense.iter().enumerate() {
                            let (ko, tap) = order.split(index as u32, k.len(), count);
                            let (r, s) = taps[tap as usize];
                            prop_assert_eq!(
                                value, weight(k.begin + ko, c, r, s),
                                "group {}, output channel {}, input channel {}, tap ({}, {})",
                                group, k.begin + ko, c, r, s
                            );
                        }
                    }
                }
            }
        }
    }

    /// A stage of `outputs` channels in one group.
    fn stage(axis: Axis, outputs: u32) -> ArrayStage {
        ArrayStage {
            groups: 1,
            y: axis,
            x: axis,
            pe_groups: Grid::ONE,
            channel_groups: vec![Span::new(0, outputs)],
            order: WeightOrder::Krs,
            weights: SectionId(0),
            product_shift: 0,
        }
    }

    const FORMAT: Format = Format {
        data_bits: 16,
        index_bits: 4,
        compressed: true,
    };

    #[test]
    fn places_that_have_no_number_are_refused() {
        let axis = Axis {
            kernel: 1 << 15,
            ..Axis::identity(8)
        };
        let decode = |inputs: u32, outputs: u32| {
            let array = stage(axis, outputs);
            // A block of nothing for every input channel.
            let bytes = vec![0; inputs as usize];
            WeightBlocks::decode(&bytes, FORMAT, &array, inputs, outputs, Grid::ONE)
        };
        assert!(decode(1, 1).is_ok());
        let refused = |found: Result<WeightBlocks, SectionError>| {
            matches!(
                found,
                Err(SectionError::TooManyPositions { positions, .. }) if positions == 2 << 30
            )
        };
        assert!(refused(decode(2, 1)) && refused(decode(1, 2)));
    }

    /// A text of 6 kB asked for 53 million residues, and their taps took two gigabytes before the section was looked at.
    #[test]
    fn more_residues_than_bytes_are_refused_before_anything_is_made_of_them() {
        let axis = Axis {
            kernel: 3,
            ..Axis::identity(8)
        };
        let mut array = stage(axis, 2);
        let decode = |array: &ArrayStage, residues| {
            WeightBlocks::decode(&[0; 8], FORMAT, array, 4, 2, residues)
                .map(|blocks| blocks.elements.len())
        };
        let few = SectionError::Length {
            kind: "weight blocks",
            expected: 36,
            found: 8,
        };
        assert_eq!(decode(&array, Grid::new(3, 3)), Err(few));
        for residues in [Grid::new(2, 26_666_666), Grid::new(u32::MAX, u32::MAX)] {
            assert!(decode(&array, residues).is_err());
        }
        array.channel_groups = vec![Span::default()];
        let behind = SectionError::Length {
            kind: "weight blocks",
            expected: 0,
            found: 8,
        };
        assert_eq!(decode(&array, Grid::new(2, 26_666_666)), Err(behind));
    }

    #[test]
    fn tables_survive_the_section() {
        let bent = Table::new(vec![15, 14, 14], vec![-(1 << 23), 0, 20, (1 << 23) - 1]).unwrap();
        let line = Table::new(vec![16], vec![-7, 7]).unwrap();
        let one = Tables::from(bent.clone());
        let bytes = encode_tables(&one);
        assert_eq!(bytes.len(), 3 * 4 + 3);
        assert_eq!(decode_tables(&bytes), Ok(one));
        assert!(decode_tables(&bytes[1..]).is_err());
        assert!(matches!(
            decode_tables(&bytes[..bytes.len() - 1]),
            Err(SectionError::Length { .. })
        ));
        let three = vec![(0, bent.clone()), (2, line.clone()), (4, bent)];
        let three = Tables::new(three).unwrap();
        let mut bytes = encode_tables(&three);
        assert_eq!(decode_tables(&bytes), Ok(three));
        // The second serves from shift 4 on, as the third does.
        bytes[3 * 4 + 3] = 4;
        assert!(matches!(
            decode_tables(&bytes),
            Err(SectionError::Table(TableError::Shift { shift: 4 }))
        ));
    }

    #[test]
    fn requantisation_survives_the_section() {
        let mut channels = [
            Requantise {
                bias: -7,
                multiplier: -32767,
                shift: 60,
                offset: 0.0,
            },
            Requantise::IDENTITY,
        ];
        for rounding in [Rounding::Away, Rounding::Even] {
            let bytes = encode_requantise(&channels, rounding);
            assert_eq!(decode_requantise(&bytes, 2, rounding).unwrap(), channels);
            assert!(decode_requantise(&bytes, 3, rounding).is_err());
            (channels[0].multiplier, channels[0].offset) = (-1 << 24, -0.3);
        }
        channels[0].multiplier -= 1;
        let bytes = encode_requantise(&channels, Rounding::Even);
        assert!(decode_requantise(&bytes, 2, Rounding::Even).is_err());
    }
}
