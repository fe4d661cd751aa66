//! The machines and the instruction set.

use crate::holds;
use scnn_isa::instruction;
use scnn_isa::machine::Machine;

/// The effective parameters of every preset.
#[test]
fn the_machines() {
    for (name, _) in Machine::presets() {
        let machine = Machine::preset(name).unwrap();
        assert!(holds("machines", name, &machine.to_yaml()), "{name}");
    }
}

#[test]
fn the_instruction_reference() {
    assert!(holds(
        "instructions",
        "reference",
        &instruction::reference()
    ));
}
