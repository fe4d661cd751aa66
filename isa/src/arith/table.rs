//! A function of one value as the PPU evaluates it: straight lines between knots.
//!
//! The 16-bit range is cut into segments whose widths are powers of two, so that finding a segment is a comparison with
//! its beginnings and interpolating is a multiplication and a shift. Segments are narrow where the function bends and
//! wide where it is straight; where it is steeper than its input is fine, a segment of width 1 holds one value.
//!
//! ```text
//! value ──▶ offset = clamp(value) + 32768 ──▶ segment i: begin[i] <= offset < begin[i + 1]
//!           round((knot[i] + (knot[i + 1] - knot[i]) * (offset - begin[i]) / 2^width[i]) / 2^8)
//! ```
//!
//! Knots have 24 bits, eight of them behind the point ([`KNOT_FRACTION`]): a long segment between knots that were rounded to
//! units would shift all of its values to one side, which sums over channels do not average out.
//!
//! A layer whose channels differ much in range has several tables ([`Tables`]): the channels of a larger channel shift, whose
//! units are finer, have a table in those units, over the span of their own arguments.

use super::{MAX_CHANNEL_SHIFT, round_shift};
use thiserror::Error;

/// Inputs of a table: all 16-bit integers.
pub const TABLE_INPUTS: u32 = 1 << 16;

/// Largest width of a segment, as a power of two: the whole range.
pub const MAX_WIDTH: u8 = 16;

/// Bits of a knot behind the point: a knot is a value in 256ths of a unit.
pub const KNOT_FRACTION: u32 = 8;

/// Smallest and largest knot, integers of 24 bits.
pub const KNOTS: std::ops::RangeInclusive<i32> = -(1 << 23)..=(1 << 23) - 1;

/// Tables that a PPU holds at a time (ours): the published machine has none.
pub const MAX_TABLES: usize = 8;

/// A function of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Logarithms to base 2 of the segments' widths, from the smallest input on.
    widths: Vec<u8>,
    /// Values at the segments' beginnings, and the one at the end of the last, in units of `2^-KNOT_FRACTION`.
    knots: Vec<i32>,
    /// First offset of each segment.
    begins: Vec<u16>,
}

/// Why segments are no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// Not one knot more than segments.
    #[error("{knots} knots for {segments} segments; one more than segments is needed")]
    Knots {
        /// Knots given.
        knots: usize,
        /// Segments given.
        segments: usize,
    },
    /// A knot has more than 24 bits.
    #[error("knot {knot} is {value}; 24 bits hold {} to {}", KNOTS.start(), KNOTS.end())]
    Knot {
        /// Index of the knot.
        knot: usize,
        /// Its value.
        value: i32,
    },
    /// A segment is wider than the range.
    #[error("segment {segment} has width 2^{width}; at most 2^{MAX_WIDTH} is possible")]
    Width {
        /// Index of the segment.
        segment: usize,
        /// Logarithm of its width.
        width: u8,
    },
    /// The segments do not fill the range.
    #[error("the segments cover {covered} inputs of {TABLE_INPUTS}")]
    Coverage {
        /// Sum of the widths.
        covered: u64,
    },
    /// More tables than the PPU holds.
    #[error("{tables} tables; a PPU holds {MAX_TABLES}")]
    Tables {
        /// Tables given.
        tables: usize,
    },
    /// The tables of a layer are not in the order of the channel shifts from which they serve, from 0 on.
    #[error(
        "tables serve channel shifts from 0 on, in their order, up to {MAX_CHANNEL_SHIFT}; not {shift}"
    )]
    Shift {
        /// The shift that is out of order.
        shift: u8,
    },
}

impl Table {
    /// The table of segments of `2^widths[i]` inputs each, between `knots` in units of `2^-KNOT_FRACTION`.
    ///
    /// # Errors
    /// The widths do not add up to the 16-bit range, the knots are not one more, or one has more than 24 bits.
    pub fn new(widths: Vec<u8>, knots: Vec<i32>) -> Result<Self, TableError> {
        if knots.len() != widths.len() + 1 {
            return Err(TableError::Knots {
                knots: knots.len(),
                segments: widths.len(),
            });
        }
        if let Some(knot) = knots.iter().position(|knot| !KNOTS.contains(knot)) {
            let value = knots[knot];
            return Err(TableError::Knot { knot, value });
        }
        let mut begins = Vec::with_capacity(widths.len());
        let mut covered = 0u64;
        for (segment, &width) in widths.iter().enumerate() {
            if width > MAX_WIDTH {
                return Err(TableError::Width { segment, width });
            }
            // Beyond the range the sum is wrong anyway.
            begins.push(covered as u16);
            covered += 1 << width;
        }
        if covered != u64::from(TABLE_INPUTS) {
            return Err(TableError::Coverage { covered });
        }
        Ok(Self {
            widths,
            knots,
            begins,
        })
    }

    /// Segments.
    pub fn segments(&self) -> usize {
        self.widths.len()
    }

    /// Logarithms to base 2 of the segments' widths.
    pub fn widths(&self) -> &[u8] {
        &self.widths
    }

    /// Values at the ends of the segments, in units of `2^-KNOT_FRACTION`.
    pub fn knots(&self) -> &[i32] {
        &self.knots
    }

    /// The value at `input`, saturated to 16 bits.
    #[inline]
    pub fn at(&self, input: i32) -> i32 {
        let offset = (input.clamp(-32768, 32767) + 32768) as u16;
        // The first segment begins at 0.
        let segment = self.begins.partition_point(|&begin| begin <= offset) - 1;
        let (low, high) = (self.knots[segment], self.knots[segment + 1]);
        let fraction = i64::from(offset - self.begins[segment]);
        let rise = i64::from(high - low) * fraction;
        let width = u32::from(self.widths[segment]);
        let value = round_shift((i64::from(low) << width) + rise, width + KNOT_FRACTION);
        (value as i32).clamp(-32768, 32767)
    }
}

/// The tables of a layer. Each serves the channels whose channel shift is its own or larger, up to that of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables(Vec<(u8, Table)>);

impl Tables {
    /// Tables and the least channel shifts that they serve: 0 first, in ascending order.
    ///
    /// # Errors
    /// Shifts out of order or above [`MAX_CHANNEL_SHIFT`]; no table, or more than [`MAX_TABLES`].
    pub fn new(tables: Vec<(u8, Table)>) -> Result<Self, TableError> {
        if tables.len() > MAX_TABLES {
            let tables = tables.len();
            return Err(TableError::Tables { tables });
        }
        let Some((0, _)) = tables.first() else {
            let shift = tables.first().map_or(0, |(shift, _)| *shift);
            return Err(TableError::Shift { shift });
        };
        for pair in tables.windows(2) {
            let (before, shift) = (pair[0].0, pair[1].0);
            if shift <= before || shift > MAX_CHANNEL_SHIFT {
                return Err(TableError::Shift { shift });
            }
        }
        Ok(Self(tables))
    }

    /// The tables with the least channel shifts that they serve.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Table)> {
        self.0.iter().map(|(shift, table)| (*shift, table))
    }

    /// The table of the channels of a channel shift.
    pub fn of(&self, shift: u8) -> &Table {
        self.at(self.index(shift))
    }

    /// The position of that table.
    pub fn index(&self, shift: u8) -> usize {
        // The first serves from 0 on.
        self.0.partition_point(|(least, _)| *least <= shift) - 1
    }

    /// The table at a position.
    pub fn at(&self, index: usize) -> &Table {
        &self.0[index].1
    }

    /// Segments of the table that has the most.
    pub fn segments(&self) -> usize {
        let segments = self.iter().map(|(_, table)| table.segments());
        segments.max().unwrap_or(0)
    }
}

impl From<Table> for Tables {
    /// One table for all channels.
    fn from(table: Table) -> Self {
        Self(vec![(0, table)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A table of knots in whole units.
    fn of_units(widths: Vec<u8>, knots: &[i16]) -> Table {
        let knots = knots.iter().map(|&knot| i32::from(knot) << KNOT_FRACTION);
        Table::new(widths, knots.collect()).unwrap()
    }

    #[test]
    fn knots_have_a_fraction_and_24_bits() {
        // From 1/4 to 3/4 of a unit: 0 in the first half, 1 from the middle on.
        let table = Table::new(vec![16], vec![64, 192]).unwrap();
        assert_eq!([-32768, -1, 0, 32767].map(|x| table.at(x)), [0, 0, 1, 1]);
        let (knot, value) = (1, 1 << 23);
        let large = Err(TableError::Knot { knot, value });
        assert_eq!(Table::new(vec![16], vec![-value, value]), large);
        // Half a unit beyond the largest value.
        let steep = Table::new(vec![16], vec![-value, value - 1]).unwrap();
        assert_eq!([-32768, 32767].map(|x| steep.at(x)), [-32768, 32767]);
    }

    #[test]
    fn a_table_serves_its_shift_and_those_up_to_the_next() {
        let line = |knot: i32| Table::new(vec![16], vec![0, knot]).unwrap();
        let tables = Tables::new(vec![(0, line(1)), (2, line(2)), (5, line(5))]).unwrap();
        let of = |shift: u8| tables.of(shift).knots()[1];
        assert_eq!([0, 1, 2, 4, 5, 15].map(of), [1, 1, 2, 2, 5, 5]);
        assert_eq!(tables.segments(), 1);
        let refused = |shifts: &[u8]| {
            Tables::new(shifts.iter().map(|&shift| (shift, line(0))).collect()).is_err()
        };
        assert!(refused(&[]));
        assert!(refused(&[1]));
        assert!(refused(&[0, 3, 3]));
        assert!(refused(&[0, MAX_CHANNEL_SHIFT + 1]));
        assert!(refused(&[0, 1, 2, 3, 4, 5, 6, 7, 8]));
    }

    #[test]
    fn a_table_reproduces_its_knots_and_the_line_between() {
        let table = of_units(vec![15, 14, 14], &[-100, 0, 20, 21]);
        assert_eq!(table.at(-32768), -100);
        assert_eq!(table.at(-16384), -50);
        assert_eq!(table.at(0), 0);
        assert_eq!(table.at(8192), 10);
        assert_eq!(table.at(16384), 20);
        assert_eq!(table.at(32767), 21);
        // What a value beyond 16 bits would be.
        assert_eq!(table.at(1 << 20), table.at(32767));
        assert_eq!(table.at(-(1 << 20)), table.at(-32768));
    }

    #[test]
    fn a_segment_of_one_input_holds_one_value() {
        let mut widths = vec![15, 0, 0];
        widths.extend(1..15);
        let mut knots = vec![0, 7, -9];
        knots.extend([0; 15]);
        let table = of_units(widths, &knots);
        assert_eq!((table.at(0), table.at(1), table.at(2)), (7, -9, 0));
    }

    #[test]
    fn segments_fill_the_range_and_have_one_knot_more() {
        let covers = |covered| Err(TableError::Coverage { covered });
        assert_eq!(Table::new(vec![15], vec![0, 0]), covers(32768));
        assert_eq!(Table::new(vec![16, 0], vec![0; 3]), covers(65537));
        assert_eq!(Table::new(Vec::new(), vec![0]), covers(0));
        let (segment, width) = (1, 17);
        let wide = Err(TableError::Width { segment, width });
        assert_eq!(Table::new(vec![0, 17], vec![0; 3]), wide);
        let (knots, segments) = (1, 1);
        let few = Err(TableError::Knots { knots, segments });
        assert_eq!(Table::new(vec![16], vec![0]), few);
        assert!(Table::new(vec![16], vec![0, 0]).is_ok());
    }

    proptest! {
        #[test]
        fn a_value_is_on_the_line_between_its_two_knots(cuts in prop::collection::vec(any::<bool>(), 0..64), input: i16) {
            // Halve the last segment, or close it.
            let (mut widths, mut open) = (Vec::new(), vec![MAX_WIDTH]);
            let mut cuts = cuts.into_iter();
            while let Some(width) = open.pop() {
                if width > 0 && cuts.next().unwrap_or(false) {
                    open.extend([width - 1; 2]);
                } else {
                    widths.push(width);
                }
            }
            let knots: Vec<i32> = (0..=widths.len()).map(|i| i32::from((i as i16).wrapping_mul(12_347)) * 199).collect();
            let table = Table::new(widths.clone(), knots.clone()).unwrap();
            let mut begin = -32768i64;
            for (i, width) in widths.iter().enumerate() {
                let end = begin + (1 << width);
                if (begin..end).contains(&i64::from(input)) {
                    let (low, high) = (f64::from(knots[i]), f64::from(knots[i + 1]));
                    let share = (f64::from(input) - begin as f64) / (end - begin) as f64;
                    let line = ((low + (high - low) * share) / 256.0).round();
                    prop_assert_eq!(f64::from(table.at(input.into())), line);
                }
                begin = end;
            }
        }
    }
}
