//! The fuzzer's targets on their kept corpora and on random programs: what was found once stays found.

#[allow(dead_code)] // The fuzzer calls all of them, the tests some.
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

use crate::mutator::Mutator;
use scnn_isa::asm;
use std::path::{Path, PathBuf};

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("onnx", fuzz::onnx),
    ("machine", fuzz::machine),
    ("assembly", fuzz::assembly),
    ("program", fuzz::program),
    ("report", fuzz::report),
];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    files
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

/// Damaged inputs that each target gets in a default run.
const DAMAGED: [usize; 5] = [6000, 8000, 5000, 20000, 50000];

/// Every kept file, and many damages of each: what the fuzzer does, without its instruments. `SCNN_FUZZ` is the factor
/// of a longer run.
#[test]
fn no_target_panics_on_its_corpus_nor_on_damages_of_it() {
    let factor = std::env::var("SCNN_FUZZ").ok();
    let factor: usize = factor.map_or(1, |n| n.parse().expect("SCNN_FUZZ is a number"));
    for ((name, target), damaged) in TARGETS.into_iter().zip(DAMAGED) {
        let files = corpus(name);
        for (path, bytes) in &files {
            eprintln!("{}", path.display());
            target(bytes);
        }
        let begin = std::time::Instant::now();
        for case in 0..damaged * factor {
            let mut mutator = Mutator::new(case as u64);
            let (_, bytes) = &files[case % files.len()];
            let damaged = match (case % 3, std::str::from_utf8(bytes)) {
                (0, Ok(text)) => mutator.damage_text(text).into_bytes(),
                (1, _) => {
                    let (_, other) = &files[mutator.below(files.len())];
                    mutator.join(bytes, other)
                }
                _ => mutator.damaged(bytes),
            };
            if std::panic::catch_unwind(|| target(&damaged)).is_err() {
                let kept = std::env::temp_dir().join(format!("scnnc-fuzz-{name}-{case}"));
                std::fs::write(&kept, damaged).unwrap();
                panic!(
                    "target {name} panics at case {case}, kept as {}",
                    kept.display()
                );
            }
        }
        eprintln!(
            "{name}: {} damaged in {:?}",
            damaged * factor,
            begin.elapsed()
        );
    }
}

/// Random programs through assembler, verifier and simulator: texts of real ones with numbers changed and lines moved.
#[test]
fn random_programs_are_refused_or_run() {
    let asked = std::env::var("SCNN_RANDOM_PROGRAMS").ok();
    let count: u64 = asked.and_then(|n| n.parse().ok()).unwrap_or(2000);
    let texts: Vec<String> = corpus("assembly")
        .into_iter()
        .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
        .collect();
    let (mut programs, mut valid, mut attempts) = (0, 0, 0);
    while programs < count {
        let text = Mutator::new(attempts).damage_text(&texts[attempts as usize % texts.len()]);
        attempts += 1;
        let Ok(program) = asm::assemble(&text) else {
            continue;
        };
        programs += 1;
        let run = || fuzz::execute(&program);
        let Ok(ran) = std::panic::catch_unwind(run) else {
            let kept = std::env::temp_dir().join(format!("scnnc-random-{attempts}.s"));
            std::fs::write(&kept, text).unwrap();
            panic!("program {attempts} panics, kept as {}", kept.display());
        };
        valid += u64::from(ran);
    }
    eprintln!("{programs} random programs of {attempts} texts, {valid} of them valid and run");
    assert!(
        valid > count / 50,
        "too few are valid to say anything: {valid} of {programs}"
    );
}

/// Twice as many banks did not fit the eight bits that rotations were counted in.
#[test]
fn a_machine_may_have_more_than_127_banks() {
    let conv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/assembly/conv.s");
    let text = std::fs::read_to_string(conv).unwrap();
    let many = text.replace("banks: 32", "banks: 200");
    assert_ne!(text, many);
    assert!(fuzz::execute(&asm::assemble(&many).unwrap()));
}
