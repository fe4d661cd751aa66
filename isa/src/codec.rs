//! The run-length code of compressed-sparse blocks: a count, run lengths, values.
//!
//! A block is a vector of values and a vector of equally many zero runs of `index_bits` bits: how many zeros stand
//! before the value. A gap longer than the largest run takes a **placeholder**, an element of value zero that stands for the run before it and for itself: at 4 bits, 15 zeros and its own make 16 positions. Zeros after the
//! last element are not stored. (SCNN section 3.2; the same code as EIE's, whose published example is a test here.)
//!
//! As bytes, the form in which a block crosses the weight bus and lies in DRAM, it is
//!
//! ```text
//! count        LEB128, one byte below 128 elements
//! runs         count x index_bits, little-endian bit order, padded to a byte
//! values       count x data_bits, likewise
//! ```
//!
//! An uncompressed block (the `SparseA` and `SparseW` machines) has one element per position and is coded the same way.

use thiserror::Error;

/// One stored element: `run` zeros, then `value`. A zero value is a placeholder (or a dense zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Zeros before the value.
    pub run: u8,
    /// The value.
    pub value: i16,
}

/// Widths of an element and whether zeros are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// Bits of a value, 2..=16.
    pub data_bits: u8,
    /// Bits of a run, 1..=8.
    pub index_bits: u8,
    /// Whether zeros are skipped; otherwise every position is an element.
    pub compressed: bool,
}

/// Why bytes are not an encoded block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes end inside a block.
    #[error("the block ends after {available} of {needed} bytes")]
    Truncated {
        /// Bytes the block needs.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// The elements reach past the block's last position.
    #[error("the elements reach position {position} of a block of {positions}")]
    PastEnd {
        /// Position of the offending element.
        position: u64,
        /// Positions of the block.
        positions: u64,
    },
    /// The element count is not a sensible number.
    #[error("a block of {positions} positions cannot have {count} elements")]
    Count {
        /// Elements announced.
        count: u64,
        /// Positions of the block.
        positions: u64,
    },
}

impl Format {
    /// Longest run that fits the index.
    pub const fn max_run(self) -> u32 {
        (1 << self.index_bits) - 1
    }

    /// Bits of an element: 20 on SCNN.
    pub const fn element_bits(self) -> u32 {
        self.data_bits as u32 + self.index_bits as u32
    }

    /// Bytes of a block of `elements` elements, count included.
    pub const fn block_bytes(self, elements: u64) -> u64 {
        // LEB128: seven bits to a byte.
        let count = (u64::BITS - (elements | 1).leading_zeros()).div_ceil(7) as u64;
        count
            + (elements * self.index_bits as u64).div_ceil(8)
            + (elements * self.data_bits as u64).div_ceil(8)
    }

    /// Elements of the block whose values are `values`, in order.
    pub fn compress(self, values: impl IntoIterator<Item = i16>) -> Vec<Element> {
        let mut elements = Vec::new();
        self.compress_into(values, &mut elements);
        elements
    }

    /// Appends the elements of a block to `elements`; returns how many there are.
    pub fn compress_into(
        self,
        values: impl IntoIterator<Item = i16>,
        elements: &mut Vec<Element>,
    ) -> usize {
        let start = elements.len();
        if self.compressed {
            let nonzeros = (0..).zip(values).filter(|(_, value)| *value != 0);
            self.compress_nonzeros(nonzeros, elements);
        } else {
            elements.extend(values.into_iter().map(|value| Element { run: 0, value }));
        }
        elements.len() - start
    }

    /// Appends the elements of a block given by its non-zeros alone, as (position, value) ascending; for a format that
    /// stores no zeros.
    pub fn compress_nonzeros(
        self,
        nonzeros: impl IntoIterator<Item = (u32, i16)>,
        elements: &mut Vec<Element>,
    ) {
        let max_run = self.max_run();
        let mut next = 0;
        for (position, value) in nonzeros {
            let mut run = position - next;
            while run > max_run {
                elements.push(Element {
                    run: max_run as u8,
                    value: 0,
                });
                run -= max_run + 1;
            }
            elements.push(Element {
                run: run as u8,
                value,
            });
            next = position + 1;
        }
    }

    /// Appends the bytes of a block.
    pub fn encode(self, elements: &[Element], bytes: &mut Vec<u8>) {
        let mut count = elements.len() as u64;
        while count >= 0x80 {
            bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
        pack(
            bytes,
            elements.iter().map(|e| u32::from(e.run)),
            u32::from(self.index_bits),
        );
        let mask = ((1u32 << self.data_bits) - 1) & 0xffff;
        pack(
            bytes,
            elements.iter().map(|e| u32::from(e.value as u16) & mask),
            u32::from(self.data_bits),
        );
    }

    /// Reads the block of `positions` positions at `bytes[*offset..]`, appends its elements and moves the offset.
    ///
    /// # Errors
    /// The bytes end early, or the elements do not fit the block.
    pub fn decode(
        self,
        bytes: &[u8],
        offset: &mut usize,
        positions: u64,
        elements: &mut Vec<Element>,
    ) -> Result<usize, CodecError> {
        let (count, mut at) = read_count(bytes, *offset)?;
        if count > positions {
            return Err(CodecError::Count { count, positions });
        }
        let count = count as usize;
        let (index_bits, data_bits) = (u32::from(self.index_bits), u32::from(self.data_bits));
        let runs_at = at;
        at += (count * index_bits as usize).div_ceil(8);
        let values_at = at;
        at += (count * data_bits as usize).div_ceil(8);
        if at > bytes.len() {
            return Err(CodecError::Truncated {
                needed: at,
                available: bytes.len(),
            });
        }
        let mut position = 0u64;
        for i in 0..count {
            let run = unpack(&bytes[runs_at..values_at], i, index_bits);
            let raw = unpack(&bytes[values_at..at], i, data_bits);
            let value = ((raw << (32 - data_bits)) as i32 >> (32 - data_bits)) as i16;
            position += u64::from(run);
            if position >= positions {
                return Err(CodecError::PastEnd {
                    position,
                    positions,
                });
            }
            position += 1;
            elements.push(Element {
                run: run as u8,
                value,
            });
        }
        *offset = at;
        Ok(count)
    }
}

/// Position and value of every element, in order; placeholders included.
pub fn positions(elements: &[Element]) -> impl Iterator<Item = (u64, i16)> + '_ {
    let mut next = 0;
    elements.iter().map(move |element| {
        let position = next + u64::from(element.run);
        next = position + 1;
        (position, element.value)
    })
}

fn read_count(bytes: &[u8], offset: usize) -> Result<(u64, usize), CodecError> {
    let mut count = 0u64;
    for i in 0..5 {
        let Some(&byte) = bytes.get(offset + i) else {
            return Err(CodecError::Truncated {
                needed: offset + i + 1,
                available: bytes.len(),
            });
        };
        count |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((count, offset + i + 1));
        }
    }
    Err(CodecError::Count {
        count,
        positions: 0,
    })
}

fn pack(bytes: &mut Vec<u8>, values: impl Iterator<Item = u32>, bits: u32) {
    let (mut pending, mut filled) = (0u64, 0);
    for value in values {
        pending |= u64::from(value) << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(pending as u8);
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(pending as u8);
    }
}

fn unpack(bytes: &[u8], index: usize, bits: u32) -> u32 {
    let first = index * bits as usize;
    let mut window = 0u32;
    for (i, byte) in bytes.iter().skip(first / 8).take(3).enumerate() {
        window |= u32::from(*byte) << (8 * i);
    }
    (window >> (first % 8)) & ((1u32 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCNN: Format = Format {
        data_bits: 16,
        index_bits: 4,
        compressed: true,
    };

    #[test]
    fn the_published_example_of_eie() {
        let values = [0, 0, 1, 2].into_iter().chain([0; 18]).chain([3]);
        let elements = SCNN.compress(values);
        assert_eq!(
            elements.iter().map(|e| e.value).collect::<Vec<_>>(),
            [1, 2, 0, 3]
        );
        assert_eq!(
            elements.iter().map(|e| e.run).collect::<Vec<_>>(),
            [2, 0, 15, 2]
        );
    }

    #[test]
    fn a_vector_of_four_takes_ten_bytes_behind_its_count() {
        assert_eq!(SCNN.element_bits(), 20);
        assert_eq!(SCNN.block_bytes(4), 1 + 10);
        assert_eq!(SCNN.block_bytes(0), 1);
        // The count takes a byte for every seven bits.
        for (elements, of_count) in [
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (1 << 21, 4),
            (1 << 28, 5),
        ] {
            let of_elements = (elements * 4u64).div_ceil(8) + elements * 2;
            assert_eq!(SCNN.block_bytes(elements), of_count + of_elements);
        }
    }

    #[test]
    fn a_gap_takes_a_placeholder_for_every_sixteen_zeros_before_its_value() {
        for zeros in 0..100u64 {
            let values = std::iter::repeat_n(0, zeros as usize).chain([7]);
            let elements = SCNN.compress(values);
            let placeholders = elements.iter().filter(|e| e.value == 0).count() as u64;
            assert_eq!(
                placeholders,
                zeros / 16,
                "placeholders before {zeros} zeros"
            );
            let (position, value) = positions(&elements).last().unwrap();
            assert_eq!((position, value), (zeros, 7), "a value after {zeros} zeros");
        }
        // Appended to others, the elements of this block alone are counted.
        let mut elements = SCNN.compress([1, 2, 3]);
        assert_eq!(SCNN.compress_into([0, 4], &mut elements), 1);
        assert_eq!(elements.len(), 4);
        assert!(
            SCNN.compress([0; 40]).is_empty(),
            "zeros at the end are not stored"
        );
    }

    #[test]
    fn a_damaged_block_is_refused_with_the_place() {
        let decode =
            |bytes: &[u8], positions| SCNN.decode(bytes, &mut 0, positions, &mut Vec::new());
        let mut bytes = Vec::new();
        SCNN.encode(&SCNN.compress([0, 5, 0, 0, 6]), &mut bytes);
        assert_eq!(decode(&bytes, 5), Ok(2));
        assert_eq!(
            decode(&bytes, 4),
            Err(CodecError::PastEnd {
                position: 4,
                positions: 4
            })
        );
        assert_eq!(
            decode(&bytes, 1),
            Err(CodecError::Count {
                count: 2,
                positions: 1
            })
        );
        for available in 1..bytes.len() {
            assert_eq!(
                decode(&bytes[..available], 5),
                Err(CodecError::Truncated {
                    needed: bytes.len(),
                    available
                })
            );
        }
        assert_eq!(
            decode(&[], 5),
            Err(CodecError::Truncated {
                needed: 1,
                available: 0
            })
        );
        // Behind another block, counted from the beginning of the bytes.
        assert_eq!(
            SCNN.decode(&[0, 0, 0x80], &mut 2, 5, &mut Vec::new()),
            Err(CodecError::Truncated {
                needed: 4,
                available: 3
            })
        );
        assert_eq!(
            decode(&[0x80; 6], 5),
            Err(CodecError::Count {
                count: 0,
                positions: 0
            })
        );
    }

    prop_compose! {
        fn formats()(data_bits in 2u8..=16, index_bits in 1u8..=8, compressed: bool) -> Format {
            Format { data_bits, index_bits, compressed }
        }
    }

    fn values() -> impl Strategy<Value = Vec<i16>> {
        (0.0f64..1.0).prop_flat_map(|density| {
            prop::collection::vec(
                prop::bool::weighted(density)
                    .prop_flat_map(|nonzero| if nonzero { -2i16..=1 } else { 0..=0 }),
                0..400,
            )
        })
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(format in formats(), values in values()) {
            let elements = format.compress(values.iter().copied());
            let mut bytes = Vec::new();
            format.encode(&elements, &mut bytes);
            prop_assert_eq!(bytes.len() as u64, format.block_bytes(elements.len() as u64));
            let (mut offset, mut decoded) = (0, Vec::new());
            format.decode(&bytes, &mut offset, values.len() as u64, &mut decoded).unwrap();
            prop_assert_eq!(offset, bytes.len());
            prop_assert_eq!(&decoded, &elements);
            let mut dense = vec![0; values.len()];
            for (position, value) in positions(&decoded) {
                dense[position as usize] = value;
            }
            let wrong = dense.iter().zip(&values).position(|(ours, wanted)| ours != wanted);
            prop_assert_eq!(&dense, &values, "from position {:?} on", wrong);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), positions in 0u64..200, format in formats()) {
            let _ = format.decode(&bytes, &mut 0, positions, &mut Vec::new());
        }
    }
}
