//! Snapshots of what the libraries print: programs, graphs, mappings, machines, the instruction reference.
//!
//! Activation ranges come from `calibration/`, as written by `--save-calibration`: measured anew, they would differ in
//! the last bit from one processor to the next.

use insta::{assert_snapshot, with_settings};
use scnn_isa::asm;
use scnn_isa::instruction;
use scnn_isa::machine::Machine;
use scnnc::calibrate::Calibration;
use scnnc::compile::{Compiled, Options, compile};
use scnnc::map::Strategy;
use scnnc::quantise;
use std::collections::BTreeMap;
use std::path::Path;

/// Compares `text` with the snapshot `name` in `folder`.
fn assert_accepted(folder: &str, name: &str, text: &str) {
    with_settings!({
        snapshot_path => format!("../{folder}"), prepend_module_to_snapshot => false, omit_expression => true
    }, { assert_snapshot!(name, text) });
}

/// Compiles a kept model with its kept calibration; also the text of the graph after import and after each transform.
fn compiled(model: &Path) -> (Compiled, Vec<(String, String)>) {
    let name = model.file_stem().unwrap().to_str().unwrap();
    let calibration =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("calibration/{name}.yaml"));
    let calibration = std::fs::read_to_string(&calibration).unwrap();
    let calibration: Calibration = scnn_isa::yaml::from_str(&calibration).unwrap();
    let options = Options {
        machine: Machine::preset("scnn").unwrap(),
        strategy: Strategy::Paper,
        quantise: quantise::Options {
            bits: 16,
            headroom: 1.5,
        },
        dims: BTreeMap::new(),
        samples: (String::new(), Vec::new()),
        calibration: Some(calibration),
        seed: 1,
        allow_host_only: false,
    };
    let mut graphs = Vec::new();
    let compiled = compile(model, &options, &mut |pass, graph| {
        graphs.push((pass.to_owned(), graph.to_string()));
    });
    (compiled.unwrap(), graphs)
}

/// The program of LeNet-5, without weights: what `scnnc disasm --code` prints.
#[test]
fn the_program_of_lenet5() {
    let (compiled, _) = compiled(&scnn_models::lenet5());
    let text = asm::disassemble(&compiled.program, &asm::Options { data: false });
    assert_accepted("programs", "lenet5", &text);
}

#[test]
fn the_program_of_the_tiny_network() {
    let (compiled, _) = compiled(&scnn_models::tiny());
    let text = asm::disassemble(&compiled.program, &asm::Options { data: false });
    assert_accepted("programs", "tiny", &text);
}

/// The tiny network after import and after every transform that changes it.
#[test]
fn the_graphs_of_the_tiny_network() {
    let (_, graphs) = compiled(&scnn_models::tiny());
    let mut previous = "";
    for (number, (pass, graph)) in graphs.iter().enumerate() {
        let text = if graph == previous {
            "(no change)\n"
        } else {
            graph
        };
        assert_accepted("graphs", &format!("tiny-{number}-{pass}"), text);
        previous = graph;
    }
}

/// The effective parameters of every preset.
#[test]
fn the_machines() {
    for (name, _) in Machine::presets() {
        let machine = Machine::preset(name).unwrap();
        assert_accepted("machines", name, &machine.to_yaml());
    }
}

#[test]
fn the_instruction_reference() {
    assert_accepted("instructions", "reference", &instruction::reference());
}
