//! Samples: the inputs of the inferences to run.

use crate::RunError;
use scnn_isa::program::Program;
use scnnc::calibrate::{synthetic, synthetic_input};
use scnnc::compile::{Compiled, Sample};
use scnnc::reference::accuracy::Batch;

/// The samples that were given, or else one of seeded noise.
pub fn samples_or_noise(compiled: &Compiled, given: Vec<Sample>, seed: u64) -> Vec<Sample> {
    if given.is_empty() {
        vec![synthetic(&compiled.graph, seed)]
    } else {
        given
    }
}

/// A sample of seeded noise for a program: the one that its model gets.
///
/// # Errors
/// An input of a type that no noise is made for.
pub fn noise_for(program: &Program, seed: u64) -> Result<Sample, RunError> {
    let values = program.inputs.iter().map(|&id| program.value(id));
    let noise = values.enumerate().map(|(index, value)| {
        let seed = seed.wrapping_add(index as u64);
        let noise = synthetic_input(value.dtype, &value.shape, seed)
            .ok_or_else(|| RunError::NoNoise(value.name.clone()))?;
        Ok((value.name.clone(), noise))
    });
    noise.collect()
}

/// Images that one inference of a program takes.
pub fn batch_of(program: &Program) -> Batch {
    let values = program.inputs.iter().map(|&id| program.value(id));
    Batch::of(values.map(|value| value.shape.as_slice()))
}
