//! The machines and the instruction set.

use crate::holds;
use scnn_isa::instruction;
use scnn_isa::machine::Machine;
use std::path::Path;

/// The effective parameters of every preset.
#[test]
fn the_machines() {
    for (name, _) in Machine::presets() {
        let machine = Machine::preset(name).unwrap();
        assert!(holds("machines", name, &machine.to_yaml()), "{name}");
    }
}

/// The page of the instruction set is the table's; `SCNN_UPDATE_PAGES=1` writes it anew.
#[test]
fn the_instruction_reference() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../isa/INSTRUCTIONS.md");
    let reference = instruction::reference();
    if std::env::var_os("SCNN_UPDATE_PAGES").is_some() {
        std::fs::write(&page, &reference).unwrap();
    }
    assert!(
        std::fs::read_to_string(&page).unwrap() == reference,
        "isa/INSTRUCTIONS.md is not of today: SCNN_UPDATE_PAGES=1 cargo test --workspace reference"
    );
}
