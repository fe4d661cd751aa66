//! The mappings of one layer or tensor that are legal: pure enumeration.
//!
//! A tensor's **cuts** are PE groups x parts of the batch x temporal parts x residues, and for a tensor that exceeds a
//! RAM, the fewest parts whose tiles fit, however many these are; a layer's **groupings** are
//! divisions of its output channels into rounds. Cuts that the accumulators exclude are enumerated too, with the number of
//! entries that they would need, for explanations.

use super::LayerMapping;
use super::cost::group_grids;
use super::residency::resident_room;
use super::tiling::{Cut, Cutter, TemporalParts, accumulators, largest_part};
use crate::quantise::IntLayer;
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::machine::{Delivery, Machine};
use scnn_isa::plane::Span;

/// Most temporal parts along rows, and along columns, that are tried.
const MOST_PARTS: [u32; 2] = [16, 8];

/// All cuts of a tensor that the accumulators admit, roughly from few parts to many.
pub fn cuts(cutter: &Cutter<'_>, machine: &Machine, shape: [u32; 4]) -> Vec<Cut> {
    let entries = u64::from(machine.accumulator_entries());
    let mut cuts = enumerated(cutter, machine, shape);
    cuts.retain(|(_, needed)| *needed <= entries);
    cuts.into_iter().map(|(cut, _)| cut).collect()
}

/// All cuts of a tensor that the accumulators exclude, with the entries that one output channel would need, fewest first.
pub fn excluded_cuts(cutter: &Cutter<'_>, machine: &Machine, shape: [u32; 4]) -> Vec<(Cut, u64)> {
    let entries = u64::from(machine.accumulator_entries());
    let mut cuts = enumerated(cutter, machine, shape);
    cuts.retain(|(_, needed)| *needed > entries);
    cuts.sort_by_key(|(_, needed)| *needed);
    cuts
}

/// Every cut of a tensor, with the accumulator entries that one output channel needs.
fn enumerated(cutter: &Cutter<'_>, machine: &Machine, shape: [u32; 4]) -> Vec<(Cut, u64)> {
    let multicast = machine.weights.delivery == Delivery::Multicast;
    let residues = if cutter.residues == Grid::ONE {
        vec![Grid::ONE]
    } else {
        vec![cutter.residues, Grid::ONE]
    };
    let ram = resident_room(machine);
    let rows = parts(MOST_PARTS[0], cutter.most(|rect| rect.y));
    let cols = parts(MOST_PARTS[1], cutter.most(|rect| rect.x));
    let batches = parts(shape[0], shape[0]);
    let mut cuts = Vec::new();
    for groups in group_grids(machine.pes(), multicast) {
        let pes = Grid::new(
            machine.array.rows / groups.rows,
            machine.array.cols / groups.cols,
        );
        for images in image_grids(pes, shape[0]) {
            for &residues in &residues {
                for &n in &batches {
                    // Images over PEs need as many images in every part.
                    if images.count() > shape[0].div_ceil(n) {
                        continue;
                    }
                    let whole = Cut {
                        parts: TemporalParts { n, y: 1, x: 1 },
                        groups,
                        images,
                        residues,
                    };
                    let cells = rows.iter().flat_map(|&y| cols.iter().map(move |&x| (y, x)));
                    let mut more = fitting(cutter, whole, ram);
                    more.retain(|(y, x)| !rows.contains(y) || !cols.contains(x));
                    for (y, x) in cells.chain(more) {
                        let parts = TemporalParts { n, y, x };
                        let cut = Cut { parts, ..whole };
                        cuts.push((cut, cutter.accumulators(cut)));
                    }
                }
            }
        }
    }
    cuts
}

/// Rows and columns of parts whose tiles are expected to fit `room`: of rows as far as they go and then of columns, and
/// of columns first; none where the whole fits.
fn fitting(cutter: &Cutter<'_>, whole: Cut, room: u64) -> Vec<(u32, u32)> {
    let fits = |(y, x): (u32, u32)| {
        let parts = TemporalParts {
            y,
            x,
            ..whole.parts
        };
        cutter.tile_elements(Cut { parts, ..whole }) <= room
    };
    if fits((1, 1)) {
        return Vec::new();
    }
    let most = (cutter.most(|rect| rect.y), cutter.most(|rect| rect.x));
    let by_rows = fewest(most.0, |y| fits((y, 1)));
    let by_cols = fewest(most.1, |x| fits((1, x)));
    let mut found = vec![
        (by_rows, fewest(most.1, |x| fits((by_rows, x)))),
        (fewest(most.0, |y| fits((y, by_cols))), by_cols),
    ];
    found.dedup();
    found
}

/// The least number up to `most` for which `does` holds, given that it then holds for every larger one; `most` if for none.
fn fewest(most: u32, does: impl Fn(u32) -> bool) -> u32 {
    let (mut none, mut some) = (0, most);
    while some - none > 1 {
        let middle = none + (some - none) / 2;
        if does(middle) {
            some = middle;
        } else {
            none = middle;
        }
    }
    some
}

/// Numbers of parts worth trying: all up to four, then those that halve or third the plane further.
fn parts(most: u32, extent: u32) -> Vec<u32> {
    [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 32, 64]
        .into_iter()
        .filter(|&parts| parts <= most && parts <= extent)
        .collect()
}

/// Ways to divide the images of a batch over a PE group.
fn image_grids(pes: Grid, batch: u32) -> Vec<Grid> {
    let divisors = |n: u32| (1..=n).filter(move |d| n.is_multiple_of(*d));
    divisors(pes.rows)
        .flat_map(|rows| divisors(pes.cols).map(move |cols| Grid::new(rows, cols)))
        .filter(|grid| grid.count() <= batch)
        .collect()
}

/// An estimate of the cycles of a layer under a cut, from densities alone; ranks cuts before anything is counted.
pub fn estimate(
    machine: &Machine,
    cutter: &Cutter<'_>,
    cut: Cut,
    density: f64,
    weight_density: impl Fn(&IntLayer) -> f64,
) -> f64 {
    let layout = cutter.layout(cut);
    let entries = u64::from(machine.accumulator_entries());
    let accumulators = cutter.accumulators(cut).max(1);
    let groups = cut.groups.count();
    let mut total = 0.0;
    for layer in &cutter.consumers {
        let Some(conv) = &layer.conv else {
            let channels = layer.source.channels.len();
            let positions: u64 = layout.tiles.iter().map(largest_part).sum();
            let per_group = f64::from(channels.div_ceil(groups));
            total += positions as f64 * per_group / f64::from(machine.ppu.lanes);
            continue;
        };
        let kc = (entries / accumulators) as u32;
        let outputs = layer.destination.channels.len();
        let division = Division::of(outputs, conv.groups, groups, kc);
        let rounds = u64::from(division.rounds(groups));
        let widest = division.per_conv.div_ceil(division.parts);
        let densities = [density, weight_density(layer)];
        total += estimate_rounds(machine, layer, &layout, (rounds, widest), densities);
    }
    total
}

/// An estimate of the cycles of a layer whose source is stored by `layout`, for so many `rounds` of output-channel groups
/// of which the `widest` has so many channels, from the densities of activations and weights.
pub fn estimate_rounds(
    machine: &Machine,
    layer: &IntLayer,
    layout: &Layout,
    (rounds, widest): (u64, u32),
    [density, weight_density]: [f64; 2],
) -> f64 {
    let Some(conv) = &layer.conv else { return 0.0 };
    let residues = f64::from(layout.residues.count());
    let (f, i) = (
        f64::from(machine.pe.weights_per_vector),
        f64::from(machine.pe.activations_per_vector),
    );
    let taps = f64::from(conv.y.kernel * conv.x.kernel);
    let weights = vectors(f64::from(widest) * taps / residues * weight_density, f);
    let blocks = f64::from(layer.source.channels.len()) / f64::from(conv.groups) * residues;
    let groups = f64::from(layout.groups.count());
    let bus = weights * groups / f64::from(machine.weights.bus_vectors_per_cycle);
    let of_tile = |tile: &Tile| {
        let activations = vectors(largest_part(tile) as f64 * density / residues, i);
        rounds as f64 * blocks * (weights * activations).max(bus)
    };
    layout.tiles.iter().map(of_tile).sum()
}

/// Expected vectors of `width` that hold about `elements` elements.
fn vectors(elements: f64, width: f64) -> f64 {
    // A block with any element has a last vector, which is full to a bit more than half in the mean.
    let any = 1.0 - (-elements).exp();
    elements / width + any * (width - 1.0) / (2.0 * width)
}

/// How the output channels of every group of a convolution are divided.
struct Division {
    /// Groups of the convolution, and output channels of each.
    conv_groups: u32,
    per_conv: u32,
    /// Output-channel groups that these become, of at most `kc` each.
    parts: u32,
    kc: u32,
}

impl Division {
    /// Into as few groups of at most `kc` as make a whole number of rounds on `pe_groups`.
    fn of(outputs: u32, conv_groups: u32, pe_groups: u32, kc: u32) -> Self {
        let per_conv = (outputs / conv_groups.max(1)).max(1);
        let kc = kc.clamp(1, per_conv);
        let least = conv_groups * per_conv.div_ceil(kc);
        let rounds = least.div_ceil(pe_groups);
        // All PE groups of all rounds have work where the convolution's groups allow it.
        let parts = (rounds * pe_groups / conv_groups)
            .max(per_conv.div_ceil(kc))
            .min(per_conv);
        Self {
            conv_groups,
            per_conv,
            parts,
            kc,
        }
    }

    const fn rounds(&self, pe_groups: u32) -> u32 {
        (self.conv_groups * self.parts).div_ceil(pe_groups)
    }
}

/// Output channels in groups of at most `kc`, in each about equally many of the non-zero `weights` (by output
/// channel), a whole number of rounds on `pe_groups`. None straddles one of the `conv_groups`.
pub fn balanced_groups(weights: &[u64], conv_groups: u32, pe_groups: u32, kc: u32) -> Vec<Span> {
    let outputs = weights.len() as u32;
    let division = Division::of(outputs, conv_groups, pe_groups, kc);
    let per_conv = division.per_conv;
    let mut groups = Vec::new();
    for group in 0..conv_groups {
        let begin = group * per_conv;
        let of_group = &weights[begin as usize..(begin + per_conv) as usize];
        groups.extend(
            divide(of_group, division.parts, division.kc)
                .into_iter()
                .map(|k| Span::new(begin + k.begin, begin + k.end)),
        );
    }
    let whole = division.rounds(pe_groups) * pe_groups;
    groups.resize(whole as usize, Span::new(outputs, outputs));
    groups
}

/// Cuts `weights` into `parts` runs of at most `longest`, and at least one, with about equal sums.
fn divide(weights: &[u64], parts: u32, longest: u32) -> Vec<Span> {
    let count = weights.len() as u32;
    let mut prefix = vec![0u64];
    for weight in weights {
        prefix.push(prefix.last().copied().unwrap_or(0) + weight);
    }
    let total = prefix.last().copied().unwrap_or(0);
    let mut cuts = vec![0];
    for part in 1..parts {
        let target = total * u64::from(part) / u64::from(parts);
        let at = prefix.partition_point(|&sum| sum < target) as u32;
        let before = at.saturating_sub(1);
        let near = |cut: u32| prefix[cut as usize].abs_diff(target);
        let cut = if near(before) <= near(at) { before } else { at };
        // What is left must fit the parts that are left, and each part must have one.
        let left = parts - part;
        let last = cuts.last().copied().unwrap_or(0);
        let least = (last + 1).max(count.saturating_sub(left * longest));
        let most = (last + longest).min(count - left);
        cuts.push(cut.clamp(least.min(most), most));
    }
    cuts.push(count);
    cuts.windows(2)
        .map(|cut| Span::new(cut[0], cut[1]))
        .collect()
}

/// Group sizes worth trying for a layer when the accumulators admit `most`: the most, and fractions of it, as large
/// blocks fill vectors and small ones let PEs run ahead of each other by what the FIFO holds.
pub fn group_sizes(most: u32, per_conv_group: u32) -> Vec<u32> {
    let most = most.min(per_conv_group).max(1);
    let mut sizes = Vec::new();
    for eighths in [8, 6, 4, 3, 2] {
        sizes.push(most * eighths / 8);
    }
    sizes.extend(
        [96, 64, 48, 32, 24, 16, 12, 8, 6, 4]
            .into_iter()
            .filter(|&size| size < most / 4),
    );
    sizes.retain(|&size| size > 0);
    sizes.dedup();
    sizes.truncate(12);
    sizes
}

/// The groupings of a layer's output channels that are worth trying, with the passes and PE groups of `like`; none
/// where it has no convolution. `weights` are the non-zero weights of every output channel, `layout` is its source's.
pub fn groupings(
    machine: &Machine,
    layer: &IntLayer,
    layout: &Layout,
    weights: &[u64],
    like: &LayerMapping,
) -> Vec<LayerMapping> {
    groupings_by(machine, layer, layout, weights, like, group_sizes)
}

/// At most `count` groupings of every size from the largest that the accumulators admit down; see [`groupings`].
pub fn every_grouping(
    machine: &Machine,
    layer: &IntLayer,
    layout: &Layout,
    weights: &[u64],
    like: &LayerMapping,
    count: usize,
) -> Vec<LayerMapping> {
    let sizes = |most: u32, per_conv: u32| (1..=most.min(per_conv)).rev().collect();
    let mut found = groupings_by(machine, layer, layout, weights, like, sizes);
    found.truncate(count);
    found
}

/// The groupings into groups of `sizes`, which are given the most output channels that the accumulators admit and those of
/// a group of the convolution.
fn groupings_by(
    machine: &Machine,
    layer: &IntLayer,
    layout: &Layout,
    weights: &[u64],
    like: &LayerMapping,
    sizes: impl Fn(u32, u32) -> Vec<u32>,
) -> Vec<LayerMapping> {
    let Some(conv) = &layer.conv else {
        return Vec::new();
    };
    let needed = accumulators(layout, layer, &like.passes).max(1);
    let most = u64::from(machine.accumulator_entries()) / needed;
    let per_conv = layer.destination.channels.len() / conv.groups;
    let pe_groups = like.pe_groups.count();
    let mut found: Vec<LayerMapping> = Vec::new();
    for kc in sizes(most.min(0xffff) as u32, per_conv) {
        let groups = balanced_groups(weights, conv.groups, pe_groups, kc);
        let known = |mapping: &LayerMapping| mapping.channel_groups == groups;
        if found.iter().any(known) || groups.len() as u64 / u64::from(pe_groups) > 0xffff {
            continue;
        }
        found.push(LayerMapping {
            kc: groups.iter().map(|k| k.len()).max().unwrap_or(0),
            channel_groups: groups,
            ..like.clone()
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_partition_the_channels_inside_the_convolution_groups(
            weights in proptest::collection::vec(0u64..50, 1..40), conv_groups in 1u32..4, pe_groups in 1u32..9,
            kc in 1u32..12,
        ) {
            let per_conv = weights.len() as u32;
            let all: Vec<u64> = (0..conv_groups).flat_map(|_| weights.clone()).collect();
            let groups = balanced_groups(&all, conv_groups, pe_groups, kc);
            prop_assert_eq!(groups.len() % pe_groups as usize, 0);
            let mut next = 0;
            for group in groups.iter().filter(|k| !k.is_empty()) {
                prop_assert_eq!(group.begin, next);
                prop_assert!(group.len() <= kc);
                prop_assert_eq!(group.begin / per_conv, (group.end - 1) / per_conv);
                next = group.end;
            }
            prop_assert_eq!(next, per_conv * conv_groups);
        }
    }

    #[test]
    fn groups_balance_weights_not_channels() {
        assert_eq!(
            divide(&[9, 1, 1, 1, 1, 1, 1, 1, 1, 1], 2, 10),
            [Span::new(0, 1), Span::new(1, 10)]
        );
        assert_eq!(
            divide(&[9, 1, 1, 1], 2, 2),
            [Span::new(0, 2), Span::new(2, 4)]
        );
    }
}
