//! Programs of any form, for property tests: names are unique and references exist, the rest is anything.

use super::{
    Dtype, HostSegment, Memory, Program, Provenance, Ranges, Region, Runtime, Section, SectionKind,
    SourceRange, Tensor, Value,
};
use crate::arith::Rounding;
use crate::ids::{RegionId, SectionId, TensorId, ValueId};
use crate::instruction;
use crate::layer::{
    Approximation, ArrayStage, Function, Layer, Operand, OperandKind, OperandShape, Pass, Pool,
    PoolKind, PpuStage, View, WeightOrder,
};
use crate::layout::{Grid, Layout, Tile};
use crate::machine::Machine;
use crate::placement::tests::placements;
use crate::plane::{Axis, Rect, Span};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Entries of every table.
const ENTRIES: u32 = 3;

fn names() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[a-z_/][a-zA-Z0-9_./:]{0,12}",
        "(none|by|in|true|7x7|-1|#3|0\\.\\.8)",
        "\\PC{0,8}",
        ".{0,6}"
    ];
    let unique = |names: Vec<String>| {
        let mut taken: Vec<String> = Vec::new();
        for mut name in names {
            while taken.contains(&name) {
                name.push('\'');
            }
            taken.push(name);
        }
        taken
    };
    vec(name, ENTRIES as usize).prop_map(unique)
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![(0u32..40, 0u32..40), (any::<u32>(), any::<u32>())]
        .prop_map(|(a, b)| Span::new(a.min(b), a.max(b)))
}

fn grid() -> impl Strategy<Value = Grid> {
    (1u32..20, 1u32..20).prop_map(|(rows, cols)| Grid::new(rows, cols))
}

fn rect() -> impl Strategy<Value = Rect> {
    (span(), span(), span()).prop_map(|(n, y, x)| Rect { n, y, x })
}

fn tile() -> impl Strategy<Value = Tile> {
    let uniform = (rect(), 1u32..9, 1u32..9)
        .prop_map(|(rect, rows, cols)| Tile::uniform(rect, Grid::new(rows, cols), Grid::ONE))
        .boxed();
    let any_cuts = || vec(0u32..50, 0..6);
    let free = (grid(), any_cuts(), any_cuts(), any_cuts()).prop_map(|(images, n, y, x)| Tile {
        images,
        n,
        y,
        x,
    });
    prop_oneof![uniform, free]
}

fn axis() -> impl Strategy<Value = Axis> {
    let pad = any::<[i32; 2]>();
    (any::<[u32; 2]>(), any::<[u8; 4]>(), pad).prop_map(
        |([input, output], [kernel, stride, upsample, dilation], pad)| Axis {
            input,
            output,
            kernel: kernel.into(),
            stride: stride.into(),
            upsample: upsample.into(),
            dilation: dilation.into(),
            pad,
        },
    )
}

fn view() -> impl Strategy<Value = View> {
    (0..ENTRIES, span()).prop_map(|(tensor, channels)| View {
        tensor: TensorId(tensor),
        channels,
    })
}

fn section() -> impl Strategy<Value = SectionId> {
    (0..ENTRIES).prop_map(SectionId)
}

fn array_stage() -> impl Strategy<Value = ArrayStage> {
    let channel_groups = prop_oneof![
        vec(span(), 0..5),
        (1u32..9, 1u32..70).prop_map(|(kc, k)| (0..k.div_ceil(kc))
            .map(|i| Span::new(i * kc, k.min((i + 1) * kc)))
            .collect()),
    ];
    let order = select(vec![WeightOrder::Krs, WeightOrder::Rsk]);
    (
        any::<u32>(),
        axis(),
        axis(),
        grid(),
        channel_groups,
        order,
        section(),
        any::<u8>(),
    )
        .prop_map(
            |(groups, y, x, pe_groups, channel_groups, order, weights, product_shift)| ArrayStage {
                groups,
                y,
                x,
                pe_groups,
                channel_groups,
                order,
                weights,
                product_shift,
            },
        )
}

fn ppu_stage() -> impl Strategy<Value = PpuStage> {
    let kind = select(vec![OperandKind::Add, OperandKind::Multiply]);
    let shape = select(vec![OperandShape::Same, OperandShape::PerChannel]);
    let operand = (view(), kind, shape, any::<i32>(), any::<u8>()).prop_map(
        |(view, kind, shape, multiplier, shift)| Operand {
            view,
            kind,
            shape,
            multiplier,
            shift,
        },
    );
    let function = prop_oneof![
        section().prop_map(Function::Leaky),
        section().prop_map(Function::Table)
    ];
    let error = any::<f32>().prop_filter("finite", |error| error.is_finite());
    let approximation = (".{0,12}", error).prop_map(|(function, largest_error)| Approximation {
        function,
        largest_error,
    });
    let kind = select(vec![
        PoolKind::Max,
        PoolKind::Average,
        PoolKind::AverageWithPadding,
    ]);
    let pool = (kind, axis(), axis(), any::<i32>(), any::<u8>()).prop_map(
        |(kind, y, x, multiplier, shift)| Pool {
            kind,
            y,
            x,
            multiplier,
            shift,
        },
    );
    (
        section(),
        any::<u8>(),
        option::of(operand),
        option::of(function),
        any::<u8>(),
        option::of(approximation),
        any::<[i16; 2]>(),
        option::of(pool),
        select(vec![
            (Rounding::Away, 1.0),
            (Rounding::Even, 1.0),
            (Rounding::Even, 0.3),
        ]),
    )
        .prop_map(
            |(
                requantise,
                source_shift,
                operand,
                function,
                slope_exponent,
                approximates,
                clamp,
                pool,
                (rounding, divisor),
            )| PpuStage {
                requantise,
                source_shift,
                rounding,
                divisor,
                operand,
                function,
                slope_exponent,
                approximates,
                clamp,
                pool,
            },
        )
}

fn layer() -> impl Strategy<Value = Layer> {
    let pass = (rect(), any::<u32>()).prop_map(|(output, source_tile)| Pass {
        output,
        source_tile,
    });
    (
        view(),
        view(),
        option::of(array_stage()),
        ppu_stage(),
        vec(pass, 0..3),
    )
        .prop_map(|(source, destination, array, ppu, passes)| Layer {
            name: String::new(),
            source,
            destination,
            array,
            ppu,
            passes,
        })
}

fn tensor() -> impl Strategy<Value = Tensor> {
    let scale = any::<f32>().prop_filter("finite", |scale| scale.is_finite());
    (
        any::<[u32; 4]>(),
        any::<[i16; 2]>(),
        scale,
        vec(any::<u8>(), 0..3),
        grid(),
        grid(),
        vec(tile(), 0..3),
    )
        .prop_map(
            |(shape, range, scale, channel_shifts, groups, residues, tiles)| Tensor {
                name: String::new(),
                shape,
                range,
                scale,
                channel_shifts,
                layout: Layout {
                    groups,
                    residues,
                    tiles,
                },
            },
        )
}

fn region() -> impl Strategy<Value = Region> {
    let memory = select(vec![Memory::A, Memory::B, Memory::Dram]);
    (0..ENTRIES, span(), memory, any::<u64>(), any::<u64>()).prop_map(
        |(tensor, tiles, memory, base, size)| Region {
            name: String::new(),
            tensor: TensorId(tensor),
            tiles,
            memory,
            base,
            size,
        },
    )
}

fn constants() -> impl Strategy<Value = Section> {
    let kind = select(vec![
        SectionKind::Weights,
        SectionKind::Requantise,
        SectionKind::Table,
        SectionKind::Slopes,
    ]);
    (kind, vec(any::<u8>(), 0..300)).prop_map(|(kind, bytes)| Section {
        name: String::new(),
        kind,
        bytes,
    })
}

fn value() -> impl Strategy<Value = Value> {
    let dtype = select(vec![Dtype::F32, Dtype::I64, Dtype::Bool]);
    let declared = option::of(select(vec![Dtype::F16, Dtype::F64]));
    let region = option::of((0..ENTRIES).prop_map(RegionId));
    let placement = option::of(placements());
    let parts = (dtype, declared, vec(any::<u64>(), 0..5), region, placement);
    parts.prop_map(|(dtype, declared, shape, region, placement)| Value {
        name: String::new(),
        dtype,
        declared,
        shape,
        region,
        placement: placement.filter(|placement| !placement.factors().is_empty()),
    })
}

fn value_ids() -> impl Strategy<Value = Vec<ValueId>> {
    vec((0..ENTRIES).prop_map(ValueId), 0..4)
}

fn segment() -> impl Strategy<Value = HostSegment> {
    let runtime = select(vec![Runtime::Tract, Runtime::OnnxRuntime]);
    let model = vec(any::<u8>(), 0..200);
    (model, value_ids(), value_ids(), runtime).prop_map(|(model, inputs, outputs, runtime)| {
        HostSegment {
            name: String::new(),
            model,
            inputs,
            outputs,
            runtime,
        }
    })
}

fn provenance() -> impl Strategy<Value = Provenance> {
    let ranges = select(vec![Ranges::Proven, Ranges::Calibrated]);
    (
        any::<String>(),
        any::<String>(),
        any::<String>(),
        vec(any::<String>(), 0..3),
        ranges,
    )
        .prop_map(|(tool, model, model_hash, options, ranges)| Provenance {
            tool,
            model,
            model_hash,
            options,
            ranges,
        })
}

/// Entries that got the names.
fn named<T>(entries: Vec<T>, names: Vec<String>, name: impl Fn(&mut T) -> &mut String) -> Vec<T> {
    let give = |(mut entry, new): (T, String)| {
        *name(&mut entry) = new;
        entry
    };
    entries.into_iter().zip(names).map(give).collect()
}

fn table<T: std::fmt::Debug>(
    entry: impl Strategy<Value = T>,
    name: impl Fn(&mut T) -> &mut String + Copy,
) -> impl Strategy<Value = Vec<T>> {
    (vec(entry, ENTRIES as usize), names())
        .prop_map(move |(entries, names)| named(entries, names, name))
}

/// Ranges of `length` instructions that may stand in a source map.
fn source_map(length: u32) -> impl Strategy<Value = Vec<SourceRange>> {
    let ends = vec(0..=length, 0..8);
    (ends, vec(vec(any::<String>(), 1..3), 8), any::<bool>()).prop_map(|(mut ends, nodes, gaps)| {
        ends.sort_unstable();
        ends.dedup();
        let spans = ends
            .windows(2)
            .map(|pair| Span::new(pair[0], pair[1]))
            .step_by(if gaps { 2 } else { 1 });
        spans
            .zip(nodes)
            .map(|(instructions, nodes)| SourceRange {
                instructions,
                nodes,
            })
            .collect()
    })
}

/// Any program.
pub(crate) fn programs() -> impl Strategy<Value = Program> {
    let machine = select(
        Machine::presets()
            .filter_map(|(name, _)| Machine::preset(name))
            .collect::<Vec<_>>(),
    );
    let tables = (
        table(tensor(), |t| &mut t.name),
        table(region(), |r| &mut r.name),
        table(layer(), |l| &mut l.name),
        table(constants(), |s| &mut s.name),
        table(value(), |v| &mut v.name),
        table(segment(), |s| &mut s.name),
    );
    let code = vec(instruction::tests::instructions(), 0..20)
        .prop_flat_map(|code| (source_map(code.len() as u32), Just(code)));
    (
        machine,
        provenance(),
        tables,
        value_ids(),
        value_ids(),
        code,
    )
        .prop_map(
            |(
                machine,
                provenance,
                (tensors, regions, layers, sections, values, segments),
                inputs,
                outputs,
                (source_map, code),
            )| {
                Program {
                    machine,
                    provenance,
                    tensors,
                    regions,
                    layers,
                    sections,
                    values,
                    segments,
                    inputs,
                    outputs,
                    code,
                    source_map,
                }
            },
        )
}
