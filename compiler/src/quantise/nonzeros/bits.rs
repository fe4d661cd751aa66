//! Strings of bits, 64 to a word, the first in the lowest place.
//!
//! A network's weights are some ten million bits, and every question about their non-zeros goes through
//! them a word at a time: packing costs a load for each weight, all else an operation for 64 of them.

use multiversion::multiversion;

/// Bits of a word.
pub const WORD: usize = 64;

/// A string of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    /// The bits behind the last are zero, and there is a word more than they need, so that 64 can be read at any place.
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// A bit for each of `elements`.
    pub fn pack<T: Copy>(elements: &[T], bit: impl Fn(T) -> bool) -> Self {
        let (whole, rest) = elements.as_chunks::<WORD>();
        let mut words = Vec::with_capacity(whole.len() + 2);
        words.extend(whole.iter().map(|chunk| packed(chunk, &bit)));
        let places = rest.iter().enumerate();
        words.push(places.fold(0, |word, (at, &element)| {
            word | u64::from(bit(element)) << at
        }));
        words.push(0);
        Self {
            words,
            len: elements.len(),
        }
    }

    /// `len` bits by their places.
    pub fn from_fn(len: usize, bit: impl Fn(usize) -> bool) -> Self {
        let word = |word: usize| {
            let first = word * WORD;
            let places = first..len.min(first + WORD);
            places.fold(0, |bits, at| bits | u64::from(bit(at)) << (at - first))
        };
        let words = (0..=len / WORD).map(word).chain([0]);
        Self {
            words: words.collect(),
            len,
        }
    }

    /// The bits without those that are set in `other`, a string of the same length.
    pub fn without(mut self, other: &Self) -> Self {
        let words = self.words.iter_mut().zip(&other.words);
        words.for_each(|(word, other)| *word &= !other);
        self
    }

    /// The `count` bits from `first` on, at most a word of them.
    #[inline]
    pub fn read(&self, first: usize, count: usize) -> u64 {
        let (at, shift) = (first / WORD, first % WORD);
        // Two shifts, as a single one by 64 places would shift by none.
        let above = self.words[at + 1] << 1 << (WORD - 1 - shift);
        (self.words[at] >> shift | above) & lowest(count)
    }

    /// The places of those that are set, ascending.
    pub fn ones(&self) -> impl Iterator<Item = usize> {
        ones(&self.words, 0, self.len)
    }
}

/// A word with its `count` lowest bits set.
#[inline]
pub const fn lowest(count: usize) -> u64 {
    if count >= WORD {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// Sets the bits of `bits`, of which there are `count`, from `first` on, where none is set.
#[inline]
pub fn write(words: &mut [u64], first: usize, bits: u64, count: usize) {
    let (at, shift) = (first / WORD, first % WORD);
    words[at] |= bits << shift;
    if shift + count > WORD {
        words[at + 1] |= bits >> (WORD - shift);
    }
}

/// The places from `begin` to `end` whose bits are set, ascending.
pub fn ones(words: &[u64], begin: usize, end: usize) -> impl Iterator<Item = usize> {
    pieces(words, begin, end).flat_map(|(first, word, _)| {
        let rest = |word: &u64| Some(word & (word - 1)).filter(|&word| word != 0);
        let words = std::iter::successors(Some(word).filter(|&word| word != 0), rest);
        words.map(move |word| first + word.trailing_zeros() as usize)
    })
}

/// The bits from `begin` to `end` by the words in which they lie: the first place, the bits, and how many.
#[inline]
pub fn pieces(
    words: &[u64],
    begin: usize,
    end: usize,
) -> impl Iterator<Item = (usize, u64, usize)> {
    let words_met = begin / WORD..end.div_ceil(WORD).max(begin / WORD);
    words_met.map(move |at| {
        let first = begin.max(at * WORD);
        let count = end.min((at + 1) * WORD).saturating_sub(first);
        (first, words[at] >> (first % WORD) & lowest(count), count)
    })
}

/// Bits that are set.
#[multiversion(targets("x86_64+popcnt"))]
pub fn count_ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// Adds to each of `counts` the bits that are set at its place and each time as many places behind it as there are counts.
#[multiversion(targets("x86_64+popcnt"))]
pub fn count_ones_by_period(words: &[u64], counts: &mut [u64]) {
    let period = counts.len();
    if period > WORD / 2 {
        for place in ones(words, 0, words.len() * WORD) {
            counts[place % period] += 1;
        }
        return;
    }
    // Every period-th bit, and the place of the word's first bit in its period.
    let mask = (0..WORD).step_by(period).fold(0, |mask, at| mask | 1 << at);
    let mut phase = 0;
    for &word in words {
        for (place, count) in counts.iter_mut().enumerate() {
            let first = if place >= phase {
                place - phase
            } else {
                place + period - phase
            };
            *count += u64::from((word >> first & mask).count_ones());
        }
        phase = (phase + WORD) % period;
    }
}

/// Exchanges rows and columns of a square of bits, a word a row (Warren, "Hacker's Delight", section 7-3).
pub fn transpose(square: &mut [u64; WORD]) {
    let (mut width, mut mask) = (WORD / 2, u64::MAX >> (WORD / 2));
    while width > 0 {
        let mut row = 0;
        while row < WORD {
            let swapped = (square[row] >> width ^ square[row + width]) & mask;
            square[row] ^= swapped << width;
            square[row + width] ^= swapped;
            // The next row whose place has no `width` in it.
            row = (row + width + 1) & !width;
        }
        width /= 2;
        mask ^= mask << width;
    }
}

/// A bit for each of 64 elements. Bytes of 0 and 1 first, which is a comparison of vectors; eight of them become eight
/// bits by one multiplication: each byte is shifted to its place in the highest, and no two meet.
#[inline]
fn packed<T: Copy>(elements: &[T; WORD], bit: &impl Fn(T) -> bool) -> u64 {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let bytes: [u8; WORD] = std::array::from_fn(|at| u8::from(bit(elements[at])));
    let (eights, _) = bytes.as_chunks::<8>();
    let eights = eights.iter().enumerate();
    eights.fold(0, |word, (at, &bytes)| {
        word | (u64::from_le_bytes(bytes).wrapping_mul(GATHER) >> 56) << (8 * at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_read_where_they_were_packed(elements in prop::collection::vec(any::<bool>(), 0..400), from: u16, count in 0usize..65) {
            let bits = Bits::pack(&elements, |element| element);
            prop_assert_eq!(&bits, &Bits::from_fn(elements.len(), |at| elements[at]));
            let set: Vec<usize> = (0..elements.len()).filter(|&at| elements[at]).collect();
            prop_assert_eq!(bits.ones().collect::<Vec<_>>(), &set[..]);
            let begin = usize::from(from) % (elements.len() + 1);
            let end = (begin + 3 * count).min(elements.len());
            let within: Vec<usize> = set.into_iter().filter(|at| (begin..end).contains(at)).collect();
            prop_assert_eq!(ones(&bits.words, begin, end).collect::<Vec<_>>(), within);
            let count = count.min(elements.len() - begin);
            let read = bits.read(begin, count);
            prop_assert_eq!(read & !lowest(count), 0);
            let mut words = vec![0; bits.words.len() + 1];
            write(&mut words, begin + 5, read, count);
            for at in 0..words.len() * WORD {
                let expected = at >= begin + 5 && at < begin + 5 + count && elements[at - 5];
                prop_assert_eq!(words[at / WORD] >> (at % WORD) & 1 == 1, expected);
            }
        }

        #[test]
        fn what_is_without_another_has_none_of_its_bits(pairs in prop::collection::vec(any::<(bool, bool)>(), 0..200)) {
            let of = |bit: fn((bool, bool)) -> bool| Bits::pack(&pairs, bit);
            prop_assert_eq!(of(|(a, _)| a).without(&of(|(_, b)| b)), of(|(a, b)| a && !b));
        }

        #[test]
        fn bits_are_counted_by_their_places(words in prop::collection::vec(any::<u64>(), 0..8), period in 1usize..80) {
            let places = || ones(&words, 0, words.len() * WORD);
            prop_assert_eq!(count_ones(&words), places().count() as u64);
            let mut counts = vec![1; period];
            count_ones_by_period(&words, &mut counts);
            let expected = |place| 1 + places().filter(|at| at % period == place).count() as u64;
            prop_assert_eq!(counts, (0..period).map(expected).collect::<Vec<_>>());
        }

        #[test]
        fn a_transposed_square_has_its_columns_as_rows(rows: [u64; 32], seed: u64) {
            let mut square: [u64; WORD] = std::array::from_fn(|at| rows[at / 2].wrapping_mul(seed | at as u64));
            let before = square;
            transpose(&mut square);
            for (row, bits) in square.iter().enumerate() {
                for (col, other) in before.iter().enumerate() {
                    prop_assert_eq!(bits >> col & 1, other >> row & 1);
                }
            }
        }
    }
}
