//! What is said where: JSON for programs, nothing on standard error of a pipe, times when asked for, and no option that
//! would change nothing.

use crate::binary::said;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// A folder with a model `m.onnx`, its digits `d.npz`, and two programs of it.
fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let file = |name| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    for words in [
        "compile m.onnx --calibrate d.npz -o a.scnn",
        "compile m.onnx --calibrate d.npz -o b.scnn --mapping paper",
    ] {
        let said = said(folder.path(), words.split_whitespace());
        assert_eq!((said.status, said.error.as_str()), (0, ""), "{words}");
    }
    folder
}

#[test]
fn verbs_that_tell_something_tell_it_as_json_too() {
    let folder = folder();
    let cases = [
        (
            "run m.onnx --input d.npz --samples 1 --check --json",
            "/totals/cycles/total",
        ),
        (
            "run a.scnn --input d.npz --samples 1 --json",
            "/layers/0/name",
        ),
        (
            "compile m.onnx --calibrate d.npz -o c.scnn --json",
            "/instructions",
        ),
        (
            "compare m.onnx --input d.npz --timing fast --json",
            "/sparse_w/totals/cycles/total",
        ),
        (
            "sensitivity m.onnx --calibrate d.npz --layer /conv1/Conv --densities 0.5 --json",
            "/points/0/density",
        ),
        (
            "explain m.onnx --input d.npz --layer /conv2/Conv --json",
            "/layers/0/predicted_cycles",
        ),
        ("inspect a.scnn --json", "/layers/0/weights/nonzeros"),
        ("verify a.scnn --json", "/instructions"),
        ("check m.onnx --json", "/nodes/machine"),
        ("ops --json", "/0/operator"),
        ("machine list --json", "/0/multipliers"),
        ("machine show scnn --json", "/parameters/0/value"),
        ("zoo list --json", "/0/multiplies"),
        ("report --schema", "/properties/totals"),
    ];
    for (words, place) in cases {
        let said = said(folder.path(), words.split_whitespace());
        // Programs that differ have a status of their own.
        let status = if words.starts_with("diff") { 3 } else { 0 };
        assert_eq!(said.status, status, "{words}: {}", said.error);
        let value: Value = serde_json::from_str(&said.out)
            .unwrap_or_else(|e| panic!("{words}: {e}: {}", said.out));
        assert!(
            value.pointer(place).is_some_and(|value| !value.is_null()),
            "{words}: {place} in {value}"
        );
    }
    // What is not in the report goes to standard error, where a program does not trip over it.
    let said = said(folder.path(), cases[0].0.split_whitespace());
    assert!(said.error.contains("bit-exact"), "{}", said.error);
}

#[test]
fn options_of_a_compilation_are_refused_for_a_program_by_name() {
    let folder = folder();
    for (words, options) in [
        (
            "run a.scnn --input d.npz --mapping paper --prune 0.5",
            &["`--mapping`", "`--prune`"][..],
        ),
        (
            "run a.scnn --input d.npz --objective edp",
            &["`--objective`"],
        ),
        ("snapshot a.scnn --bits 8", &["`--bits`"]),
    ] {
        let said = said(folder.path(), words.split_whitespace());
        assert_eq!(said.status, 2, "{words}: {}", said.error);
        assert!(
            said.out.is_empty() && options.iter().all(|option| said.error.contains(option)),
            "{words}: {}",
            said.error
        );
    }
    for words in [
        "run a.scnn --input d.npz --samples 1 -q",
        "snapshot a.scnn --seed 3",
    ] {
        assert_eq!(
            said(folder.path(), words.split_whitespace()).status,
            0,
            "{words}"
        );
    }
}

#[test]
fn a_pipe_hears_of_stages_only_when_asked() {
    let folder = folder();
    let run = "run m.onnx --input d.npz --samples 1";
    assert_eq!(said(folder.path(), run.split_whitespace()).error, "");
    let verbose = said(folder.path(), format!("{run} -v").split_whitespace());
    let stages = [
        "import",
        "transform",
        "calibrate",
        "quantise",
        "map",
        "emit",
        "simulate",
    ];
    let places: Vec<usize> = stages
        .iter()
        .map(|stage| verbose.error.find(&format!("{stage} ")).unwrap())
        .collect();
    assert!(
        verbose.error.starts_with("time      ") && places.is_sorted(),
        "{}",
        verbose.error
    );
    // Noise to calibrate on is warned of, unless nothing is to be verbose.
    let noisy = "compile m.onnx -o c.scnn";
    assert!(
        said(folder.path(), noisy.split_whitespace())
            .error
            .contains("warning")
    );
    assert_eq!(
        said(folder.path(), format!("{noisy} -q").split_whitespace()).error,
        ""
    );
    assert_eq!(
        said(folder.path(), format!("{noisy} -q -v").split_whitespace()).status,
        2
    );
    let text = said(folder.path(), "disasm a.scnn --code".split_whitespace()).out;
    assert!(!text.contains('\u{1b}'), "colours are for terminals");
}
