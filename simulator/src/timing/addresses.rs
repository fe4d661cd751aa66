//! Accumulator addresses and banks.
//!
//! The product of a weight (k, r, s) and an activation at (n, y, x) goes to the accumulator
//!
//! ```text
//! ((k * N' + n) * Ht' + oy) * Wt' + ox
//! ```
//!
//! of its PE, with k counted in the output-channel group, (oy, ox) from the first output that the PE has sums of, and
//! N' x Ht' x Wt' the largest accumulator tile of the pass. As `o = i - t` in the units of the stride, an address is
//! the sum of what the activation and what the weight contribute.

use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Tile;
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::{Axis, Rect, Span};

/// How an address chooses its bank, with the number of banks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BankOf {
    /// `address mod banks`. Addresses are kept reduced.
    Modulo(u32),
    /// `(address xor address / banks) mod banks`; the banks are a power of two.
    Xor(u32),
}

impl BankOf {
    /// The map of a machine.
    pub fn new(machine: &Machine) -> Self {
        match machine.pe.bank_map {
            BankMap::Modulo => Self::Modulo(machine.pe.banks),
            BankMap::Xor => Self::Xor(machine.pe.banks),
        }
    }

    /// Banks.
    pub fn count(self) -> usize {
        match self {
            Self::Modulo(banks) | Self::Xor(banks) => banks as usize,
        }
    }

    /// A contribution to an address, in the form in which it is kept.
    #[inline]
    pub fn part(self, address: i64) -> i32 {
        match self {
            Self::Modulo(banks) if banks.is_power_of_two() => {
                (address & i64::from(banks - 1)) as i32
            }
            Self::Modulo(banks) => address.rem_euclid(i64::from(banks)) as i32,
            Self::Xor(_) => address as i32,
        }
    }

    /// The bank of the address with these two parts.
    #[inline]
    pub fn bank(self, activation: i32, weight: i32) -> usize {
        let address = (activation + weight) as usize;
        match self {
            Self::Modulo(banks) if address >= banks as usize => address - banks as usize,
            Self::Modulo(_) => address,
            Self::Xor(banks) => (address ^ (address / banks as usize)) % banks as usize,
        }
    }
}

/// Accumulator tile of a pass: images, rows, columns, the largest of all PEs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccumulatorTile {
    images: i64,
    height: i64,
    width: i64,
}

impl AccumulatorTile {
    /// The tile of a pass that reads `tile` and produces `inner`.
    pub fn of(array: &ArrayStage, tile: &Tile, inner: Rect) -> Self {
        let largest = |cuts: &[u32], outputs: &dyn Fn(Span) -> Span, inside: Span| {
            cuts.windows(2)
                .map(|cut| outputs(Span::new(cut[0], cut[1])).intersect(inside).len())
                .max()
                .map_or(0, i64::from)
        };
        Self {
            images: largest(&tile.n, &|span| span, inner.n),
            height: largest(&tile.y, &|span| array.y.outputs(span), inner.y),
            width: largest(&tile.x, &|span| array.x.outputs(span), inner.x),
        }
    }

    /// Summand of an address for image `n`, row `y` and column `x`, each counted from the PE's first.
    #[inline]
    pub fn position(&self, n: i64, y: i64, x: i64) -> i64 {
        (n * self.height + y) * self.width + x
    }

    /// Summand of an address for output channel `k` of the group.
    pub fn channel(&self, k: u32) -> i64 {
        i64::from(k) * self.images * self.height * self.width
    }

    /// Summand of an address for a tap, zero or negative.
    pub fn tap(&self, array: &ArrayStage, r: u32, s: u32) -> i64 {
        let back = |axis: &Axis, tap: u32| {
            (i64::from(tap) * i64::from(axis.dilation)).div_euclid(i64::from(axis.stride))
        };
        -(back(&array.y, r) * self.width + back(&array.x, s))
    }
}

/// Output coordinate of an input position under tap 0, in the units of the stride, from the first output that the
/// inputs `span` have sums of.
pub fn origin(axis: &Axis, span: Span, inner: Span, position: u32) -> i64 {
    let first = i64::from(axis.outputs(span).intersect(inner).begin);
    let scaled = i64::from(position) * i64::from(axis.upsample) + i64::from(axis.pad[0]);
    scaled.div_euclid(i64::from(axis.stride)) - first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scnn_isa::ids::SectionId;
    use scnn_isa::layer::WeightOrder;
    use scnn_isa::layout::Grid;

    fn array(axis: Axis) -> ArrayStage {
        ArrayStage {
            groups: 1,
            y: axis,
            x: axis,
            pe_groups: Grid::ONE,
            channel_groups: vec![Span::new(0, 1)],
            order: WeightOrder::Krs,
            weights: SectionId(0),
            product_shift: 0,
        }
    }

    proptest! {
        /// The formula at the head of this file, for every product of a layer whose axes are alike.
        #[test]
        fn the_parts_of_an_address_add_up_to_the_place_of_the_output(
            (kernel, stride, dilation, pad) in (1u32..4, 1u32..4, 1u32..3, 0i32..3), more in 0u32..6, parts in 1u32..4,
        ) {
            let window = dilation * (kernel - 1) + 1;
            let axis = Axis {
                kernel,
                stride,
                dilation,
                pad: [pad, pad],
                output: (more + 2 * pad as u32) / stride + 1,
                ..Axis::identity(window + more)
            };
            let tile = Tile::uniform(Rect::plane(2, axis.input, axis.input), Grid::new(parts, parts), Grid::ONE);
            let inner = Rect::plane(2, axis.output, axis.output);
            let summed = |part: u32| axis.outputs(tile.pe_rect(part, part).y).intersect(inner.y);
            let most = i64::from((0..parts).map(|part| summed(part).len()).max().unwrap());
            let accumulators = AccumulatorTile::of(&array(axis), &tile, inner);
            prop_assert_eq!(accumulators.channel(3), 3 * 2 * most * most);
            // By part, input, tap: where the output lies from the part's first, and the input's share of that.
            let mut products = Vec::new();
            for part in 0..parts {
                let span = tile.pe_rect(part, part).y;
                for (input, tap) in span.iter().flat_map(|i| (0..kernel).map(move |tap| (i, tap))) {
                    if let Some(output) = axis.output(input, tap) {
                        let place = i64::from(output) - i64::from(summed(part).begin);
                        products.push((tap, place, origin(&axis, span, inner.y, input)));
                    }
                }
            }
            for &(r, row, y) in &products {
                for &(s, column, x) in &products {
                    let address = accumulators.position(1, y, x) + accumulators.tap(&array(axis), r, s);
                    prop_assert_eq!(address, (most + row) * most + column, "tap {}, {} of {:?}", r, s, axis);
                }
            }
        }

        #[test]
        fn the_bank_of_an_address_does_not_depend_on_how_it_is_split(
            address in 0i64..100_000, weight in -50_000i64..50_000, log in 0u32..7, odd in 1u32..50,
        ) {
            let banks = 1u32 << log;
            let bank = |of: BankOf| of.bank(of.part(address - weight), of.part(weight)) as i64;
            prop_assert_eq!(bank(BankOf::Modulo(odd)), address % i64::from(odd));
            prop_assert_eq!(bank(BankOf::Modulo(banks)), address % i64::from(banks));
            prop_assert_eq!(bank(BankOf::Xor(banks)), (address ^ (address >> log)) % i64::from(banks));
        }
    }
}
