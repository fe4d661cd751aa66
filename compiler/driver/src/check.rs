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
use scnnc::quantise::{Quantised, Step};
use scnnc::reference::accuracy::{Batch, Comparison, floats};
use scnnc::reference::difference;
use scnnc::reference::interpret::interpret;

/// What was compared over the samples of a run.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Results of layers that equal the integer interpreter's, over all samples.
    pub tensors: u64,
    /// The outputs beside those of the float reference.
    pub outputs: Comparison,
    /// The float reference in words.
    pub reference: String,
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
    /// Checks the execution of `program` on a sample, and returns the float model's outputs.
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
    ) -> Result<Sample, RunError> {
        let Reference {
            compiled,
            segments,
            original,
        } = reference;
        let network = &compiled.network;
        let reference = interpret(network, sample, segments)?;
        let (ours, theirs) = (&execution.tensors, &reference.tensors);
        if let Some(difference) = difference::first(network, program, ours, theirs) {
            return Err(RunError::NotBitExact(Box::new(difference)));
        }
        let layers = network.steps.iter();
        self.tensors += layers.filter(|s| matches!(s, Step::Layer(_))).count() as u64;
        let float = if let Some(original) = original {
            self.reference = format!("{} on the file itself", original.runtime);
            original.run(sample)?
        } else {
            "the float model".clone_into(&mut self.reference);
            compiled.float.run(sample)?
        };
        self.compare_layers(network, execution, &float);
        for (name, ours) in &execution.outputs {
            if let Some(theirs) = float.get(name) {
                self.outputs.add_output(ours, theirs, batch);
            }
        }
        Ok(float)
    }

    /// Every layer's result beside the float model's tensor.
    fn compare_layers(&mut self, network: &Quantised, execution: &Execution, float: &Sample) {
        let layers = network.steps.iter().filter_map(|step| match step {
            Step::Layer(layer) => Some(layer),
            Step::Host(_) => None,
        });
        for (index, layer) in layers.enumerate() {
            if self.layers.len() <= index {
                self.layers.push(LayerComparison::default());
            }
            let Some(reference) = float.get(&layer.tensor) else {
                continue;
            };
            let view = layer.destination;
            let tensor = network.tensor(view.tensor);
            let all = &execution.tensors[view.tensor.index()];
            let values = channels(tensor.shape, view.channels, all);
            let entry = &mut self.layers[index];
            let ends = |value: &i16| i32::from(*value).abs() == 32767 || value == &tensor.range[1];
            entry.values += values.len();
            entry.saturated += values.iter().filter(|value| ends(value)).count();
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
            entry
                .comparison
                .add(&ours, stored.as_ref().unwrap_or(&reference));
        }
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

/// The values of a range of channels of a tensor `[N, C, H, W]`.
fn channels([n, c, h, w]: [u32; 4], channels: Span, all: &[i16]) -> Vec<i16> {
    let plane = (h * w) as usize;
    let range = channels.begin as usize * plane..channels.end as usize * plane;
    all.chunks(c as usize * plane)
        .take(n as usize)
        .flat_map(|image| image[range.clone()].iter().copied())
        .collect()
}
