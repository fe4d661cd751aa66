//! Layer descriptors: extents, groups, views, passes, accumulators, sections, and the proof that no sum overflows.

#[cfg(test)]
mod tests;

use super::Problems;
use super::tables::covered;
use crate::arith::{self, MAX_PRODUCT_SHIFT, MAX_SLOPE_EXPONENT, Rounding};
use crate::codec::positions;
use crate::diagnostic::Code;
use crate::ids::SectionId;
use crate::layer::{ArrayStage, Function, Layer, View};
use crate::legal::{self, Convolution, Form, Window};
use crate::machine::Delivery;
use crate::plane::{Axis, Rect, Span, TapPhases};
use crate::program::{Program, Ranges, SectionKind, Tensor};
use crate::section::{WeightBlocks, decode_requantise, decode_slopes, decode_tables};
use rayon::prelude::*;

/// Largest shift after pooling in fixed point; keeps intermediates inside 64 bits.
const MAX_POOL_SHIFT: u8 = 30;

pub(super) fn check(program: &Program, problems: &mut Problems) {
    let checked: Vec<CheckedLayer> = program
        .layers
        .par_iter()
        .map(|layer| check_layer(program, layer))
        .collect();
    for (layer, checked) in program.layers.iter().zip(checked) {
        if let Err((code, message)) = checked {
            problems.add(code, format!("layer {}", layer.name), message);
        }
    }
}

type CheckedLayer = Result<(), (Code, String)>;

fn require(holds: bool, code: Code, message: impl FnOnce() -> String) -> CheckedLayer {
    if holds {
        Ok(())
    } else {
        Err((code, message()))
    }
}

fn check_layer(program: &Program, layer: &Layer) -> CheckedLayer {
    let source = view(program, layer.source, "source")?;
    let destination = view(program, layer.destination, "destination")?;
    let operand = match &layer.ppu.operand {
        None => None,
        Some(operand) => {
            let tensor = view(program, operand.view, "operand")?;
            let most = layer.ppu.rounding.largest_shift();
            require(operand.shift <= most, Code::BadLayer, || {
                format!("the operand's shift is {}", operand.shift)
            })?;
            check_multiplier(operand.multiplier, layer.ppu.rounding)?;
            legal::operand(program.machine.ppu.multiply, operand.kind, operand.shape)
                .map_err(|rule| (Code::BadLayer, rule))?;
            Some((operand.shape, shape(tensor, operand.view)))
        }
    };
    let form = Form {
        source: shape(source, layer.source),
        array: layer.array.as_ref().map(|array| Convolution {
            groups: array.groups,
            y: array.y,
            x: array.x,
        }),
        operand,
        pool: layer.ppu.pool.as_ref().map(|pool| Window {
            kind: pool.kind,
            y: pool.y,
            x: pool.x,
        }),
        destination: shape(destination, layer.destination),
    };
    legal::layer(&form).map_err(|rule| (Code::BadLayer, rule))?;
    if let Some(array) = &layer.array {
        check_array(program, layer, array, source)?;
    }
    let shift = layer.ppu.source_shift;
    let most = if layer.array.is_some() {
        0
    } else {
        arith::MAX_SOURCE_SHIFT
    };
    require(shift <= most, Code::BadLayer, || {
        format!("the source shift {shift} is above {most}")
    })?;
    if let Some(pool) = &layer.ppu.pool {
        let most = match layer.ppu.rounding {
            Rounding::Away => MAX_POOL_SHIFT,
            Rounding::Even => Rounding::Even.largest_shift(),
        };
        check_multiplier(pool.multiplier, layer.ppu.rounding)?;
        require(pool.shift <= most, Code::BadLayer, || {
            format!("the pooling's shift is {}", pool.shift)
        })?;
    }
    let divisor = layer.ppu.divisor;
    let divides = divisor.is_normal() && divisor > 0.0;
    let is_used = layer.ppu.rounding == Rounding::Even || divisor == 1.0;
    require(divides && is_used, Code::BadLayer, || {
        format!("it divides by {divisor}: a positive number, 1 where halves go away from zero")
    })?;
    let [low, high] = layer.ppu.clamp;
    let inside = destination.range[0] <= low && low <= high && high <= destination.range[1];
    require(inside, Code::BadLayer, || {
        format!("the clamp {low}..{high} is not inside its destination's range")
    })?;
    check_passes(program, layer, source, destination)?;
    check_sections(program, layer, source)
}

fn check_multiplier(multiplier: i32, rounding: Rounding) -> CheckedLayer {
    let most = rounding.largest_multiplier();
    require(
        multiplier.unsigned_abs() <= most.unsigned_abs(),
        Code::BadLayer,
        || format!("the multiplier {multiplier} is beyond {most} either way"),
    )
}

fn view<'a>(program: &'a Program, view: View, what: &str) -> Result<&'a Tensor, (Code, String)> {
    let tensor = program
        .tensors
        .get(view.tensor.index())
        .ok_or_else(|| (Code::BadLayer, format!("its {what} does not exist")))?;
    let inside = !view.channels.is_empty() && view.channels.end <= tensor.channels();
    require(inside, Code::BadLayer, || {
        format!("its {what} has no channels {}", view.channels)
    })?;
    Ok(tensor)
}

/// `[N, C, H, W]` of a view of a tensor.
fn shape(tensor: &Tensor, view: View) -> [u32; 4] {
    let [n, _, h, w] = tensor.shape;
    [n, view.channels.len(), h, w]
}

fn check_array(
    program: &Program,
    layer: &Layer,
    array: &ArrayStage,
    source: &Tensor,
) -> CheckedLayer {
    let k = layer.destination.channels.len();
    require(
        array.product_shift <= MAX_PRODUCT_SHIFT,
        Code::BadLayer,
        || {
            format!(
                "the product shift {} is above {MAX_PRODUCT_SHIFT}",
                array.product_shift
            )
        },
    )?;
    let multicast = program.machine.weights.delivery == Delivery::Multicast;
    let groups =
        array.pe_groups == source.layout.groups && (array.pe_groups.count() == 1 || multicast);
    require(groups, Code::BadLayer, || {
        "its PE groups are not those of its source".to_owned()
    })?;
    let count = array.channel_groups.len();
    let whole = count > 0
        && count.is_multiple_of(array.pe_groups.count() as usize)
        && array.rounds() <= 0xffff;
    require(whole, Code::BadLayer, || {
        format!("{count} output-channel groups are no whole number of rounds")
    })?;
    let mut next = 0;
    for group in &array.channel_groups {
        let straddles = !group.is_empty()
            && group.begin / (k / array.groups) != (group.end - 1) / (k / array.groups);
        let sound = group.is_empty() || (group.begin == next && group.end <= k && !straddles);
        require(sound, Code::BadLayer, || {
            format!(
                "the output-channel group {group} does not follow the one before inside one convolution group"
            )
        })?;
        next = next.max(group.end);
    }
    require(next == k, Code::BadLayer, || {
        format!("its output-channel groups end at {next} of {k}")
    })
}

fn check_passes(
    program: &Program,
    layer: &Layer,
    source: &Tensor,
    destination: &Tensor,
) -> CheckedLayer {
    let plane = destination.plane();
    let count = layer.passes.len();
    require(count > 0 && count <= 0xffff, Code::BadLayer, || {
        format!("it has {count} passes")
    })?;
    let mut positions = 0;
    for (index, pass) in layer.passes.iter().enumerate() {
        let inside = !pass.output.is_empty() && plane.covers(pass.output);
        require(inside, Code::BadLayer, || {
            format!(
                "pass {index}, {}, is not a part of its destination",
                pass.output
            )
        })?;
        positions += pass.output.positions();
        let tile = source.layout.tiles.get(pass.source_tile as usize);
        let tile = tile.ok_or_else(|| {
            (
                Code::BadLayer,
                format!("pass {index} reads a tile that does not exist"),
            )
        })?;
        let needed = layer.source_rect(pass.output);
        require(tile.rect().covers(needed), Code::BadLayer, || {
            format!(
                "pass {index} needs {needed} of its source, tile {} holds {}",
                pass.source_tile,
                tile.rect()
            )
        })?;
        if let Some(array) = &layer.array {
            accumulators(program, layer, array, pass.output, tile, index)?;
        }
    }
    let rects: Vec<Rect> = layer.passes.iter().map(|pass| pass.output).collect();
    // As many positions as the plane has, and all of them covered: then none twice.
    let partition = positions == plane.positions() && covered(plane, &rects);
    require(partition, Code::BadLayer, || {
        "its passes do not partition its destination".to_owned()
    })
}

fn accumulators(
    program: &Program,
    layer: &Layer,
    array: &ArrayStage,
    output: Rect,
    tile: &crate::layout::Tile,
    index: usize,
) -> CheckedLayer {
    let inner = layer.inner_rect(output);
    let longest = |cuts: &[u32], axis: &Axis, inner: Span| {
        let reach = cuts.windows(2).map(|cut| {
            axis.outputs(Span::new(cut[0], cut[1]))
                .intersect(inner)
                .len()
        });
        u64::from(reach.max().unwrap_or(0))
    };
    let images = tile
        .n
        .windows(2)
        .map(|cut| u64::from(Span::new(cut[0], cut[1]).intersect(inner.n).len()))
        .max();
    let positions = images.unwrap_or(0)
        * longest(&tile.y, &array.y, inner.y)
        * longest(&tile.x, &array.x, inner.x);
    let kc = array
        .channel_groups
        .iter()
        .map(|k| k.len())
        .max()
        .unwrap_or(0);
    let available = u64::from(program.machine.accumulator_entries());
    require(
        u64::from(kc) * positions <= available,
        Code::AccumulatorsExceeded,
        || format!("pass {index} takes {kc} x {positions} accumulators of a PE's {available}"),
    )
}

fn check_sections(program: &Program, layer: &Layer, source: &Tensor) -> CheckedLayer {
    let (inputs, outputs) = (
        layer.source.channels.len(),
        layer.destination.channels.len(),
    );
    let bad = |error: crate::section::SectionError| (Code::BadSection, error.to_string());
    let requantise = bytes(program, layer.ppu.requantise, SectionKind::Requantise)?;
    decode_requantise(requantise, outputs, layer.ppu.rounding).map_err(bad)?;
    check_function(program, layer, outputs)?;
    let Some(array) = &layer.array else {
        return Ok(());
    };
    let section = bytes(program, array.weights, SectionKind::Weights)?;
    let residues = source.layout.residues;
    let format = program.machine.weight_format();
    let blocks =
        WeightBlocks::decode(section, format, array, inputs, outputs, residues).map_err(bad)?;
    // Sums that were only seen to stay in the accumulators are trapped when they do not.
    let bits = match program.provenance.ranges {
        Ranges::Proven => program.machine.pe.accumulator_bits,
        Ranges::Calibrated => arith::SUM_BITS,
    };
    prove_sums(layer, array, &blocks, source, bits)
}

fn check_function(program: &Program, layer: &Layer, outputs: u32) -> CheckedLayer {
    let bad = |error: crate::section::SectionError| (Code::BadSection, error.to_string());
    let exponent = layer.ppu.slope_exponent;
    match layer.ppu.function {
        Some(Function::Leaky(id)) => {
            decode_slopes(bytes(program, id, SectionKind::Slopes)?, outputs).map_err(bad)?;
        }
        Some(Function::Table(id)) => {
            let tables = decode_tables(bytes(program, id, SectionKind::Table)?).map_err(bad)?;
            let (segments, most) = (tables.segments(), program.machine.ppu.table_segments);
            require(segments <= most as usize, Code::BadSection, || {
                format!("a table has {segments} segments of a PPU's {most}")
            })?;
        }
        None => {}
    }
    let leaky = matches!(layer.ppu.function, Some(Function::Leaky(_)));
    let possible = if leaky { MAX_SLOPE_EXPONENT } else { 0 };
    require(exponent <= possible, Code::BadLayer, || {
        format!("the slopes' exponent is {exponent}; at most {possible} is possible here")
    })
}

fn bytes(program: &Program, id: SectionId, kind: SectionKind) -> Result<&[u8], (Code, String)> {
    let section = program
        .sections
        .get(id.index())
        .ok_or_else(|| (Code::BadSection, format!("there is no {id}")))?;
    require(section.kind == kind, Code::BadSection, || {
        format!("section {} is of another kind", section.name)
    })?;
    Ok(&section.bytes)
}

/// No order of additions leaves `bits`: the sums of all positive and of all negative extremes stay inside, of the taps that can
/// meet one output.
fn prove_sums(
    layer: &Layer,
    array: &ArrayStage,
    blocks: &WeightBlocks,
    source: &Tensor,
    bits: u32,
) -> CheckedLayer {
    let (inputs, outputs) = (
        layer.source.channels.len(),
        layer.destination.channels.len(),
    );
    let residues = source.layout.residues;
    let taps = crate::section::residue_taps(array, residues);
    let phases = TapPhases::of(&array.y, &array.x);
    let phase_of = |(r, s): (u32, u32)| phases.of_tap((r * array.x.kernel + s) as usize);
    let [low, high] = source.range;
    let shift = u32::from(array.product_shift);
    let (least, most) = arith::signed_range(bits);
    let bad = array
        .channel_groups
        .par_iter()
        .enumerate()
        .find_map_first(|(group, &k)| {
            let mut bounds = vec![(0i64, 0i64); k.len() as usize * phases.count()];
            for channel in crate::section::group_channels(array, k, inputs, outputs).iter() {
                for (residue, here) in taps.iter().enumerate() {
                    let block = blocks.block(group, channel, residue as u32);
                    for (position, weight) in positions(block) {
                        let (ko, tap) =
                            array
                                .order
                                .split(position as u32, k.len(), here.len() as u32);
                        let tap = here[tap as usize];
                        // A tap that meets several residues is stored for each; an output meets it once.
                        let is_again = taps[..residue].iter().any(|before| before.contains(&tap));
                        let Some(phase) = phase_of(tap).filter(|_| !is_again) else {
                            continue;
                        };
                        let (a, b) = (
                            arith::product(weight, low, shift),
                            arith::product(weight, high, shift),
                        );
                        let bound = &mut bounds[ko as usize * phases.count() + phase];
                        bound.0 += i64::from(a.min(b).min(0));
                        bound.1 += i64::from(a.max(b).max(0));
                    }
                }
            }
            let beyond = |&(low, high): &(i64, i64)| low < least || high > most;
            let at = bounds.iter().position(beyond)?;
            Some((k.begin + (at / phases.count()) as u32, bounds[at]))
        });
    match bad {
        None => Ok(()),
        Some((k, (low, high))) => Err((
            Code::SumOverflow,
            format!("the sums of output channel {k} reach {low}..{high}, beyond {bits} bits"),
        )),
    }
}
