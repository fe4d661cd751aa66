//! Each rule of the walk, by its words and the instruction that breaks it.

use super::{Content, hold, holds};
use crate::diagnostic::Code;
use crate::ids::{LayerId, RegionId, SegmentId, TensorId};
use crate::instruction::Instruction;
use crate::plane::Span;
use crate::program::{Memory, Program, Region};
use crate::verify::tests::sample;
use crate::verify::{Problem, verify};

// Where the sample's instructions stand.
const CFG: usize = 0;
const LDA: usize = 1;
const LDW: usize = 2;
const MAC: usize = 3;
const DRN: usize = 4;
const END: usize = 5;

/// The sample with other instructions, made of its own.
fn with_code(change: impl FnOnce(&[Instruction]) -> Vec<Instruction>) -> Program {
    let mut program = sample();
    program.code = change(&program.code);
    program.source_map.clear();
    program
}

/// The sample with one instruction in place of another.
fn with_one(at: usize, instruction: Instruction) -> Program {
    with_code(|code| [&code[..at], &[instruction], &code[at + 1..]].concat())
}

fn assert_refused(program: &Program, place: &str, words: &str) {
    let problems = verify(program).unwrap_err();
    let [
        Problem {
            code,
            place: at,
            message,
        },
    ] = &problems[..]
    else {
        panic!("{problems:?}");
    };
    assert_eq!((*code, &**at), (Code::BadCode, place), "{message}");
    assert!(message.contains(words), "{message}, not {words}");
}

#[test]
fn whatever_an_instruction_names_exists() {
    let lda = |from, to| Instruction::Lda {
        from: RegionId(from),
        to: RegionId(to),
    };
    let cfg = Instruction::Cfg { layer: LayerId(1) };
    assert_refused(&with_one(CFG, cfg), "instruction 0 (cfg)", "there is no");
    for missing in [lda(3, 1), lda(0, 3)] {
        assert_refused(
            &with_one(LDA, missing),
            "instruction 1 (lda)",
            "there is no",
        );
    }
    let hst = Instruction::Hst {
        segment: SegmentId(0),
    };
    assert_refused(
        &with_one(LDA, hst),
        "instruction 1 (hst)",
        "there is no such segment",
    );
    let unconfigured = with_code(|code| code[LDA..].to_vec());
    assert_refused(&unconfigured, "instruction 0 (lda)", "inside a layer");
}

#[test]
fn a_load_goes_from_dram_to_a_ram_of_the_same_tensor() {
    let lda = |from, to| {
        let (from, to) = (RegionId(from), RegionId(to));
        with_one(LDA, Instruction::Lda { from, to })
    };
    let place = "instruction 1 (lda)";
    assert_refused(
        &lda(0, 2),
        place,
        "it moves between DRAM and an activation RAM",
    );
    assert_refused(
        &lda(1, 0),
        place,
        "it moves between DRAM and an activation RAM",
    );
    assert_refused(
        &lda(2, 1),
        place,
        "do not hold the same tiles of one tensor",
    );
}

#[test]
fn rounds_are_those_of_the_layer_and_streamed_before() {
    let ldw = |begin, end| {
        let rounds = Span::new(begin, end);
        with_one(LDW, Instruction::Ldw { rounds })
    };
    for beyond in [ldw(0, 3), ldw(1, 1)] {
        assert_refused(&beyond, "instruction 2 (ldw)", "the layer has 2 rounds");
    }
    assert_refused(&ldw(0, 1), "instruction 3 (mac)", "the last `ldw` has 0..1");
}

/// The sample's `mac`, changed.
fn mac(change: impl FnOnce((&mut u32, &mut Span, &mut RegionId, &mut u8))) -> Program {
    let mut instruction = sample().code[MAC];
    if let Instruction::Mac {
        pass,
        channels,
        from,
        half,
        ..
    } = &mut instruction
    {
        change((pass, channels, from, half));
    }
    with_one(MAC, instruction)
}

#[test]
fn a_product_is_of_what_the_layer_reads() {
    let place = "instruction 3 (mac)";
    assert_refused(&mac(|(pass, ..)| *pass = 1), place, "there is no such pass");
    assert_refused(
        &mac(|(_, channels, ..)| channels.end = 3),
        place,
        "the source has 2 channels",
    );
    assert_refused(
        &mac(|(_, channels, ..)| channels.begin = 1),
        place,
        "do not follow the 0 before",
    );
    assert_refused(
        &mac(|(_, _, from, _)| *from = RegionId(0)),
        place,
        "activation RAMs only",
    );
    assert_refused(
        &mac(|(_, _, from, _)| *from = RegionId(2)),
        place,
        "is of another tensor",
    );
    assert_refused(
        &mac(|(_, _, _, half)| *half = 1),
        place,
        "half 1 is not the free one",
    );
}

#[test]
fn what_is_accumulated_is_drained_whole_and_once() {
    let some_channels = mac(|(_, channels, ..)| channels.end = 1);
    assert_refused(&some_channels, "instruction 4 (drn)", "over all channels");
    let twice = with_code(|code| [&code[..=DRN], &code[DRN..]].concat());
    assert_refused(
        &twice,
        "instruction 5 (drn)",
        "nothing waits in the accumulators",
    );
    let other = |code: &[Instruction], next| [&code[..=MAC], &[code[next]]].concat();
    for next in [CFG, END] {
        let place = format!(
            "instruction 4 ({})",
            ["cfg", "end"][usize::from(next == END)]
        );
        assert_refused(
            &with_code(|code| other(code, next)),
            &place,
            "have not been drained",
        );
    }
}

#[test]
fn a_drain_writes_the_layers_destination() {
    let drn = |to, operand| {
        let mut instruction = sample().code[DRN];
        if let Instruction::Drn {
            to: at,
            operand: named,
            ..
        } = &mut instruction
        {
            (*at, *named) = (RegionId(to), operand);
        }
        with_one(DRN, instruction)
    };
    let place = "instruction 4 (drn)";
    assert_refused(&drn(0, None), place, "is of another tensor");
    assert_refused(&drn(2, Some(RegionId(1))), place, "the layer has none");
    let ppu = Instruction::Ppu {
        pass: 0,
        from: RegionId(1),
        to: RegionId(2),
        operand: None,
    };
    assert_refused(
        &with_one(LDW, ppu),
        "instruction 2 (ppu)",
        "has an array stage",
    );
}

#[test]
fn the_code_ends_once_when_every_output_is_there() {
    let twice = with_code(|code| [code, &code[END..]].concat());
    assert_refused(
        &twice,
        "instruction 5 (end)",
        "it is not the last instruction",
    );
    let open = with_code(|code| code[..END].to_vec());
    assert_refused(&open, "end of the code", "does not end with `end`");
    let empty = with_code(|code| vec![code[CFG], code[END]]);
    assert_refused(
        &empty,
        "instruction 1 (end)",
        "y.dram does not hold channels 0..4 yet",
    );
}

/// The sample's work done a second time, the first time into a region of RAM A that begins at `base`.
fn again_after_writing_to(base: u64) -> Program {
    let mut program = with_code(|code| [&code[..END], &code[LDW..]].concat());
    program.regions.push(Region {
        name: "y.a".into(),
        tensor: TensorId(1),
        tiles: Span::new(0, 1),
        memory: Memory::A,
        base,
        size: 16,
    });
    if let Instruction::Drn { to, .. } = &mut program.code[DRN] {
        *to = RegionId(3);
    }
    program
}

#[test]
fn what_is_written_takes_from_others_what_lay_there_and_no_more() {
    for over in [0, 15] {
        let place = "instruction 6 (mac)";
        assert_refused(
            &again_after_writing_to(over),
            place,
            "x.a does not hold channels 0..2 yet",
        );
    }
    assert_eq!(verify(&again_after_writing_to(16)), Ok(()));
}

#[test]
fn channels_between_two_that_are_held_are_not_held() {
    let mut content = Content::new();
    let held = |content: &Content, begin, end| holds(Some(content), 0, Span::new(begin, end));
    hold(&mut content, 0, Span::new(2, 4));
    hold(&mut content, 0, Span::new(0, 1));
    hold(&mut content, 0, Span::new(6, 8));
    assert!(held(&content, 2, 4) && held(&content, 0, 1) && held(&content, 6, 8));
    assert!(!held(&content, 0, 4) && !held(&content, 1, 2) && !held(&content, 4, 6));
    hold(&mut content, 0, Span::new(1, 2));
    assert!(held(&content, 0, 4) && !held(&content, 0, 8));
    assert!(!holds(Some(&content), 1, Span::new(0, 1)) && !holds(None, 0, Span::new(0, 1)));
}
