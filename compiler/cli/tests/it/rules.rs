//! The simulator against the rules of `isa/RULES.md`: a model of the machine in Python that was written from them and
//! shares no code with us. The whole comparison, 2,000 layers on 200 machines, is
//! `python simulator/tests/rules random --scnnc BINARY --layers 2000 --machines 200`.

use crate::python;
use std::process::Output;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../simulator/tests/rules");

/// Output of a verb of the model; none where Python lacks its packages.
fn rules(arguments: &[&str]) -> Option<Output> {
    if !python::has("numpy, onnx") {
        return None;
    }
    let binary = ["--scnnc", env!("CARGO_BIN_EXE_scnnc")];
    Some(python::run([&["-B", RULES], arguments, &binary].concat()))
}

fn expect(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains(words),
        "{text}{errors}"
    );
    println!("{text}");
}

#[test]
fn the_layer_of_the_document_takes_the_cycles_that_it_says() {
    if let Some(output) = rules(&["example"]) {
        expect(&output, "1 layers and 0 host segments: 0 differ");
    }
}

/// Every counter, energy, slot and cycle of both timings; then each rule broken by one cycle, byte or element.
#[test]
fn random_layers_take_what_the_rules_say_and_broken_rules_are_noticed() {
    let arguments = [
        "random",
        "--layers",
        "100",
        "--machines",
        "20",
        "--seed",
        "1",
    ];
    if let Some(output) = rules(&arguments) {
        expect(&output, ": 0 differ");
        expect(&output, "27 of 27 sabotages caught");
    }
}
