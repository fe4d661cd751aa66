//! Random layers on random machines: the simulator against a literal model of the machine that moves cycle by cycle.

mod decode;
mod generate;
mod laws;
mod machine;
mod post;

use generate::{Case, case};
use machine::Literal;
use proptest::prelude::*;
use scnn_isa::machine::LayerSync;
use scnn_isa::program::Program;
use scnn_isa::verify::verify;
use scnn_simulator::timing::Timing;
use scnn_simulator::{Execution, OperationCounts, Options, Simulator};
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

fn simulate(program: &Program, case: &Case, timing: Timing) -> Execution {
    // A value and its tensor have one index.
    let tensor = |index: usize, values: &[i16]| {
        let (value, tensor) = (&program.values[index], &program.tensors[index]);
        let shape: Vec<usize> = value.shape.iter().map(|&d| d as usize).collect();
        let plane = shape[2] * shape[3];
        let real = |(at, &value): (usize, &i16)| {
            let channel = at / plane % shape[1];
            f32::from(value) * tensor.unit(channel as u32)
        };
        let floats: Vec<f32> = values.iter().enumerate().map(real).collect();
        let tensor = Tensor::from_shape(&shape, &floats).unwrap();
        (value.name.clone(), tensor)
    };
    let other = case.second.as_ref().map(|second| tensor(2, &second.values));
    let inputs: BTreeMap<String, Tensor> =
        [tensor(0, &case.input)].into_iter().chain(other).collect();
    let simulator = Simulator::new(program, &scnn_host::Host::default()).unwrap();
    simulator.run(&inputs, &Options { timing }).unwrap()
}

/// The same on a machine whose loader goes on to the next layer, of a program that runs its layer twice.
fn simulate_twice(program: &Program, case: &Case) -> Execution {
    let mut twice = program.clone();
    twice.machine.sync.layers = LayerSync::Overlap;
    let end = twice.code.pop().unwrap();
    twice.code.extend_from_within(..);
    twice.code.push(end);
    simulate(&twice, case, Timing::Exact)
}

/// The place of an output: channel, position, and the PE that holds it.
fn place(program: &Program, at: usize) -> String {
    let tensor = &program.tensors[1];
    let [_, channels, height, width] = tensor.shape;
    let at = at as u32;
    let (row, column) = (at / width % height, at % width);
    let channel = at / (width * height) % channels;
    let image = at / (width * height * channels);
    let pe = tensor.layout.tiles[0].owner(image, row, column);
    format!("image {image}, channel {channel}, row {row}, column {column}, PE {pe:?}")
}

/// Whether a layer cost what the literal machine counted.
fn compare_costs(operation: &OperationCounts, literal: &Literal) -> Result<(), TestCaseError> {
    prop_assert_eq!(operation.steps, literal.steps);
    let mut slots = operation.slots;
    // The literal machine does not know what it waited for.
    slots.barrier += [slots.fifo, slots.drain, slots.dram].iter().sum::<u64>();
    (slots.fifo, slots.drain, slots.dram) = (0, 0, 0);
    prop_assert_eq!(slots, literal.slots);
    prop_assert_eq!(operation.cycles, literal.cycles);
    let pes = &operation.pe_cycles;
    // A cause that concerns no PE has an empty list.
    let all_zero = vec![0; literal.pe_cycles[0].len()];
    let of_pes = [&pes.steps, &pes.bank_stall, &pes.no_tile]
        .map(|cycles| if cycles.is_empty() { &all_zero } else { cycles });
    prop_assert_eq!(of_pes, literal.pe_cycles.each_ref());
    prop_assert_eq!(operation.counters.dram_weight_bytes, literal.weight_bytes);
    prop_assert_eq!(operation.counters.dram_read_bytes, literal.loaded_bytes);
    prop_assert_eq!(
        operation.counters.dram_spill_bytes + operation.counters.dram_write_bytes,
        literal.other_bytes
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_simulator_does_what_the_machine_would(case in case()) {
        let program = case.program();
        if let Err(problems) = verify(&program) {
            panic!("{problems:?}");
        }
        let execution = simulate(&program, &case, Timing::Exact);
        let other = case.second.as_ref().map_or(&[][..], |second| &second.values);
        let literal = Literal::run(&program, &case.input, other, 0);
        let pairs = execution.tensors[1].iter().zip(&literal.output);
        if let Some(at) = pairs.clone().position(|(ours, theirs)| ours != theirs) {
            let (ours, theirs) = (execution.tensors[1][at], literal.output[at]);
            prop_assert!(false, "{}: {ours}, the literal machine has {theirs}", place(&program, at));
        }
        prop_assert_eq!(pairs.len(), literal.output.len());
        compare_costs(&execution.operations[0], &literal)?;
        let fast = simulate(&program, &case, Timing::Fast);
        prop_assert_eq!(&fast.tensors, &execution.tensors);
        prop_assert_eq!(fast.operations[0].counters, execution.operations[0].counters);
        prop_assert!(fast.operations[0].cycles <= literal.cycles);

        let again = Literal::run(&program, &case.input, other, literal.head_start);
        let twice = simulate_twice(&program, &case);
        compare_costs(&twice.operations[0], &literal)?;
        compare_costs(&twice.operations[1], &again)?;
    }
}
