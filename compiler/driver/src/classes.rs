//! The classes of the images of a run, and how many of them a program finds.

use scnn_isa::program::Program;
use scnnc::compile::Sample;
use scnnc::reference::accuracy::{Batch, correct};

/// The class of every image of the samples, if these are known, and the output that is to say them.
#[derive(Clone, Copy, Debug)]
pub struct Classes<'a> {
    labels: Option<&'a [usize]>,
    output: Option<&'a str>,
    batch: Batch,
}

impl<'a> Classes<'a> {
    /// Of the images that `program` runs on, one after the other; its first output classifies.
    pub fn new(program: &'a Program, labels: Option<&'a [usize]>) -> Self {
        let first = program.outputs.first();
        Self {
            labels,
            output: first.map(|&id| program.value(id).name.as_str()),
            batch: crate::batch_of(program),
        }
    }

    /// Images of the sample of that number that are classified as labelled; none where there are no labels.
    pub fn hits(&self, number: usize, outputs: &Sample) -> usize {
        let output = self.output.and_then(|name| outputs.get(name));
        let of_sample = |all: &'a [usize]| all.chunks(self.batch.images()).nth(number);
        match (output, self.labels.and_then(of_sample)) {
            (Some(output), Some(labels)) => correct(output, self.batch, labels),
            _ => 0,
        }
    }

    /// The share that a number of hits is of the images of `samples` samples; none where there are no labels.
    pub fn share(&self, hits: usize, samples: usize) -> Option<f64> {
        let images = samples * self.batch.images();
        self.labels.map(|_| hits as f64 / images.max(1) as f64)
    }
}
