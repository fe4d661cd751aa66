use super::*;
use crate::plane::Span;
use crate::program::Program;
use crate::program::arbitrary::programs;
use crate::verify::tests::sample;
use proptest::prelude::*;

proptest! {
    #[test]
    fn assembling_gives_back_what_was_disassembled(program in programs()) {
        let text = disassemble(&program, &Options::default());
        let again = assemble(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(&again, &program);
        prop_assert_eq!(again.to_bytes(), program.to_bytes());
        prop_assert_eq!(disassemble(&again, &Options::default()), text);
    }

    #[test]
    fn no_text_makes_the_assembler_panic(text in any::<String>()) {
        let _ = assemble(&text);
    }

    #[test]
    fn no_damaged_text_makes_the_assembler_panic(at in any::<prop::sample::Index>(), with in ".{0,3}") {
        let mut text: Vec<char> = disassemble(&sample(), &Options::default()).chars().collect();
        let at = at.index(text.len());
        text.splice(at..=at, with.chars());
        let _ = assemble(&text.into_iter().collect::<String>());
    }
}

/// The error of the sample's text after a replacement.
fn error(from: &str, to: &str) -> (String, String, Option<String>) {
    let text = disassemble(&sample(), &Options::default());
    assert!(text.contains(from), "{text}");
    let text = text.replacen(from, to, 1);
    let error = assemble(&text).unwrap_err();
    let line = text
        .lines()
        .nth(error.line - 1)
        .unwrap_or_default()
        .to_owned();
    (line, error.message, error.help)
}

#[test]
fn an_unknown_mnemonic_gets_its_line_and_the_nearest() {
    let (line, message, help) = error("  ldw", "  lwd");
    assert_eq!(line, "  lwd rounds=0..2");
    assert_eq!(message, "there is no instruction `lwd`");
    assert_eq!(help.as_deref(), Some("did you mean `ldw`?"));
}

#[test]
fn an_unknown_name_gets_the_nearest() {
    let (_, message, help) = error("from=x.a", "from=x.b");
    assert_eq!(message, "there is no region `x.b`");
    assert_eq!(help.as_deref(), Some("did you mean `x.a`?"));
}

#[test]
fn an_operand_that_does_not_fit_its_field_is_refused() {
    assert_eq!(
        error("channels=0..2", "channels=0..65536").1,
        "65536 is more than 16 bits hold"
    );
    assert_eq!(error("half=0", "half=2").1, "2 is more than 1 bits hold");
}

#[test]
fn a_missing_and_a_superfluous_operand_are_named() {
    assert_eq!(
        error("  mac pass=0", "  mac").1,
        "`mac` needs operand `pass`"
    );
    assert_eq!(
        error("  end", "  end half=1").1,
        "there is no operand `half`"
    );
}

#[test]
fn an_unknown_key_gets_the_nearest() {
    let (_, message, help) = error("residues:", "residue:");
    assert!(message.starts_with("unknown field `residue`"), "{message}");
    assert_eq!(help.as_deref(), Some("did you mean `residues`?"));
}

#[test]
fn a_text_for_reading_says_what_it_lacks() {
    let text = disassemble(&sample(), &Options { data: false });
    let error = assemble(&text).unwrap_err();
    assert_eq!(error.message, "there is no `.machine`");
    assert!(error.help.unwrap().contains("--code"));
}

#[test]
fn cuts_cannot_ask_for_unbounded_memory() {
    let (_, message, _) = error(
        "channel_groups: [0..4 by 2]",
        "channel_groups: [0..4000000000 by 1]",
    );
    assert!(message.contains("at most 65536"), "{message}");
}

#[test]
fn the_sample_reads_well() {
    let program: Program = sample();
    let text = disassemble(&program, &Options { data: false });
    assert!(
        text.contains("\n; conv: 2x8x8 -> 4x8x8, 3x3 convolution, ReLU\n"),
        "{text}"
    );
    assert!(
        text.contains("  mac pass=0 rounds=0..2 channels=0..2 from=x.a half=0\n"),
        "{text}"
    );
}

#[test]
fn editors_know_every_directive_and_mnemonic() {
    let grammar = include_str!("../../editors/vscode/scnn.tmLanguage.json");
    let mnemonics = crate::instruction::DESCRIPTIONS.iter().map(|d| d.mnemonic);
    for words in [
        parse::kinds().join("|"),
        mnemonics.collect::<Vec<_>>().join("|"),
    ] {
        assert!(grammar.contains(&format!("({words})")), "{words}");
    }
    serde_json::from_str::<serde_json::Value>(grammar).unwrap();
}

#[test]
fn a_layer_and_a_range_are_parts_of_the_whole() {
    let program = sample();
    let whole = disassemble(&program, &Options::default());
    let name = program.layers[0].name.clone();
    let layer = disassemble_layer(&program, &name).unwrap();
    let code = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("  "));
        lines.map(str::to_owned).collect()
    };
    assert!(
        code(&layer)
            .iter()
            .any(|line| line.trim_start().starts_with("cfg "))
    );
    for line in code(&layer) {
        assert!(whole.contains(&line), "{line}");
    }
    assert_eq!(disassemble_layer(&program, "no such layer"), None);
    let range = disassemble_range(&program, Span::new(0, 2));
    let instructions = code(&range);
    assert_eq!(instructions.len(), 2);
    assert!(instructions[0].ends_with(&instruction(&program, &program.code[0])));
}
