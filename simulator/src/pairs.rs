//! Two numbers in one word of 32 bits, as decoded weights keep their places: a large layer has as many of them as weights.

/// How two numbers share a word: the low one has the bits that its largest value needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairs {
    low_bits: u32,
}

impl Pairs {
    /// Pairs whose low number is less than `lows`.
    pub fn new(lows: u32) -> Self {
        Self {
            low_bits: u32::BITS - lows.saturating_sub(1).leading_zeros(),
        }
    }

    /// The word of a pair. The high number must fit what the low one leaves.
    #[inline]
    pub fn join(self, high: u32, low: u32) -> u32 {
        debug_assert!(
            u64::from(high) << self.low_bits >> u32::BITS == 0,
            "{high} exceeds its bits beside {}",
            self.low_bits
        );
        // Not a plain shift: with no high number but 0, the low one may have all bits.
        high.checked_shl(self.low_bits).unwrap_or(0) | low
    }

    /// The pair of a word.
    #[inline]
    pub fn split(self, word: u32) -> (u32, u32) {
        let high = word.checked_shr(self.low_bits).unwrap_or(0);
        (high, word ^ high.checked_shl(self.low_bits).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_gives_the_pair_that_it_was_made_of(lows in 1u32.., low: u32, high: u32) {
            let pairs = Pairs::new(lows);
            let room = u64::from(u32::MAX) >> pairs.low_bits;
            let (high, low) = ((u64::from(high) & room) as u32, low % lows);
            prop_assert_eq!(pairs.split(pairs.join(high, low)), (high, low));
        }
    }

    #[test]
    fn the_low_number_has_the_bits_that_it_needs() {
        let bits = |lows| Pairs::new(lows).low_bits;
        assert_eq!([1, 2, 3, 9, 10, 16, 17].map(bits), [0, 1, 2, 4, 4, 4, 5]);
        assert_eq!(bits(u32::MAX), 32);
    }
}
