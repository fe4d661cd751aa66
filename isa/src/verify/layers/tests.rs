//! Rules of layers that depend on their tensors, by their words.

use crate::arith::Table;
use crate::diagnostic::Code;
use crate::ids::{SectionId, TensorId};
use crate::layer::{Function, Operand, OperandKind, OperandShape, View};
use crate::machine::Multiply;
use crate::plane::Span;
use crate::program::{Program, Section, SectionKind};
use crate::section::encode_tables;
use crate::verify::tests::sample;
use crate::verify::verify;

/// The code and the words of the first problem of the sample after a change.
fn said(change: impl FnOnce(&mut Program)) -> (Code, String) {
    let mut program = sample();
    change(&mut program);
    let problem = verify(&program).unwrap_err().swap_remove(0);
    (problem.code, problem.message)
}

/// Activations below zero alone: only the least sum overflows.
#[test]
fn the_least_sum_is_proven_as_the_greatest_is() {
    let (code, message) = said(|p| {
        p.tensors[0].range = [-32767, 0];
        p.layers[0].array.as_mut().unwrap().product_shift = 0;
    });
    assert_eq!(code, Code::SumOverflow);
    assert!(message.contains("..0, beyond 24 bits"), "{message}");
}

/// The problem of a layer whose operand is some channels of a tensor, of this kind and shape, on a machine that
/// multiplies so.
fn operand(
    (tensor, channels): (u32, u32),
    (kind, shape): (OperandKind, OperandShape),
    multiply: Multiply,
) -> (Code, String) {
    let channels = Span::new(0, channels);
    let view = View {
        tensor: TensorId(tensor),
        channels,
    };
    said(|p| {
        p.machine.ppu.multiply = multiply;
        p.layers[0].ppu.operand = Some(Operand {
            view,
            kind,
            shape,
            multiplier: 1,
            shift: 0,
        });
    })
}

#[test]
fn an_operand_has_the_shape_of_the_result() {
    let add = (OperandKind::Add, OperandShape::Same);
    // It fits; the code is at fault, which names no operand.
    assert_eq!(operand((1, 4), add, Multiply::None).0, Code::BadCode);
    let per_channel = (OperandKind::Add, OperandShape::PerChannel);
    for (view, how) in [((0, 2), add), ((1, 3), add), ((1, 4), per_channel)] {
        let (code, message) = operand(view, how, Multiply::Full);
        assert_eq!(code, Code::BadLayer);
        assert!(message.contains("the operand is ["), "{message}");
    }
}

#[test]
fn a_machine_multiplies_by_what_it_says() {
    let product = (OperandKind::Multiply, OperandShape::Same);
    for multiply in [Multiply::None, Multiply::Gate] {
        let (code, message) = operand((1, 4), product, multiply);
        assert_eq!(code, Code::BadLayer);
        assert!(message.contains("`ppu.multiply`"), "{message}");
    }
    assert_eq!(operand((1, 4), product, Multiply::Full).0, Code::BadCode);
}

/// The sample with a function of two segments and slopes in units of `exponent`, on a PPU of `segments`.
fn with_table(p: &mut Program, segments: u32, exponent: u8) {
    let table = Table::new(vec![15, 15], vec![0, 1, 2]).unwrap();
    p.machine.ppu.table_segments = segments;
    p.sections.push(Section {
        name: "table".to_owned(),
        kind: SectionKind::Table,
        bytes: encode_tables(&table.into()),
    });
    let id = SectionId(p.sections.len() as u32 - 1);
    p.layers[0].ppu.function = Some(Function::Table(id));
    p.layers[0].ppu.slope_exponent = exponent;
}

#[test]
fn a_table_has_no_more_segments_than_the_machine() {
    let mut program = sample();
    with_table(&mut program, 2, 0);
    assert_eq!(verify(&program), Ok(()));
    let (code, message) = said(|p| with_table(p, 1, 0));
    assert_eq!(code, Code::BadSection);
    assert!(message.contains("2 segments of a PPU's 1"), "{message}");
}

#[test]
fn only_slopes_have_an_exponent() {
    assert_eq!(said(|p| with_table(p, 2, 1)).0, Code::BadLayer);
    let slopes = |p: &mut Program, exponent| {
        with_table(p, 2, exponent);
        let section = p.sections.last_mut().unwrap();
        (section.kind, section.bytes) = (SectionKind::Slopes, vec![0; 8]);
        let id = SectionId(p.sections.len() as u32 - 1);
        p.layers[0].ppu.function = Some(Function::Leaky(id));
    };
    let mut program = sample();
    slopes(&mut program, 15);
    assert_eq!(verify(&program), Ok(()));
    assert_eq!(said(|p| slopes(p, 16)).0, Code::BadLayer);
}
