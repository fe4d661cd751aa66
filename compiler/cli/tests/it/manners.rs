//! What people expect of any command: `-` and pipes, names in part, remedies for what is nearly right.

use crate::binary::{command, printed, refused, said};
use std::path::Path;

const LENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/lenet5.onnx");
const DIGITS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../models/lenet5-digits.npz"
);

/// What a command writes to standard output when it gets `input` on standard input.
fn through(folder: &Path, arguments: &[&str], input: &[u8]) -> (Vec<u8>, String) {
    let mut command = command(folder);
    let output = command.args(arguments).write_stdin(input).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {error}");
    (output.stdout, error)
}

#[test]
fn a_word_in_the_place_of_the_model_to_explain_is_a_term_or_a_layer() {
    let folder = tempfile::tempdir().unwrap();
    let said = said(folder.path(), ["explain", "residue"]);
    assert_eq!(said.status, 2, "{}", said.error);
    assert!(
        said.error.contains("`scnnc --explain residue`"),
        "{}",
        said.error
    );
    let said = refused(folder.path(), &["explain", "residue.onnx"], 1);
    assert!(said.contains("E0101"), "{said}");
}

#[test]
fn a_hyphen_is_standard_input_and_output() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    printed(at, &["compile", LENET, "-q", "-o", "p.scnn"]);
    let read = |name: &str| std::fs::read(at.join(name)).unwrap();
    let (model, program) = (std::fs::read(LENET).unwrap(), read("p.scnn"));
    let (bytes, said) = through(at, &["compile", "-", "-q", "-o", "-"], &model);
    assert!(bytes == program, "the same bytes through pipes");
    assert!(
        said.contains("4 layers"),
        "what is said goes beside: {said}"
    );
    let (text, _) = through(at, &["disasm", "-", "-o", "-"], &program);
    let (bytes, _) = through(at, &["asm", "-", "-o", "-"], &text);
    assert!(bytes == program, "through the assembler");
    through(at, &["verify", "-"], &program);
    through(at, &["inspect", "-"], &program);
    through(at, &["check", "-"], &model);
    let digits = std::fs::read(DIGITS).unwrap();
    let run = ["run", LENET, "--input", "-", "--samples", "1"];
    let (report, _) = through(at, &[&run[..], &["--report", "-"]].concat(), &digits);
    let (table, _) = through(at, &["report", "-"], &report);
    assert!(String::from_utf8(table).unwrap().contains("/conv2/Conv"));
    let (outputs, _) = through(at, &[&run[..], &["--output", "-"]].concat(), &digits);
    assert!(outputs.starts_with(b"PK"));
    let (view, _) = through(at, &["report", "-", "--view", "folded=-"], &report);
    assert!(view.starts_with(b"lenet5;"));
    let with_input = ["run", "-", "--input", DIGITS, "--samples", "1", "--json"];
    through(at, &with_input, &program);
    let names: Vec<String> = std::fs::read_dir(at)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["p.scnn"], "no file is called `-`");
}

#[test]
fn one_stream_holds_one_thing() {
    let folder = tempfile::tempdir().unwrap();
    let two = ["run", "-", "--input", "-"];
    let said = refused(folder.path(), &two, 2);
    assert!(
        said.contains("the model and an input are both `-`"),
        "{said}"
    );
    let two = ["run", LENET, "--report", "-", "--output", "-"];
    let said = refused(folder.path(), &two, 2);
    assert!(
        said.contains("`--output` and `--report` are both `-`"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn a_result_may_be_a_pipe_and_so_may_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let made = std::process::Command::new("mkfifo")
        .arg(at.join("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let reader = std::thread::spawn({
        let pipe = at.join("pipe");
        move || std::fs::read(pipe).unwrap()
    });
    printed(at, &["compile", LENET, "-q", "-o", "pipe"]);
    let program = reader.join().unwrap();
    assert!(program.starts_with(b"SCNN"));
    let writer = std::thread::spawn({
        let pipe = at.join("pipe");
        move || std::fs::write(pipe, program).unwrap()
    });
    let said = printed(at, &["run", "pipe", "--input", DIGITS, "--samples", "1"]);
    writer.join().unwrap();
    assert!(said.contains("/conv2/Conv"), "{said}");
}

#[test]
fn a_part_of_a_name_finds_its_layer_in_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    printed(at, &["compile", LENET, "-q", "-o", "p.scnn"]);
    let verbs: [&[&str]; 7] = [
        &["explain", LENET, "-q", "--layer"],
        &["disasm", "p.scnn", "--layer"],
        &["inspect", "p.scnn", "--node"],
        &["sensitivity", LENET, "-q", "--densities", "0.5", "--layer"],
        &["run", LENET, "-q", "--trace", "t.json", "--trace-layer"],
        &["compile", LENET, "-q", "-o", "b.scnn", "--bits"],
        &["compile", LENET, "-q", "-o", "b.scnn", "--prune-file"],
    ];
    for verb in verbs {
        let option = *verb.last().unwrap();
        let word = |name: &str| match option {
            "--bits" => format!("{name}=8"),
            "--prune-file" => {
                let file = at.join("densities.yaml");
                std::fs::write(&file, format!("layers:\n  {name}: 0.5\n")).unwrap();
                file.display().to_string()
            }
            _ => name.to_owned(),
        };
        let short = said(at, verb.iter().copied().chain([word("conv2").as_str()]));
        assert_eq!(short.status, 0, "{verb:?}: {}", short.error);
        let slip = said(
            at,
            verb.iter().copied().chain([word("/conv2/Con").as_str()]),
        );
        assert_ne!(slip.status, 0, "{verb:?}");
        assert!(
            slip.error.contains("did you mean `/conv2/Conv`"),
            "{verb:?}: {}",
            slip.error
        );
    }
}

#[test]
fn a_picture_is_told_how_to_become_an_array() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cat.JPG"), b"\xff\xd8\xff").unwrap();
    let said = refused(folder.path(), &["run", LENET, "--input", "cat.JPG"], 1);
    assert!(
        said.contains("E0107") && said.contains("numpy.save"),
        "{said}"
    );
    assert!(said.contains("cat.JPG"), "{said}");
}

#[test]
fn a_file_in_the_place_of_a_verb_is_told_its_verb() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(folder.path(), &[LENET], 2);
    assert!(said.contains(&format!("`scnnc run {LENET}`")), "{said}");
    let said = refused(folder.path(), &["absent.onnx"], 2);
    assert!(said.contains("there is no file `absent.onnx`"), "{said}");
    std::fs::write(folder.path().join("r.json"), "{}").unwrap();
    let said = refused(folder.path(), &["r.json"], 2);
    assert!(said.contains("`scnnc report r.json`"), "{said}");
}

#[test]
fn the_manual_has_a_page_for_each_verb_of_a_verb() {
    let folder = tempfile::tempdir().unwrap();
    printed(folder.path(), &["man", "-o", "."]);
    for page in [
        "scnnc",
        "scnnc-run",
        "scnnc-replay",
        "scnnc-machine-show",
        "scnnc-zoo-make",
        "scnnc-sweep-merge",
    ] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn the_options_of_a_long_verb_stand_in_groups() {
    let folder = tempfile::tempdir().unwrap();
    let help = printed(folder.path(), &["run", "--help"]);
    for group in [
        "Inputs",
        "Results",
        "Checks",
        "Machine",
        "Mapping",
        "Model",
        "Quantisation",
        "Pruning",
        "Host",
        "Messages",
        "Process",
    ] {
        assert!(
            help.lines().any(|line| line == format!("{group}:")),
            "{group}: {help}"
        );
    }
    let loose = help
        .split("\nOptions:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    assert!(!loose.contains("--bits"), "{loose}");
}
