//! Tensors, layouts, regions, sections, values, segments, source map: names, ids, bounds.

#[cfg(test)]
mod tests;

use super::{MAX_ELEMENTS, Problems};
use crate::arith::MAX_CHANNEL_SHIFT;
use crate::diagnostic::Code;
use crate::layout::{Grid, Layout, Tile};
use crate::legal::{self, MAX_RESIDUES};
use crate::machine::{Dataflow, Delivery};
use crate::plane::{Rect, Span};
use crate::program::{Dtype, Memory, Program, Region, Tensor};
use std::collections::BTreeSet;

/// Most entries of a table: what 16-bit operands can name.
const MAX_ENTRIES: usize = 0xffff;

pub(super) fn check(program: &Program, problems: &mut Problems) {
    if program.machine.dataflow.kind == Dataflow::DotProductDense {
        problems.add(
            Code::BadTable,
            "machine",
            "a dense baseline executes no programs",
        );
    }
    names(program, problems);
    for tensor in &program.tensors {
        check_tensor(program, tensor, problems);
    }
    // What follows counts on layouts that are sound.
    if !problems.is_empty() {
        return;
    }
    for region in &program.regions {
        check_region(program, region, problems);
    }
    overlaps(program, problems);
    values(program, problems);
    source_map(program, problems);
}

fn names(program: &Program, problems: &mut Problems) {
    let tables: [(&str, Vec<&String>); 6] = [
        ("tensor", program.tensors.iter().map(|t| &t.name).collect()),
        ("region", program.regions.iter().map(|r| &r.name).collect()),
        ("layer", program.layers.iter().map(|l| &l.name).collect()),
        (
            "section",
            program.sections.iter().map(|s| &s.name).collect(),
        ),
        ("value", program.values.iter().map(|v| &v.name).collect()),
        (
            "segment",
            program.segments.iter().map(|s| &s.name).collect(),
        ),
    ];
    for (table, names) in tables {
        problems.require(names.len() <= MAX_ENTRIES, Code::BadTable, table, || {
            format!(
                "there are {} entries; an instruction can name {MAX_ENTRIES}",
                names.len()
            )
        });
        let mut seen = BTreeSet::new();
        for name in names {
            if name.is_empty() || !seen.insert(name) {
                problems.add(
                    Code::BadTable,
                    format!("{table} {name}"),
                    "names must be unique and not empty",
                );
            }
        }
    }
}

fn check_tensor(program: &Program, tensor: &Tensor, problems: &mut Problems) {
    let place = format!("tensor {}", tensor.name);
    let held = legal::tensor(tensor.shape);
    let sized = problems.require(held.is_ok(), Code::BadTable, &place, || {
        held.err().unwrap_or_default()
    });
    problems.require(
        tensor.scale.is_finite() && tensor.scale > 0.0,
        Code::BadTable,
        &place,
        || format!("the scale {} is not a positive number", tensor.scale),
    );
    let shifts = &tensor.channel_shifts;
    problems.require(
        shifts.is_empty() || shifts.len() == tensor.channels() as usize,
        Code::BadTable,
        &place,
        || {
            format!(
                "{} channel shifts for {} channels",
                shifts.len(),
                tensor.channels()
            )
        },
    );
    let largest = shifts.iter().max().copied().unwrap_or(0);
    problems.require(largest <= MAX_CHANNEL_SHIFT, Code::BadTable, &place, || {
        format!("the channel shift {largest} is above {MAX_CHANNEL_SHIFT}")
    });
    let bits = program.machine.pe.operand_bits;
    problems.require(
        holds_range(bits, tensor.range),
        Code::BadTable,
        &place,
        || {
            let [low, high] = tensor.range;
            format!("{bits} bits do not hold the range {low}..{high}")
        },
    );
    if sized {
        check_layout(program, tensor, &place, problems);
    }
}

/// Whether operands of `bits` hold the values of a range: as two's complement without its smallest number, or, where the
/// range lies unevenly about 0, by their distance from its lower end.
pub fn holds_range(bits: u32, [low, high]: [i16; 2]) -> bool {
    let values = i32::from(high) - i32::from(low);
    low > i16::MIN && (0..1 << bits).contains(&values) && low <= 0 && high >= 0
        || (-widest(bits) <= low && low <= high && high <= widest(bits))
}

/// Largest magnitude of an operand of `bits` whose range is symmetric.
const fn widest(bits: u32) -> i16 {
    ((1i32 << (bits - 1)) - 1) as i16
}

fn check_layout(program: &Program, tensor: &Tensor, place: &str, problems: &mut Problems) {
    let Layout {
        groups,
        residues,
        tiles,
    } = &tensor.layout;
    let array = program.machine.pes();
    let divides = groups.rows > 0
        && groups.cols > 0
        && array.rows.is_multiple_of(groups.rows)
        && array.cols.is_multiple_of(groups.cols);
    if !problems.require(divides, Code::BadLayout, place, || {
        format!(
            "{} x {} PE groups do not divide {} x {} PEs",
            groups.rows, groups.cols, array.rows, array.cols
        )
    }) {
        return;
    }
    let multicast = program.machine.weights.delivery == Delivery::Multicast;
    problems.require(
        groups.count() == 1 || multicast,
        Code::BadLayout,
        place,
        || "PE groups need a machine with multicast weights".to_owned(),
    );
    let sane = [residues.rows, residues.cols]
        .iter()
        .all(|residues| (1..=MAX_RESIDUES).contains(residues));
    problems.require(sane, Code::BadLayout, place, || {
        format!("residues are 1 to {MAX_RESIDUES} along each axis")
    });
    problems.require(
        !tiles.is_empty() && tiles.len() <= MAX_ENTRIES,
        Code::BadLayout,
        place,
        || format!("there are {} tiles", tiles.len()),
    );
    let pes = Grid::new(array.rows / groups.rows, array.cols / groups.cols);
    let mut sound = true;
    for (index, tile) in tiles.iter().enumerate() {
        let place = format!("{place}, tile {index}");
        sound &= problems.require(well_cut(tile, pes), Code::BadLayout, &place, || {
            format!(
                "its cuts are not ascending over {} x {} PEs",
                pes.rows, pes.cols
            )
        });
        sound &= problems.require(
            !tile.rect().is_empty() && tensor.plane().covers(tile.rect()),
            Code::BadLayout,
            &place,
            || {
                format!(
                    "{} is not a part of the plane {}",
                    tile.rect(),
                    tensor.plane()
                )
            },
        );
    }
    if sound {
        let rects: Vec<Rect> = tiles.iter().map(Tile::rect).collect();
        problems.require(
            covered(tensor.plane(), &rects),
            Code::BadLayout,
            place,
            || "its tiles do not cover the plane".to_owned(),
        );
    }
}

fn well_cut(tile: &Tile, pes: Grid) -> bool {
    let ascending = |cuts: &[u32]| cuts.len() >= 2 && cuts.windows(2).all(|cut| cut[0] <= cut[1]);
    let images = u64::from(tile.images.rows) * u64::from(tile.images.cols);
    [&tile.n, &tile.y, &tile.x]
        .iter()
        .all(|cuts| ascending(cuts) && cuts.len() <= 65)
        && tile.images.rows <= 64
        && tile.images.cols <= 64
        && tile.n.len() as u64 == images + 1
        && tile.pes() == pes
}

/// Whether boxes cover a plane, by the cells that their edges cut it into.
pub(super) fn covered(plane: Rect, rects: &[Rect]) -> bool {
    // Tiles are usually a grid: then it is enough that every combination of distinct spans is there.
    let edges = |pick: &dyn Fn(&Rect) -> Span, whole: Span| -> Vec<Span> {
        let mut cuts: BTreeSet<u32> = rects
            .iter()
            .flat_map(|r| [pick(r).begin, pick(r).end])
            .collect();
        cuts.extend([whole.begin, whole.end]);
        let cuts: Vec<u32> = cuts.into_iter().collect();
        cuts.windows(2)
            .map(|c| Span::new(c[0], c[1]))
            .filter(|s| whole.covers(*s))
            .collect()
    };
    let (ns, ys, xs) = (
        edges(&|r| r.n, plane.n),
        edges(&|r| r.y, plane.y),
        edges(&|r| r.x, plane.x),
    );
    ns.iter().all(|&n| {
        let here: Vec<&Rect> = rects.iter().filter(|r| r.n.covers(n)).collect();
        ys.iter().all(|&y| {
            let mut line: Vec<Span> = here.iter().filter(|r| r.y.covers(y)).map(|r| r.x).collect();
            line.sort_unstable();
            let mut reached = plane.x.begin;
            for span in line {
                if span.begin <= reached {
                    reached = reached.max(span.end);
                }
            }
            xs.is_empty() || reached >= plane.x.end
        })
    })
}

fn check_region(program: &Program, region: &Region, problems: &mut Problems) {
    let place = format!("region {}", region.name);
    let Some(tensor) = program.tensors.get(region.tensor.index()) else {
        problems.add(Code::BadRegion, place, "its tensor does not exist");
        return;
    };
    let tiles = Span::new(0, tensor.layout.tiles.len() as u32);
    let inside = !region.tiles.is_empty() && tiles.covers(region.tiles);
    if !problems.require(inside, Code::BadRegion, &place, || {
        format!("the tensor has no tiles {}", region.tiles)
    }) {
        return;
    }
    let end = region.base.checked_add(region.size);
    if region.memory == Memory::Dram {
        let needed = worst_case_bytes(program, tensor, region.tiles);
        problems.require(
            end.is_some() && region.size >= needed,
            Code::BadRegion,
            &place,
            || {
                format!(
                    "{} bytes do not hold the worst case of {needed}",
                    region.size
                )
            },
        );
    } else {
        let capacity = program.machine.ram_elements(region.memory);
        let fits = region.size > 0 && end.is_some_and(|end| end <= capacity);
        problems.require(fits, Code::BadRegion, &place, || {
            format!(
                "{} elements at {} are not inside the RAM of {capacity}",
                region.size, region.base
            )
        });
    }
}

/// Bytes that some tiles of a tensor take in DRAM if no value is zero.
fn worst_case_bytes(program: &Program, tensor: &Tensor, tiles: Span) -> u64 {
    let format = program.machine.activation_format();
    let layout = &tensor.layout;
    let cells = |grid: Grid| (0..grid.count()).map(move |i| (i / grid.cols, i % grid.cols));
    let tiles = tiles
        .iter()
        .filter_map(|tile| layout.tiles.get(tile as usize));
    let per_channel: u64 = tiles
        .flat_map(|tile| cells(tile.pes()).map(|(row, col)| tile.pe_rect(row, col)))
        .map(|rect| {
            cells(layout.residues)
                .filter(|&(ry, rx)| layout.has_block(rect, ry, rx))
                .map(|(ry, rx)| format.block_bytes(layout.block_positions(rect, ry, rx)))
                .sum::<u64>()
        })
        .sum();
    per_channel.saturating_mul(u64::from(tensor.channels()))
}

fn overlaps(program: &Program, problems: &mut Problems) {
    let mut dram: Vec<&Region> = program
        .regions
        .iter()
        .filter(|r| r.memory == Memory::Dram)
        .collect();
    dram.sort_by_key(|region| region.base);
    for pair in dram.windows(2) {
        let apart = pair[0].base.saturating_add(pair[0].size) <= pair[1].base;
        problems.require(
            apart,
            Code::BadRegion,
            &format!("region {}", pair[1].name),
            || format!("it overlaps the region {} in DRAM", pair[0].name),
        );
    }
}

fn values(program: &Program, problems: &mut Problems) {
    for value in &program.values {
        let place = format!("value {}", value.name);
        let elements = value
            .shape
            .iter()
            .try_fold(1u64, |all, &d| all.checked_mul(d));
        problems.require(
            elements.is_some_and(|e| e <= MAX_ELEMENTS),
            Code::BadValue,
            &place,
            || format!("{:?} has more than 2^31 values", value.shape),
        );
        let declared = value.declared.is_none_or(|declared| {
            let floats = [Dtype::F16, Dtype::F32, Dtype::F64];
            floats.contains(&declared) && floats.contains(&value.dtype)
        });
        problems.require(declared, Code::BadValue, &place, || {
            format!(
                "{:?} has no form at the border in {:?}",
                value.dtype, value.declared
            )
        });
        let Some(id) = value.region else { continue };
        let Some(region) = program.regions.get(id.index()) else {
            problems.add(Code::BadValue, place, "its region does not exist");
            continue;
        };
        let Some(tensor) = program.tensors.get(region.tensor.index()) else {
            continue;
        };
        let whole = region.memory == Memory::Dram
            && region.tiles == Span::new(0, tensor.layout.tiles.len() as u32);
        problems.require(whole, Code::BadValue, &place, || {
            "its region is not all of a tensor in DRAM".to_owned()
        });
        if let Some(placement) = &value.placement {
            problems.require(
                placement.shape() == Some(tensor.shape),
                Code::BadValue,
                &place,
                || {
                    format!(
                        "its placement {placement} is none of its tensor {:?}",
                        tensor.shape
                    )
                },
            );
        }
        problems.require(
            elements == Some(tensor.elements()),
            Code::BadValue,
            &place,
            || {
                format!(
                    "{:?} has another number of values than its tensor {:?}",
                    value.shape, tensor.shape
                )
            },
        );
    }
    let segments = program
        .segments
        .iter()
        .flat_map(|s| s.inputs.iter().chain(&s.outputs));
    for id in program
        .inputs
        .iter()
        .chain(&program.outputs)
        .chain(segments)
    {
        if program.values.get(id.index()).is_none() {
            problems.add(Code::BadValue, id.to_string(), "it does not exist");
        }
    }
}

fn source_map(program: &Program, problems: &mut Problems) {
    let mut end = 0;
    for range in &program.source_map {
        let span = range.instructions;
        let sound = !span.is_empty()
            && !range.nodes.is_empty()
            && span.begin >= end
            && span.end as usize <= program.code.len();
        problems.require(
            sound,
            Code::BadSourceMap,
            &format!("source range {span}"),
            || "ranges must be ascending, disjoint, inside the code, and name nodes".to_owned(),
        );
        end = span.end;
    }
}
