//! Compiles an ONNX model for the paper's machine, runs it on seeded noise, checks it bit for bit, prints the cycles of
//! each layer.
//!
//! `cargo run --package scnnc-driver --example compile_and_run models/tiny.onnx`

use scnn_isa::machine::Machine;
use scnnc::compile::{Options, compile};
use scnnc_driver::{run, samples_or_noise};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give an ONNX model")?;
    let machine = Machine::preset("scnn").ok_or("the preset is there")?;
    let compiled = compile(path.as_ref(), &Options::new(machine), &mut |_, _| {})?;
    let samples = samples_or_noise(&compiled, Vec::new(), 1);
    let options = scnnc_driver::Options {
        compiled: Some(&compiled),
        check: true,
        ..scnnc_driver::Options::default()
    };
    let run = run(&compiled.program, &samples, options)?;
    for layer in &run.report.layers {
        println!("{:<20} {:>8} cycles", layer.name, layer.costs.cycles.total);
    }
    Ok(())
}
