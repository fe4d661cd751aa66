//! The check of a run: every tensor bit for bit against the integer interpreter, layers and outputs against the float
//! model.

use crate::RunError;
use crate::run::Reference;
use scnn_isa::arith::dequantise;
use scnn_isa::plane::Span;
use scnn_isa::program::Program;
use scnn_simulator::Execution;
use scnn_simulator::report::{Accuracy, Report};
use scnnc::compile::Sample;
use scnnc::quantise::{IntLayer, Quantised};
use scnnc::reference::accuracy::{Batch, Comparison, floats};
use scnnc::reference::difference;
use scnnc::reference::interpret::{interpret, interpret_each};
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// What was compared over the samples of a run.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Results of layers that equal the integer interpreter's, over all samples.
    pub tensors: u64,
    /// The outputs beside those of the float reference.
    pub outputs: Comparison,
    /// The float reference in words; none where only the program was known.
    pub reference: Option<String>,
    layers: Vec<LayerComparison>,
}

/// The comparison of one layer's results.
#[derive(Clone, Copy, Debug, Default)]
struct LayerComparison {
    comparison: Comparison,
    values: usize,
    saturated: usize,
}

impl Check {
    /// Checks the execution of `program` on a sample, and returns the float reference's outputs, where there is one.
    ///
    /// # Errors
    /// [`RunError::NotBitExact`], or a reference that does not run.
    pub(crate) fn add(
        &mut self,
        program: &Program,
        reference: &Reference<'_>,
        sample: &Sample,
        execution: &Execution,
        batch: Batch,
    ) -> Result<Option<Sample>, RunError> {
        let Reference {
            network,
            segments,
            float,
            progress,
        } = reference;
        let (mut equal, mut finished) = (true, 0);
        interpret_each(network, sample, segments, &mut |id, theirs| {
            finished += 1;
            progress.layer(finished, network.tensors.len(), &network.tensor(id).name);
            equal &= execution.tensors[id.index()] == theirs;
        })?;
        if !equal {
            let theirs = interpret(network, sample, segments)?.tensors;
            let difference = difference::first(network, program, &execution.tensors, &theirs);
            if let Some(difference) = difference {
                return Err(RunError::NotBitExact(Box::new(difference)));
            }
        }
        let layers = Layers::of(network);
        self.tensors += layers.layers.len() as u64;
        let Some(reference) = float else {
            return Ok(None);
        };
        self.reference = Some(reference.name());
        self.layers
            .resize(layers.layers.len(), LayerComparison::default());
        let mut float = Sample::new();
        reference.run_each(sample, &mut |name, value| {
            for &index in layers.by_tensor.get(name).into_iter().flatten() {
                progress.layer(index + 1, layers.layers.len(), &layers.layers[index].name);
                self.layers[index].add(network, layers.layers[index], execution, value);
            }
            if execution.outputs.contains_key(name) {
                float.insert(name.to_owned(), value.clone());
            }
        })?;
        for (name, ours) in &execution.outputs {
            if let Some(theirs) = float.get(name) {
                self.outputs.add_output(ours, theirs, batch);
            }
        }
        Ok(Some(float))
    }

    /// Puts the comparison of the layers into the report.
    pub(crate) fn report(&self, report: &mut Report) {
        let layers = report.layers.iter_mut().filter(|l| l.engine == "scnn");
        for (layer, entry) in layers.zip(&self.layers) {
            if entry.values > 0 {
                let ratio = entry.comparison.sqnr_db();
                layer.accuracy = Some(Accuracy {
                    sqnr_db: ratio.is_finite().then_some(ratio),
                    largest_error: entry.comparison.largest_error(),
                    mean_error: entry.comparison.mean_error(),
                    saturated: entry.saturated as f64 / entry.values as f64,
                });
            }
        }
    }
}

/// The layers of a network.
struct Layers<'a> {
    layers: Vec<&'a IntLayer>,
    /// By the name of the tensor that they compute, their indices.
    by_tensor: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Layers<'a> {
    fn of(network: &'a Quantised) -> Self {
        let layers: Vec<&IntLayer> = network.layers().collect();
        let mut by_tensor: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, layer) in layers.iter().enumerate() {
            by_tensor.entry(&layer.tensor).or_default().push(index);
        }
        Self { layers, by_tensor }
    }
}

impl LayerComparison {
    /// Adds a layer's result and the float reference's tensor.
    fn add(
        &mut self,
        network: &Quantised,
        layer: &IntLayer,
        execution: &Execution,
        reference: &Tensor,
    ) {
        let view = layer.destination;
        let tensor = network.tensor(view.tensor);
        let all = &execution.tensors[view.tensor.index()];
        let values = channel_values(tensor.shape, view.channels, all);
        let ends = |value: &i16| i32::from(*value).abs() == 32767 || value == &tensor.range[1];
        self.values += values.len();
        self.saturated += values.iter().filter(|value| ends(value)).count();
        let [_, _, rows, cols] = tensor.shape;
        let planes = values.chunks((rows * cols) as usize);
        let units = view.channels.iter().map(|channel| tensor.unit(channel));
        let ours: Vec<f32> = planes
            .zip(units.cycle())
            .flat_map(|(plane, unit)| plane.iter().map(move |&v| dequantise(v, unit)))
            .collect();
        let reference = floats(reference);
        let stored = layer
            .placement
            .as_ref()
            .filter(|lies| lies.elements() == reference.len() as u64);
        let stored = stored.map(|lies| lies.to_machine(&reference));
        self.comparison
            .add(&ours, stored.as_ref().unwrap_or(&reference));
    }
}

/// The values of a range of channels of a tensor `[N, C, H, W]`.
pub fn channel_values([n, c, h, w]: [u32; 4], channels: Span, all: &[i16]) -> Vec<i16> {
    let plane = (h * w) as usize;
    let range = channels.begin as usize * plane..channels.end as usize * plane;
    all.chunks(c as usize * plane)
        .take(n as usize)
        .flat_map(|image| image[range.clone()].iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_of;
    use crate::run::{Options, Reference};
    use scnn_isa::machine::Machine;
    use scnn_simulator::{Options as Timed, Simulator};
    use scnnc::compile;

    /// One value of the second layer's result is another, and only the program is known.
    #[test]
    fn a_value_that_departs_from_what_the_program_says_is_located() {
        let options = compile::Options::new(Machine::preset("scnn").unwrap());
        let compiled = compile::compile(&scnn_models::lenet5(), &options, &mut |_, _| {}).unwrap();
        let program = Program::from_bytes(&compiled.program.to_bytes()).unwrap();
        let samples = crate::samples_or_noise(&compiled, Vec::new(), 1);
        let simulator = Simulator::new(&program, &compiled.host).unwrap();
        let mut execution = simulator.run(&samples[0], &Timed::default()).unwrap();
        let reference = Reference::of(&program, &Options::default()).unwrap();
        let batch = batch_of(&program);
        let mut check = Check::default();
        let float = check.add(&program, &reference, &samples[0], &execution, batch);
        assert!(float.unwrap().is_none(), "there is no float model");
        assert_eq!((check.tensors, check.reference.as_ref()), (4, None));

        let id = program.layers[1].destination.tensor;
        execution.tensors[id.index()][17] ^= 1;
        let found = check.add(&program, &reference, &samples[0], &execution, batch);
        let Err(RunError::NotBitExact(found)) = found else {
            panic!("{found:?}");
        };
        assert_eq!(found.layer.as_deref(), Some("/conv2/Conv"));
        assert_eq!((found.differing, found.largest), (1, 1));
        assert!(found.onnx_nodes.contains(&"/conv2/Conv".to_owned()));
    }
}
