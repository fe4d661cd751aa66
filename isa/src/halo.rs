//! Owners of the outputs of a pass, and the partial sums that cross the links between neighbours.
//!
//! A PE owns the outputs that its cuts of the input plane project to ([`Axis::project`]); what it accumulated for
//! others goes to the owner over neighbours, diagonals included (SCNN section 3.2). A sum that must go further than
//! one neighbour takes its diagonal steps first, then the straight ones. Exchanged are the outputs of the pass that a
//! product of the PE can reach; a dilated kernel leaves out others between them.

use crate::layer::ArrayStage;
use crate::layout::Tile;
use crate::plane::{Axis, Rect, Span};
use std::collections::BTreeMap;

/// The (row, column) in its group of the PE that owns output (`n`, `y`, `x`) of a pass that reads `tile`.
pub fn owner(array: &ArrayStage, tile: &Tile, (n, y, x): (u32, u32, u32)) -> (u32, u32) {
    let along = |cuts: &[u32], begins_by: &dyn Fn(u32) -> bool| {
        let inner = 1..cuts.len().saturating_sub(1);
        inner
            .filter(|&part| begins_by(cuts[part]))
            .max()
            .unwrap_or(0) as u32
    };
    let parts = |cuts: &[u32]| cuts.len().saturating_sub(1) as u32;
    let image = along(&tile.n, &|cut| cut <= n);
    let row = along(&tile.y, &|cut| array.y.project(cut) <= y);
    let col = along(&tile.x, &|cut| array.x.project(cut) <= x);
    let across = tile.images.cols.max(1);
    (
        image / across * parts(&tile.y) + row,
        image % across * parts(&tile.x) + col,
    )
}

/// The exchange of halos of one pass, for one output channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Partial sums times links crossed, over all PEs of a group.
    pub hops: u64,
    /// Partial sums over the busiest link.
    pub busiest_link: u64,
    /// Outputs of the PE that owns the most.
    pub most_owned: u64,
}

impl Exchange {
    /// The exchange of a pass of `array` that reads `tile` and produces the positions `inner`.
    pub fn of(array: &ArrayStage, tile: &Tile, inner: Rect) -> Self {
        Self::along((&array.y, &array.x), tile, inner)
    }

    /// The exchange of a pass, from the two axes of a convolution.
    pub fn along((y, x): (&Axis, &Axis), tile: &Tile, inner: Rect) -> Self {
        let rows = Sharing::along(y, &tile.y, inner.y);
        let cols = Sharing::along(x, &tile.x, inner.x);
        let images = tile
            .n
            .windows(2)
            .map(|cut| u64::from(Span::new(cut[0], cut[1]).intersect(inner.n).len()))
            .max()
            .unwrap_or(0);
        let mut hops = 0;
        let mut links: BTreeMap<Link, u64> = BTreeMap::new();
        for (i, to_row, height) in rows.moves() {
            for (j, to_col, width) in cols.moves() {
                let sums = height * width;
                let mut at = (i, j);
                while at != (to_row, to_col) {
                    let next = (toward(at.0, to_row), toward(at.1, to_col));
                    *links.entry((at, next)).or_default() += sums;
                    hops += sums;
                    at = next;
                }
            }
        }
        Self {
            hops: hops * u64::from(inner.n.len()),
            busiest_link: links.into_values().max().unwrap_or(0) * images,
            most_owned: rows.most_owned() * cols.most_owned() * images,
        }
    }
}

/// From a PE (row, column) to its neighbour.
type Link = ((usize, usize), (usize, usize));

fn toward(from: usize, to: usize) -> usize {
    match from.cmp(&to) {
        std::cmp::Ordering::Less => from + 1,
        std::cmp::Ordering::Equal => from,
        std::cmp::Ordering::Greater => from - 1,
    }
}

/// How the outputs along one axis are shared among the parts of the axis.
struct Sharing {
    /// Outputs that each part owns.
    owned: Vec<Span>,
    /// By part and owner: outputs of the owner that the part has sums of.
    summed: Vec<Vec<u64>>,
}

impl Sharing {
    fn along(axis: &Axis, cuts: &[u32], inner: Span) -> Self {
        let parts = cuts.len().saturating_sub(1);
        let boundary = |part: usize| match part {
            0 => inner.begin,
            last if last == parts => inner.end,
            part => axis.project(cuts[part]),
        };
        let owned: Vec<Span> = (0..parts)
            .map(|part| Span::new(boundary(part), boundary(part + 1)).intersect(inner))
            .collect();
        let summed = cuts
            .windows(2)
            .map(|cut| {
                let held = Span::new(cut[0], cut[1]);
                let of_owner = |owned: &Span| reached(axis, held, *owned);
                owned.iter().map(of_owner).collect()
            })
            .collect();
        Self { owned, summed }
    }

    /// (part, owner, outputs): number of outputs of each owner of which each part has sums.
    fn moves(&self) -> Vec<(usize, usize, u64)> {
        let mut moves = Vec::new();
        for (part, summed) in self.summed.iter().enumerate() {
            for (owner, &outputs) in summed.iter().enumerate() {
                if outputs > 0 {
                    moves.push((part, owner, outputs));
                }
            }
        }
        moves
    }

    fn most_owned(&self) -> u64 {
        self.owned
            .iter()
            .map(|o| u64::from(o.len()))
            .max()
            .unwrap_or(0)
    }
}

/// How many of `outputs` a tap takes a position of `held` to.
fn reached(axis: &Axis, held: Span, outputs: Span) -> u64 {
    let near = axis.outputs(held).intersect(outputs);
    if axis.dilation == 1 && axis.upsample == 1 {
        // A window without holes reaches every output between the first and the last.
        return u64::from(near.len());
    }
    let reaches = |output: &u32| {
        (0..axis.kernel).any(|tap| axis.input(*output, tap).is_some_and(|it| held.contains(it)))
    };
    near.iter().filter(reaches).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SectionId;
    use crate::layer::WeightOrder;
    use crate::layout::Grid;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn array(y: Axis, x: Axis) -> ArrayStage {
        ArrayStage {
            groups: 1,
            y,
            x,
            pe_groups: Grid::ONE,
            channel_groups: vec![Span::new(0, 1)],
            order: WeightOrder::Krs,
            weights: SectionId(0),
            product_shift: 0,
        }
    }

    #[test]
    fn a_3x3_convolution_sends_its_rim_to_the_neighbours() {
        let axis = Axis {
            kernel: 3,
            pad: [1, 1],
            ..Axis::identity(8)
        };
        let plane = Rect::plane(1, 8, 8);
        let tile = Tile::uniform(plane, Grid::new(2, 2), Grid::ONE);
        // Four tiles of 4 x 4: each sends 4 sums to both sides and 1 over the corner.
        assert_eq!(
            Exchange::of(&array(axis, axis), &tile, plane),
            Exchange {
                hops: 4 * (4 + 4 + 1),
                busiest_link: 4,
                most_owned: 16
            }
        );
        // The output at a cut is of the PE behind it, as the input is.
        let owner = |y, x| owner(&array(axis, axis), &tile, (0, y, x));
        assert_eq!(
            [owner(3, 3), owner(4, 3), owner(3, 4)],
            [(0, 0), (1, 0), (0, 1)]
        );
    }

    /// What a failure says of the layer that was drawn.
    fn layer(axis: &Axis, parts: u32) -> String {
        format!(
            "layer of kernel {}, stride {}, dilation {}, pads {:?} on {} positions, which {parts} PEs share",
            axis.kernel, axis.stride, axis.dilation, axis.pad, axis.input
        )
    }

    prop_compose! {
        fn axis()(
            (kernel, stride, dilation, pad) in (1u32..5, 1u32..4, 1u32..4, 0u32..3), extent in 1u32..20,
        ) -> Axis {
            let window = (kernel - 1) * dilation + 1;
            let input = extent.max(window.saturating_sub(2 * pad));
            Axis {
                kernel,
                stride,
                dilation,
                pad: [pad as i32, pad as i32],
                output: (input + 2 * pad - window) / stride + 1,
                ..Axis::identity(input)
            }
        }
    }

    /// The outputs that products of some positions go to, one product after the other.
    fn reached(axis: &Axis, held: Span, inner: Span) -> BTreeSet<u32> {
        let taps = |position| (0..axis.kernel).filter_map(move |tap| axis.output(position, tap));
        let outputs = held.iter().flat_map(taps);
        outputs.filter(|&output| inner.contains(output)).collect()
    }

    /// What crosses every link, output by output.
    fn crossings(array: &ArrayStage, tile: &Tile, inner: Rect) -> BTreeMap<Link, u64> {
        let mut links = BTreeMap::new();
        let pes = tile.pes();
        for (row, col) in (0..pes.rows).flat_map(|row| (0..pes.cols).map(move |col| (row, col))) {
            let held = tile.pe_rect(row, col);
            for y in reached(&array.y, held.y, inner.y) {
                for x in reached(&array.x, held.x, inner.x) {
                    let owner = owner(array, tile, (0, y, x));
                    let owner = (owner.0 as usize, owner.1 as usize);
                    let mut at = (row as usize, col as usize);
                    while at != owner {
                        let next = (toward(at.0, owner.0), toward(at.1, owner.1));
                        *links.entry((at, next)).or_default() += 1;
                        at = next;
                    }
                }
            }
        }
        links
    }

    proptest! {
        /// The PE that an output is said to be of, and the PE that the exchange brings it to; along one axis.
        #[test]
        fn every_output_has_one_owner_and_it_is_the_same_everywhere(axis in axis(), parts in 1u32..5, rows: bool) {
            let (pes, y, x) = if rows {
                (Grid::new(parts, 1), axis, Axis::identity(1))
            } else {
                (Grid::new(1, parts), Axis::identity(1), axis)
            };
            let tile = Tile::uniform(Rect::plane(1, y.input, x.input), pes, Grid::ONE);
            let outputs = Span::new(0, axis.output);
            let sharing = Sharing::along(&axis, if rows { &tile.y } else { &tile.x }, outputs);
            for output in outputs.iter() {
                let owners: Vec<u32> = (0..parts).filter(|&p| sharing.owned[p as usize].contains(output)).collect();
                let (along, named) = if rows {
                    ("row", owner(&array(y, x), &tile, (0, output, 0)).0)
                } else {
                    ("column", owner(&array(y, x), &tile, (0, 0, output)).1)
                };
                prop_assert_eq!(
                    &owners, &vec![named], "{}: output {} {} goes to PEs {:?} and is of PE {}",
                    layer(&axis, parts), along, output, owners, named
                );
            }
        }

        #[test]
        fn what_is_exchanged_is_what_every_pe_sends_to_the_owners(
            (y, x) in (axis(), axis()), (rows, cols) in (1u32..4, 1u32..4),
        ) {
            let (array, plane) = (array(y, x), Rect::plane(1, y.input, x.input));
            let tile = Tile::uniform(plane, Grid::new(rows, cols), Grid::ONE);
            let inner = Rect::plane(1, y.output, x.output);
            let exchange = Exchange::of(&array, &tile, inner);
            let links = crossings(&array, &tile, inner);
            let busiest = links.iter().max_by_key(|(_, sums)| **sums);
            let place = format!("rows: {}; columns: {}", layer(&y, rows), layer(&x, cols));
            prop_assert_eq!(
                exchange.busiest_link, busiest.map_or(0, |(_, sums)| *sums),
                "{}: the busiest link, from PE to PE, and its sums: {:?}", place, busiest
            );
            prop_assert_eq!(exchange.hops, links.values().sum::<u64>(), "{}: sums over links {:?}", place, links);
        }
    }
}
