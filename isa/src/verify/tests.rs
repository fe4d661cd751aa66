use super::*;
use crate::arith::{MAX_CHANNEL_SHIFT, Requantise, Rounding};
use crate::ids::{LayerId, RegionId, SectionId, TensorId, ValueId};
use crate::instruction::Instruction;
use crate::layer::{ArrayStage, Layer, Pass, Pool, PoolKind, PpuStage, View, WeightOrder};
use crate::layout::{Grid, Layout};
use crate::machine::Machine;
use crate::plane::{Axis, Rect, Span};
use crate::program::{
    Dtype, Memory, Provenance, Ranges, Region, Section, SectionKind, SourceRange, Tensor, Value,
};
use crate::section::{encode_requantise, encode_weights};

/// A 3x3 convolution of 2 to 4 channels on an 8x8 plane, from input to output.
#[allow(clippy::too_many_lines)] // A table.
pub(crate) fn sample() -> Program {
    let machine = Machine::preset("scnn").unwrap();
    let tensor = |name: &str, channels| Tensor {
        name: name.into(),
        shape: [1, channels, 8, 8],
        range: [-32767, 32767],
        scale: 0.5,
        channel_shifts: Vec::new(),
        layout: Layout::whole(Rect::plane(1, 8, 8), machine.pes()),
    };
    let region = |name: &str, tensor, memory, base, size| Region {
        name: name.into(),
        tensor: TensorId(tensor),
        tiles: Span::new(0, 1),
        memory,
        base,
        size,
    };
    let view = |tensor, channels| View {
        tensor: TensorId(tensor),
        channels: Span::new(0, channels),
    };
    let axis = Axis {
        kernel: 3,
        pad: [1, 1],
        ..Axis::identity(8)
    };
    let array = ArrayStage {
        groups: 1,
        y: axis,
        x: axis,
        pe_groups: Grid::ONE,
        channel_groups: vec![Span::new(0, 2), Span::new(2, 4)],
        order: WeightOrder::Krs,
        weights: SectionId(0),
        product_shift: 8,
    };
    let weights = encode_weights(
        machine.weight_format(),
        &array,
        2,
        4,
        Grid::ONE,
        |k, c, r, s| {
            if (k + c + r + s) % 2 == 0 { 100 } else { 0 }
        },
    );
    let rounds = Span::new(0, 2);
    let value = |name: &str, channels, region| Value {
        name: name.into(),
        dtype: Dtype::F32,
        declared: None,
        shape: vec![1, channels, 8, 8],
        region: Some(RegionId(region)),
        placement: None,
    };
    Program {
        provenance: Provenance {
            tool: "test".into(),
            ..Provenance::default()
        },
        tensors: vec![tensor("x", 2), tensor("y", 4)],
        regions: vec![
            region("x.dram", 0, Memory::Dram, 0, 1024),
            region("x.a", 0, Memory::A, 0, 16),
            region("y.dram", 1, Memory::Dram, 1024, 2048),
        ],
        layers: vec![Layer {
            name: "conv".into(),
            source: view(0, 2),
            destination: view(1, 4),
            array: Some(array),
            ppu: PpuStage {
                requantise: SectionId(1),
                source_shift: 0,
                rounding: Rounding::Away,
                divisor: 1.0,
                operand: None,
                function: None,
                slope_exponent: 0,
                approximates: None,
                clamp: [0, 32767],
                pool: None,
            },
            passes: vec![Pass {
                output: Rect::plane(1, 8, 8),
                source_tile: 0,
            }],
        }],
        sections: vec![
            Section {
                name: "w".into(),
                kind: SectionKind::Weights,
                bytes: weights,
            },
            Section {
                name: "q".into(),
                kind: SectionKind::Requantise,
                bytes: encode_requantise(&[Requantise::IDENTITY; 4], Rounding::Away),
            },
        ],
        values: vec![value("in", 2, 0), value("out", 4, 2)],
        segments: vec![],
        inputs: vec![ValueId(0)],
        outputs: vec![ValueId(1)],
        code: vec![
            Instruction::Cfg { layer: LayerId(0) },
            Instruction::Lda {
                from: RegionId(0),
                to: RegionId(1),
            },
            Instruction::Ldw { rounds },
            Instruction::Mac {
                pass: 0,
                rounds,
                channels: Span::new(0, 2),
                from: RegionId(1),
                half: 0,
            },
            Instruction::Drn {
                pass: 0,
                rounds,
                to: RegionId(2),
                operand: None,
                half: 0,
            },
            Instruction::End {},
        ],
        source_map: vec![SourceRange {
            instructions: Span::new(0, 5),
            nodes: vec!["/conv".into()],
        }],
        machine,
    }
}

/// The code of the first problem of the sample after `spoil`.
fn spoiled(spoil: impl FnOnce(&mut Program)) -> Code {
    let mut program = sample();
    spoil(&mut program);
    verify(&program).unwrap_err()[0].code
}

#[test]
fn the_sample_is_valid() {
    assert_eq!(verify(&sample()), Ok(()));
}

#[test]
fn names_are_unique() {
    assert_eq!(spoiled(|p| p.tensors[1].name = "x".into()), Code::BadTable);
}

#[test]
fn a_scale_is_positive() {
    assert_eq!(spoiled(|p| p.tensors[0].scale = f32::NAN), Code::BadTable);
}

#[test]
fn a_unit_is_halved_in_every_channel_or_in_none_and_not_more_often_than_parts_differ() {
    let shifted = |shifts: &[u8]| spoiled(|p| p.tensors[0].channel_shifts = shifts.to_vec());
    assert_eq!(shifted(&[1]), Code::BadTable);
    assert_eq!(shifted(&[0, MAX_CHANNEL_SHIFT + 1]), Code::BadTable);
    let mut program = sample();
    program.tensors[0].channel_shifts = vec![0, MAX_CHANNEL_SHIFT];
    assert_eq!(verify(&program), Ok(()));
}

#[test]
fn the_smallest_integer_is_not_used() {
    assert_eq!(
        spoiled(|p| p.tensors[0].range[0] = i16::MIN),
        Code::BadTable
    );
}

#[test]
fn tiles_cover_the_plane() {
    assert_eq!(
        spoiled(|p| *p.tensors[0].layout.tiles[0].y.last_mut().unwrap() = 7),
        Code::BadLayout
    );
}

#[test]
fn tiles_are_cut_over_exactly_the_pes() {
    assert_eq!(
        spoiled(|p| {
            p.tensors[0].layout.tiles[0].y.pop();
        }),
        Code::BadLayout
    );
}

#[test]
fn a_region_lies_inside_its_ram() {
    assert_eq!(spoiled(|p| p.regions[1].base = 4090), Code::BadRegion);
}

#[test]
fn a_dram_region_holds_the_worst_case() {
    assert_eq!(spoiled(|p| p.regions[0].size = 100), Code::BadRegion);
}

#[test]
fn dram_regions_do_not_overlap() {
    assert_eq!(spoiled(|p| p.regions[2].base = 512), Code::BadRegion);
}

/// The first message about the sample's one layer, whose array stage is changed.
fn said_of_array(change: impl FnOnce(&mut ArrayStage)) -> String {
    let mut program = sample();
    change(program.layers[0].array.as_mut().unwrap());
    let problems = verify(&program).unwrap_err();
    assert_eq!(
        (problems[0].code, &*problems[0].place),
        (Code::BadLayer, "layer conv")
    );
    problems[0].message.clone()
}

#[test]
fn every_extent_of_an_axis_is_positive_and_bounded() {
    let changes: [fn(&mut Axis); 14] = [
        |axis| axis.input = 9,
        |axis| axis.output = 0,
        |axis| axis.kernel = 0,
        |axis| axis.stride = 0,
        |axis| axis.upsample = 0,
        |axis| axis.dilation = 0,
        |axis| axis.output = 65_537,
        |axis| axis.kernel = 65_537,
        |axis| axis.stride = 65_537,
        |axis| axis.upsample = 65_537,
        |axis| axis.dilation = 65_537,
        |axis| axis.pad[0] = 65_537,
        |axis| axis.pad[1] = -65_537,
        |axis| axis.pad = [i32::MIN; 2],
    ];
    for change in changes {
        for said in [
            said_of_array(|array| change(&mut array.y)),
            said_of_array(|array| change(&mut array.x)),
        ] {
            assert!(
                said.contains("an axis over 8 positions is not possible"),
                "{said}"
            );
        }
    }
}

#[test]
fn each_rule_of_an_array_stage_is_told_by_name() {
    let groups = |groups: &[(u32, u32)]| {
        let spans = groups
            .iter()
            .map(|&(begin, end)| Span::new(begin, end))
            .collect();
        said_of_array(|array| array.channel_groups = spans)
    };
    let cases = [
        (
            said_of_array(|array| array.groups = 0),
            "0 groups do not divide 2 and 4 channels",
        ),
        (
            said_of_array(|array| array.groups = 4),
            "4 groups do not divide 2 and 4 channels",
        ),
        (
            said_of_array(|array| array.product_shift = 31),
            "the product shift 31 is above 30",
        ),
        (
            said_of_array(|array| array.pe_groups = Grid::new(2, 1)),
            "its PE groups are not",
        ),
        (
            groups(&[]),
            "0 output-channel groups are no whole number of rounds",
        ),
        (groups(&[(0, 2)]), "end at 2 of 4"),
        (groups(&[(0, 1), (2, 4)]), "does not follow the one before"),
        (groups(&[(0, 3), (2, 4)]), "does not follow the one before"),
        (groups(&[(0, 2), (2, 5)]), "does not follow the one before"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said}, not {expected}");
    }
}

#[test]
fn pooling_is_checked_along_both_axes() {
    type Change = fn(&mut Pool);
    let said = |change: Change| {
        let mut program = sample();
        let mut pool = Pool {
            kind: PoolKind::Max,
            y: Axis::identity(8),
            x: Axis::identity(8),
            multiplier: 1,
            shift: 30,
        };
        change(&mut pool);
        program.layers[0].ppu.pool = Some(pool);
        verify(&program)
            .err()
            .map(|problems| problems[0].message.clone())
    };
    assert_eq!(said(|_| ()), None);
    let changes: [(Change, &str); 5] = [
        (|pool| pool.y.upsample = 2, "pooling does not upsample"),
        (|pool| pool.x.upsample = 2, "pooling does not upsample"),
        (|pool| pool.shift = 31, "the pooling's shift is 31"),
        (|pool| pool.y.input = 7, "an axis over 8 positions"),
        (|pool| pool.x.kernel = 0, "an axis over 8 positions"),
    ];
    for (change, expected) in changes {
        let said = said(change).unwrap();
        assert!(said.contains(expected), "{said}, not {expected}");
    }
}

#[test]
fn a_layer_fits_its_destination() {
    assert_eq!(
        spoiled(|p| p.layers[0].array.as_mut().unwrap().y.output = 7),
        Code::BadLayer
    );
}

#[test]
fn channel_groups_partition_the_output_channels() {
    assert_eq!(
        spoiled(|p| p.layers[0].array.as_mut().unwrap().channel_groups[1].begin = 3),
        Code::BadLayer
    );
}

#[test]
fn a_channel_group_does_not_straddle_convolution_groups() {
    assert_eq!(
        spoiled(|p| {
            let array = p.layers[0].array.as_mut().unwrap();
            (array.groups, array.channel_groups) = (2, vec![Span::new(0, 3), Span::new(3, 4)]);
        }),
        Code::BadLayer
    );
}

#[test]
fn pe_groups_need_multicast() {
    assert_eq!(
        spoiled(|p| p.layers[0].array.as_mut().unwrap().pe_groups = Grid::new(2, 1)),
        Code::BadLayer
    );
}

#[test]
fn passes_partition_the_output() {
    assert_eq!(
        spoiled(|p| p.layers[0].passes[0].output.y.end = 7),
        Code::BadLayer
    );
}

#[test]
fn a_channel_group_fits_the_accumulators() {
    assert_eq!(
        spoiled(|p| (p.machine.pe.banks, p.machine.pe.entries_per_bank) = (1, 17)),
        Code::AccumulatorsExceeded
    );
}

#[test]
fn sections_are_exactly_what_the_layer_asks_for() {
    assert_eq!(spoiled(|p| p.sections[0].bytes.push(0)), Code::BadSection);
    assert_eq!(spoiled(|p| p.sections[1].bytes.clear()), Code::BadSection);
}

#[test]
fn proven_ranges_are_proven() {
    assert_eq!(
        spoiled(|p| p.layers[0].array.as_mut().unwrap().product_shift = 0),
        Code::SumOverflow
    );
}

#[test]
fn calibrated_ranges_stay_where_an_overflow_is_seen() {
    let calibrated = |weight: i16| {
        let mut program = sample();
        program.provenance.ranges = Ranges::Calibrated;
        let format = program.machine.weight_format();
        let array = program.layers[0].array.as_mut().unwrap();
        array.product_shift = 0;
        program.sections[0].bytes =
            encode_weights(format, array, 2, 4, Grid::ONE, |_, _, _, _| weight);
        verify(&program)
    };
    assert_eq!(calibrated(100), Ok(()));
    assert_eq!(calibrated(i16::MAX).unwrap_err()[0].code, Code::SumOverflow);
}

#[test]
fn a_region_is_written_before_it_is_read() {
    assert_eq!(
        spoiled(|p| {
            p.code.remove(1);
            p.source_map[0].instructions.end -= 1;
        }),
        Code::BadCode
    );
}

#[test]
fn rounds_are_streamed_before_they_are_multiplied() {
    assert_eq!(
        spoiled(|p| {
            p.code.remove(2);
            p.source_map[0].instructions.end -= 1;
        }),
        Code::BadCode
    );
}

#[test]
fn what_is_accumulated_is_drained() {
    assert_eq!(
        spoiled(|p| {
            p.code.remove(4);
            p.source_map[0].instructions.end -= 1;
        }),
        Code::BadCode
    );
}

#[test]
fn halves_alternate() {
    assert_eq!(
        spoiled(|p| {
            for instruction in &mut p.code {
                if let Instruction::Mac { half, .. } | Instruction::Drn { half, .. } = instruction {
                    *half = 1;
                }
            }
        }),
        Code::BadCode
    );
}

#[test]
fn code_ends_with_end() {
    assert_eq!(
        spoiled(|p| {
            p.code.pop();
        }),
        Code::BadCode
    );
}

#[test]
fn values_fit_their_tensors() {
    assert_eq!(spoiled(|p| p.values[0].shape[1] = 3), Code::BadValue);
}

#[test]
fn the_source_map_lies_inside_the_code() {
    assert_eq!(
        spoiled(|p| p.source_map[0].instructions.end = 99),
        Code::BadSourceMap
    );
}

/// Regions are counted over the PEs of their tensor's tiles, which must be sound before.
#[test]
fn an_absurd_division_of_images_is_a_bad_layout() {
    assert_eq!(
        spoiled(|p| p.tensors[0].layout.tiles[0].images = Grid::new(u32::MAX, u32::MAX)),
        Code::BadLayout
    );
}

/// A few bytes cannot ask for more than the limits.
#[test]
fn a_program_asks_for_no_more_than_its_limits() {
    let tensor = |p: &mut Program| p.tensors[0].shape = [1 << 16, 1 << 16, 1 << 16, 1];
    let kernel = |p: &mut Program| p.layers[0].array.as_mut().unwrap().y.kernel = u32::MAX;
    let passes = |p: &mut Program| p.layers[0].passes[0].output.y.end = u32::MAX;
    // A load keeps what it brings of every channel.
    let loads = |p: &mut Program| {
        let is_load = |instruction: &&Instruction| matches!(instruction, Instruction::Lda { .. });
        let load = *p.code.iter().find(is_load).unwrap();
        p.code.splice(0..0, std::iter::repeat_n(load, 1 << 15));
    };
    for spoil in [tensor, kernel, passes, loads] {
        let mut program = sample();
        spoil(&mut program);
        let small = Limits {
            memory_bytes: 1 << 20,
            work: 1 << 20,
        };
        let problems = verify_within(&program, &small).unwrap_err();
        assert_eq!(problems[0].code, Code::ProgramTooLarge, "{problems:?}");
    }
    assert_eq!(verify_within(&sample(), &Limits::default()), Ok(()));
}
