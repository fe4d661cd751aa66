//! Runs a program file on inputs of ones and prints what each layer cost.
//!
//! `cargo run --package scnn-simulator --example run_program compiler/fuzz/corpus/program/conv.scnn`

use scnn_isa::program::{Dtype, Program};
use scnn_isa::verify::verify;
use scnn_simulator::report::Report;
use scnn_simulator::{Options, Simulator, Tensor};
use std::collections::BTreeMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give a program file")?;
    let program = Program::from_bytes(&std::fs::read(path)?)?;
    // The simulator runs verified programs only.
    verify(&program).map_err(|problems| problems[0].message.clone())?;

    let mut inputs = BTreeMap::new();
    for &id in &program.inputs {
        let value = program.value(id);
        if value.dtype != Dtype::F32 {
            return Err(format!("the input `{}` is no f32", value.name).into());
        }
        let shape: Vec<usize> = value.shape.iter().map(|&extent| extent as usize).collect();
        let ones = vec![1f32; shape.iter().product()];
        inputs.insert(value.name.clone(), Tensor::from_shape(&shape, &ones)?);
    }

    let options = Options::default();
    let execution =
        Simulator::new(&program, &scnn_host::Host::default())?.run(&inputs, &options)?;
    let report = Report::of(&program, &execution, options.timing);
    for layer in &report.layers {
        let (cycles, pj) = (layer.costs.cycles.total, layer.costs.energy_pj.total);
        println!("{:<20} {cycles:>8} cycles {pj:>12.0} pJ", layer.name);
    }
    Ok(())
}
