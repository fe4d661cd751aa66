//! Placement: how the values of a tensor lie on images, channels, rows and columns of the machine.
//!
//! A tensor of a model is a list of values in the row-major order of its axes. That order is a sequence of **factors**: whole
//! axes, parts of an axis, or axes that were joined. Each factor lies in one [`Slot`] of the machine's `[N, C, H, W]`, at
//! some **level** of it: factors of a slot are nested, level 0 outermost. A tensor whose factors stand in the order of the
//! slots is stored as it is; any other is permuted where it crosses the border to the host, which copies it anyway.
//!
//! ```
//! use scnn_isa::placement::Placement;
//!
//! // [H, W, C] = [2, 3, 4] of one image, channels last in the model.
//! let placement: Placement = "2y 3x 4c".parse()?;
//! assert_eq!(placement.shape(), Some([1, 4, 2, 3]));
//! let values: Vec<i16> = (0..24).collect();
//! let stored = placement.to_machine(&values);
//! assert_eq!(stored[..4], [0, 4, 8, 12]);
//! assert_eq!(placement.to_value(&stored), values);
//! # Ok::<(), String>(())
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most factors of a placement.
pub const MAX_FACTORS: usize = 32;

/// A dimension of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Images, N.
    Image,
    /// Channels, C.
    Channel,
    /// Rows, H.
    Row,
    /// Columns, W.
    Column,
}

impl Slot {
    /// All, in the order of the machine.
    pub const ALL: [Self; 4] = [Self::Image, Self::Channel, Self::Row, Self::Column];

    /// The letter of a text: as positions are written.
    const fn letter(self) -> char {
        match self {
            Self::Image => 'n',
            Self::Channel => 'c',
            Self::Row => 'y',
            Self::Column => 'x',
        }
    }
}

/// A part of a tensor's row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor {
    /// How many there are.
    pub extent: u32,
    /// Where they lie.
    pub slot: Slot,
    /// Nesting in the slot; 0 is outermost.
    pub level: u32,
}

/// The factors of a tensor in its row-major order: none of extent 1, none that continues the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Placement(Vec<Factor>);

impl Placement {
    /// The placement of these factors in a tensor's row-major order. Levels count in any steps.
    pub fn of(factors: impl IntoIterator<Item = Factor>) -> Self {
        let mut factors: Vec<Factor> = factors
            .into_iter()
            .filter(|factor| factor.extent != 1)
            .collect();
        number(&mut factors);
        let mut joined: Vec<Factor> = Vec::with_capacity(factors.len());
        for factor in factors {
            match joined.last_mut() {
                Some(last) if last.slot == factor.slot && last.level + 1 == factor.level => {
                    // One factor that ends where this one does.
                    last.extent = last.extent.saturating_mul(factor.extent);
                    last.level = factor.level;
                }
                _ => joined.push(factor),
            }
        }
        number(&mut joined);
        Self(joined)
    }

    /// Its factors.
    pub fn factors(&self) -> &[Factor] {
        &self.0
    }

    /// The factors in the order of the machine: their places in [`Placement::factors`].
    fn stored_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|&index| (self.0[index].slot, self.0[index].level));
        order
    }

    /// `[N, C, H, W]` of the stored tensor, where 32 bits hold it.
    pub fn shape(&self) -> Option<[u32; 4]> {
        let mut shape = [1u32; 4];
        for factor in &self.0 {
            let extent = &mut shape[factor.slot as usize];
            *extent = extent.checked_mul(factor.extent)?;
        }
        Some(shape)
    }

    /// Number of values.
    pub fn elements(&self) -> u64 {
        let extents = self.0.iter().map(|factor| u64::from(factor.extent));
        extents.fold(1, u64::saturating_mul)
    }

    /// Whether the stored tensor has the values in the order in which the model has them.
    pub fn is_row_major(&self) -> bool {
        self.stored_order().is_sorted()
    }

    /// The values, given in the model's order, in the order in which the machine stores them.
    pub fn to_machine<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let strides = strides(self.0.iter().map(|factor| factor.extent));
        let order = self.stored_order();
        let axes = order.iter().map(|&i| (self.0[i].extent, strides[i]));
        gathered(values, &axes.collect::<Vec<_>>())
    }

    /// The values, given in the order in which the machine stores them, in the model's.
    pub fn to_value<T: Copy>(&self, stored: &[T]) -> Vec<T> {
        let order = self.stored_order();
        let strides = strides(order.iter().map(|&i| self.0[i].extent));
        let mut axes = vec![(0, 0); order.len()];
        for (&index, stride) in order.iter().zip(strides) {
            axes[index] = (self.0[index].extent, stride);
        }
        gathered(stored, &axes)
    }
}

/// Numbers the levels of every slot from 0.
fn number(factors: &mut [Factor]) {
    for slot in Slot::ALL {
        let mut levels: Vec<u32> = factors
            .iter()
            .filter(|factor| factor.slot == slot)
            .map(|factor| factor.level)
            .collect();
        levels.sort_unstable();
        for factor in factors.iter_mut().filter(|factor| factor.slot == slot) {
            factor.level = levels.partition_point(|&level| level < factor.level) as u32;
        }
    }
}

/// How far apart neighbours along each of nested extents are.
fn strides(extents: impl DoubleEndedIterator<Item = u32>) -> Vec<usize> {
    let mut next = 1;
    let mut strides: Vec<usize> = extents
        .rev()
        .map(|extent| {
            let stride = next;
            next *= extent as usize;
            stride
        })
        .collect();
    strides.reverse();
    strides
}

/// The values of a list under axes of (extent, stride), in row-major order of the axes.
fn gathered<T: Copy>(values: &[T], axes: &[(u32, usize)]) -> Vec<T> {
    let mut result = Vec::with_capacity(values.len());
    let mut offsets = vec![0usize];
    for &(extent, stride) in axes.iter().take(axes.len().saturating_sub(1)) {
        offsets = offsets
            .iter()
            .flat_map(|&offset| (0..extent as usize).map(move |index| offset + index * stride))
            .collect();
    }
    let (extent, stride) = axes.last().copied().unwrap_or((1, 1));
    for offset in offsets {
        result.extend((0..extent as usize).map(|index| values[offset + index * stride]));
    }
    result
}

/// `4y 4x 16c`: extents and slots in the model's order; a level follows where a slot's factors are nested otherwise.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen = [0u32; 4];
        for (index, factor) in self.0.iter().enumerate() {
            let (space, letter) = (if index == 0 { "" } else { " " }, factor.slot.letter());
            write!(f, "{space}{}{letter}", factor.extent)?;
            let usual = &mut seen[factor.slot as usize];
            if factor.level != *usual {
                write!(f, "{}", factor.level)?;
            }
            *usual += 1;
        }
        Ok(())
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut seen = [0u32; 4];
        let mut factors = Vec::new();
        for word in text.split_whitespace() {
            let bad = || {
                format!(
                    "`{word}` is no factor: give an extent and one of n, c, y, x, as in `4y 4x 16c`"
                )
            };
            let at = word.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (extent, rest) = word.split_at(at);
            let slot = Slot::ALL
                .into_iter()
                .find(|slot| rest.starts_with(slot.letter()));
            let slot = slot.ok_or_else(bad)?;
            let usual = &mut seen[slot as usize];
            let level = match &rest[1..] {
                "" => *usual,
                level => level.parse().map_err(|_| bad())?,
            };
            *usual += 1;
            let extent = extent.parse().map_err(|_| bad())?;
            factors.push(Factor {
                extent,
                slot,
                level,
            });
        }
        let placement = Self(factors);
        placement.well_formed()?;
        Ok(placement)
    }
}

impl Placement {
    /// The placement that has exactly these factors.
    ///
    /// # Errors
    /// They are not as [`Placement::of`] makes them.
    pub fn exactly(factors: Vec<Factor>) -> Result<Self, String> {
        let placement = Self(factors);
        placement.well_formed()?;
        Ok(placement)
    }

    fn well_formed(&self) -> Result<(), String> {
        if self.0.len() > MAX_FACTORS {
            return Err(format!("a placement has at most {MAX_FACTORS} factors"));
        }
        if self.0.iter().any(|factor| factor.extent == 0) {
            return Err("a factor is empty".to_owned());
        }
        if Self::of(self.0.iter().copied()) == *self {
            Ok(())
        } else {
            Err(format!(
                "the placement {self} is not in its shortest form, with levels counted from 0 in each slot"
            ))
        }
    }
}

impl TryFrom<String> for Placement {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Placement> for String {
    fn from(placement: Placement) -> Self {
        placement.to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Placements of a few small factors.
    pub(crate) fn placements() -> impl Strategy<Value = Placement> {
        let factor = (1u32..5, 0usize..4, 0u32..6);
        prop::collection::vec(factor, 0..6).prop_map(|factors| {
            let mut taken = std::collections::BTreeSet::new();
            let distinct = factors
                .into_iter()
                .filter(|&(_, slot, level)| taken.insert((slot, level)));
            Placement::of(distinct.map(|(extent, slot, level)| Factor {
                extent,
                slot: Slot::ALL[slot],
                level,
            }))
        })
    }

    proptest! {
        #[test]
        fn there_and_back_is_nothing(placement in placements()) {
            let count: usize = placement.factors().iter().map(|f| f.extent as usize).product();
            let values: Vec<usize> = (0..count).collect();
            let stored = placement.to_machine(&values);
            prop_assert_eq!(placement.to_value(&stored), values.clone());
            prop_assert_eq!(placement.is_row_major(), stored == values);
        }

        #[test]
        fn a_placement_is_read_as_it_is_written(placement in placements()) {
            prop_assert_eq!(placement.to_string().parse::<Placement>(), Ok(placement));
        }
    }

    #[test]
    fn a_factor_that_continues_the_one_before_is_a_part_of_it() {
        let factor = |extent, slot, level| Factor {
            extent,
            slot,
            level,
        };
        let placement = Placement::of([
            factor(2, Slot::Channel, 10),
            factor(1, Slot::Row, 0),
            factor(3, Slot::Channel, 20),
            factor(5, Slot::Column, 7),
        ]);
        assert_eq!(placement.to_string(), "6c 5x");
        // Swapped, they are no more one.
        let swapped = Placement::of([factor(3, Slot::Channel, 20), factor(2, Slot::Channel, 10)]);
        assert_eq!(swapped.to_string(), "3c1 2c0");
        assert_eq!(swapped.to_machine(&[0, 1, 2, 3, 4, 5]), [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn what_is_not_in_its_shortest_form_is_refused() {
        for text in ["2c 3c", "1n", "0c", "3c5", "3z", "c", "99999999999c"] {
            assert!(text.parse::<Placement>().is_err(), "{text}");
        }
    }
}
