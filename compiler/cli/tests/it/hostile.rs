//! Damaged models and programs through the binary: none crashes, none hangs, each refusal has a code and a place.
//!
//! The mutations are seeded, so that a failure repeats; a default run takes a sample, `SCNN_HOSTILE=10000` all that
//! the project promises. The first case that breaks the rule is kept in the temporary folder and named.

use crate::mutator::Mutator;
use crate::onnx::{Model, float, int, ints, noise};
use scnn_host::Host;
use scnn_isa::asm;
use scnn_isa::program::Program;
use scnn_simulator::Simulator;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Cases of each kind in a default run.
const SAMPLE: u64 = 120;

/// A case that runs longer hangs; the slowest takes a small part of it.
const HANGS: Duration = Duration::from_mins(2);

fn cases() -> u64 {
    let asked = std::env::var("SCNN_HOSTILE").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(SAMPLE)
}

/// Small models, between them every construct that import treats specially.
fn seeds() -> Vec<Vec<u8>> {
    let conv = Model::new("conv")
        .input("x", &[1, 2, 6, 6])
        .floats("w", &[4, 2, 3, 3], &noise(72, 1, 0.5))
        .floats("b", &[4], &noise(4, 2, 1.0))
        .node(
            "Conv",
            &["x", "w", "b"],
            "c",
            vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])],
        )
        .node("Relu", &["c"], "r", vec![])
        .node("MaxPool", &["r"], "y", vec![ints("kernel_shape", &[2, 2])])
        .output("y");
    let residual = Model::new("residual")
        .input("x", &[1, 4, 5, 5])
        .floats("w", &[4, 1, 3, 3], &noise(36, 3, 0.7))
        .node(
            "Conv",
            &["x", "w"],
            "c",
            vec![ints("pads", &[1, 1, 1, 1]), int("group", 4)],
        )
        .node("Add", &["c", "x"], "a", vec![])
        .node("LeakyRelu", &["a"], "l", vec![float("alpha", 0.1)])
        .node("Concat", &["l", "x"], "k", vec![int("axis", 1)])
        .node("GlobalAveragePool", &["k"], "g", vec![])
        .node("Flatten", &["g"], "y", vec![int("axis", 1)])
        .output("y");
    let host = Model::new("host")
        .input("x", &[1, 3, 4, 4])
        .floats("w", &[5, 48], &noise(240, 4, 0.3))
        .floats("g", &[3], &noise(3, 5, 1.0))
        .floats("v", &[3], &[0.5, 1.0, 2.0])
        .node(
            "BatchNormalization",
            &["x", "g", "g", "g", "v"],
            "n",
            vec![],
        )
        .node("Sigmoid", &["n"], "s", vec![])
        .node("Flatten", &["s"], "f", vec![])
        .node("Gemm", &["f", "w"], "m", vec![int("transB", 1)])
        .node("Softmax", &["m"], "y", vec![])
        .output("y");
    let mut models: Vec<Vec<u8>> = [conv, residual, host].map(Model::bytes).to_vec();
    models.push(std::fs::read(scnn_models::tiny()).unwrap());
    models
}

/// Runs the binary on a damaged file and judges how it ends; the judgement's error is what a person needs.
fn judge(folder: &Path, file: &str, arguments: &[&str]) -> Result<bool, String> {
    let said = folder.join("said.txt");
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("scnnc"))
        .current_dir(folder)
        .args(arguments)
        .args(["--limit-memory", "1GB", "--threads", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begin.elapsed() > HANGS => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err(format!("it hangs: {arguments:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let error = std::fs::read_to_string(&said).unwrap();
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => {
            let coded = error.contains("error[E0");
            let placed = error.contains(&format!("--> {file}"));
            if coded && placed && !error.contains("E0901") {
                Ok(false)
            } else {
                Err(format!("a refusal without code or place: {error}"))
            }
        }
        other => Err(format!("exit status {other:?}: {error}")),
    }
}

/// Judges all cases; fails with the first file that breaks the rule, which is kept.
fn judge_all(
    what: &str,
    extension: &str,
    arguments: &[&str],
    mutate: impl Fn(u64) -> Vec<u8> + Sync,
) {
    let (count, next) = (cases(), std::sync::atomic::AtomicU64::new(0));
    let (accepted, broken) = (
        std::sync::atomic::AtomicU64::new(0),
        std::sync::Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let folder = TempDir::new().unwrap();
                let file = format!("damaged.{extension}");
                let path = folder.path().join(&file);
                loop {
                    let case = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if case >= count {
                        return;
                    }
                    std::fs::write(&path, mutate(case)).unwrap();
                    let words: Vec<&str> = arguments
                        .iter()
                        .map(|&w| if w == "FILE" { &file } else { w })
                        .collect();
                    match judge(folder.path(), &file, &words) {
                        Ok(true) => {
                            accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                        Ok(false) => {}
                        Err(reason) => {
                            let kept = keep(&path, what, case, extension);
                            broken
                                .lock()
                                .unwrap()
                                .push(format!("{}: {reason}", kept.display()));
                        }
                    }
                }
            });
        }
    });
    let accepted = accepted.into_inner();
    eprintln!(
        "{what}: {count} damaged, {accepted} of them still good, {} refused",
        count - accepted
    );
    let broken = broken.into_inner().unwrap();
    assert!(
        broken.is_empty(),
        "{} of {count} cases break the rule:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

/// tract would read beyond the shape of the segment's tensor, where no caller can stop it.
#[test]
fn a_program_whose_host_segment_is_hostile_is_refused_by_the_segment_s_name() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let program = std::fs::read(corpus.join("program/host.scnn")).unwrap();
    let mut program = Program::from_bytes(&program).unwrap();
    let hostile = std::fs::read(corpus.join("onnx/rank-1-batch-norm.onnx")).unwrap();
    program.segments[0].model = hostile;
    let error = Simulator::new(&program, &Host::default())
        .err()
        .unwrap()
        .to_string();
    let segment = &program.segments[0].name;
    assert!(
        error.starts_with(&format!("host segment `{segment}`: ")),
        "{error}"
    );
    assert!(
        error.contains("BatchNorm of a tensor of 1 extent(s)"),
        "{error}"
    );
}

/// Networks that are large in one way only, each with its size in a default run and the whole one: a pass that looks at all
/// of a network for each of its nodes would not end.
#[test]
fn networks_that_are_large_in_one_way_compile_in_bounded_time() {
    type Build = fn(usize) -> Model;
    let whole = cases() >= 10_000;
    let folder = TempDir::new().unwrap();
    let large: [(&str, usize, Build); 4] = [
        ("alternations", 2_500, alternations),
        ("operands", 3_000, operands),
        ("outputs", 3_000, outputs),
        ("convolutions", 10_000, convolutions),
    ];
    for (what, count, build) in large {
        let count = if whole { count } else { count / 10 };
        let path = folder.path().join("large.onnx");
        std::fs::write(&path, build(count).bytes()).unwrap();
        let begin = Instant::now();
        let compile = ["compile", "large.onnx", "-o", "large.scnn", "-q"];
        let verdict = judge(folder.path(), "large.onnx", &compile);
        let seconds = begin.elapsed().as_secs();
        eprintln!("{count} {what}: {verdict:?} after {seconds} s");
        assert_eq!(verdict, Ok(true), "{count} {what}");
    }
}

/// A network of 4 channels on a 6 x 6 plane, with the weights `w` of a 1 x 1 convolution.
fn small(name: &str) -> Model {
    Model::new(name)
        .input("t0", &[1, 4, 6, 6])
        .floats("w", &[4, 4, 1, 1], &noise(16, 7, 1.0))
}

/// Convolution on the array, normalisation on the host, and again.
fn alternations(count: usize) -> Model {
    let step = |model: Model, i: usize| {
        let (from, between, to) = (format!("t{i}"), format!("c{i}"), format!("t{}", i + 1));
        model.node("Conv", &[&from, "w"], &between, vec![]).node(
            "LRN",
            &[&between],
            &to,
            vec![int("size", 3)],
        )
    };
    (0..count)
        .fold(small("alternations"), step)
        .output(&format!("t{count}"))
}

/// One concatenation of many.
fn operands(count: usize) -> Model {
    let names: Vec<String> = (0..count).map(|i| format!("r{i}")).collect();
    let operands: Vec<&str> = names.iter().map(String::as_str).collect();
    let relu = |model: Model, name: &String| model.node("Relu", &["t0"], name, vec![]);
    names
        .iter()
        .fold(small("operands"), relu)
        .node("Concat", &operands, "y", vec![int("axis", 1)])
        .output("y")
}

/// Many results of one input.
fn outputs(count: usize) -> Model {
    let step = |model: Model, i: usize| {
        let name = format!("y{i}");
        model
            .node("Conv", &["t0", "w"], &name, vec![])
            .output(&name)
    };
    (0..count).fold(small("outputs"), step)
}

/// A chain of convolutions, whose weights exchange the channels so that values neither grow nor fade.
fn convolutions(count: usize) -> Model {
    let mut exchange = [0.0; 16];
    for channel in 0..4 {
        exchange[4 * channel + (channel + 1) % 4] = 1.0;
    }
    let step = |model: Model, i: usize| {
        let operands = [&format!("t{i}"), "v"];
        model.node("Conv", &operands, &format!("t{}", i + 1), vec![])
    };
    (0..count)
        .fold(
            small("convolutions").floats("v", &[4, 4, 1, 1], &exchange),
            step,
        )
        .output(&format!("t{count}"))
}

fn keep(path: &Path, what: &str, case: u64, extension: &str) -> PathBuf {
    let kept = std::env::temp_dir().join(format!("scnnc-{what}-{case}.{extension}"));
    std::fs::copy(path, &kept).unwrap();
    kept
}

#[test]
fn damaged_models_are_refused_with_code_and_place() {
    let seeds = seeds();
    judge_all("models", "onnx", &["run", "FILE", "-q"], |case| {
        let mut bytes = seeds[case as usize % seeds.len()].clone();
        let mut mutator = Mutator::new(case);
        if case % 5 == 4 {
            bytes.truncate(mutator.below(bytes.len()));
        } else {
            mutator.damage(&mut bytes);
        }
        bytes
    });
}

/// A third each: damaged bytes; damaged parts under checksums that hold; damaged assembly text, assembled.
#[test]
fn damaged_programs_are_refused_with_code_and_place() {
    let programs: Vec<Vec<u8>> = seeds().iter().map(|model| compile(model)).collect();
    let texts: Vec<String> = programs
        .iter()
        .map(|bytes| {
            asm::disassemble(
                &Program::from_bytes(bytes).unwrap(),
                &asm::Options::default(),
            )
        })
        .collect();
    judge_all("programs", "scnn", &["snapshot", "FILE", "-q"], |case| {
        let which = case as usize / 3 % programs.len();
        let mut mutator = Mutator::new(case);
        match case % 3 {
            0 => {
                let mut bytes = programs[which].clone();
                mutator.damage(&mut bytes);
                bytes
            }
            1 => resealed(&programs[which], &mut mutator),
            _ => {
                // Most texts do not assemble; the first of some that does is taken, else the last as it is.
                let mut text = String::new();
                for _ in 0..8 {
                    text = mutator.damage_text(&texts[which]);
                    if let Ok(program) = asm::assemble(&text) {
                        return program.to_bytes();
                    }
                }
                text.into_bytes()
            }
        }
    });
}

fn compile(model: &[u8]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("m.onnx"), model).unwrap();
    let status = Command::new(assert_cmd::cargo::cargo_bin("scnnc"))
        .current_dir(folder.path())
        .args(["compile", "m.onnx", "-q", "-o", "m.scnn"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(folder.path().join("m.scnn")).unwrap()
}

/// A program file with one damaged part and checksums that are right again; `isa/src/file.rs` has the layout.
fn resealed(bytes: &[u8], mutator: &mut Mutator) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let count = number(8) as usize;
    let mut at = 12 + 12 * count + 4;
    let mut parts: Vec<Vec<u8>> = (0..count)
        .map(|part| {
            let length = number(12 + 12 * part) as usize;
            at += length;
            bytes[at - length..at].to_vec()
        })
        .collect();
    // Descriptors and code most often: they are what the verifier reads.
    let part = [0, 1, 1, 1, 2, 2, 3, mutator.below(count)][mutator.below(8)];
    mutator.damage(&mut parts[part]);
    let mut sealed = bytes[..12].to_vec();
    for part in &parts {
        sealed.extend((part.len() as u64).to_le_bytes());
        sealed.extend(crc32fast::hash(part).to_le_bytes());
    }
    sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
    sealed.extend(parts.concat());
    sealed
}
