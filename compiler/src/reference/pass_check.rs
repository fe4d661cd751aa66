//! `--verify-passes`: what a graph computes is compared before and after every transform.
//!
//! Transforms may take tensors away and rename outputs' producers, but a tensor that is there before and after must
//! have the same values, up to the rounding of floats that are added in another order. The first pass that breaks
//! this is named, with the tensor and by how much.

use crate::graph::Graph;
use crate::reference::evaluate::{EvaluateError, Values, evaluate, floats};
use scnn_host::Host;
use thiserror::Error;

/// Largest difference, as a share of the tensor's largest magnitude: factors that are multiplied into weights round
/// once more in each.
const TOLERANCE: f32 = 1e-4;

/// Why the passes cannot be trusted.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PassError {
    /// A pass changed what a tensor holds.
    #[error("the pass `{pass}` changes tensor `{tensor}`: index {index} was {before}, is {after}")]
    Changed {
        /// The pass.
        pass: String,
        /// The tensor.
        tensor: String,
        /// Where it differs most.
        index: usize,
        /// The value before the pass.
        before: f32,
        /// The value after it.
        after: f32,
    },
    /// A pass lost an output.
    #[error("the pass `{pass}` loses the output `{output}`")]
    Lost {
        /// The pass.
        pass: String,
        /// The output.
        output: String,
    },
    /// The graph cannot be evaluated.
    #[error("after the pass `{pass}`, {source}")]
    Evaluate {
        /// The pass.
        pass: String,
        /// Why.
        source: EvaluateError,
    },
}

/// Compares what a graph computes from pass to pass; show it the graph after import and after every pass.
#[derive(Debug)]
pub struct PassCheck {
    inputs: Values,
    host: Host,
    before: Option<Values>,
    passes: usize,
    error: Option<PassError>,
}

impl PassCheck {
    /// A check on these inputs, with these runtimes.
    pub fn new(inputs: Values, host: Host) -> Self {
        Self {
            inputs,
            host,
            before: None,
            passes: 0,
            error: None,
        }
    }

    /// Evaluates the graph and compares it with the one before.
    pub fn observe(&mut self, pass: &str, graph: &Graph) {
        if self.error.is_some() {
            return;
        }
        match evaluate(graph, &self.inputs, &self.host) {
            Err(source) => {
                self.error = Some(PassError::Evaluate {
                    pass: pass.to_owned(),
                    source,
                });
            }
            Ok(values) => {
                if let Some(before) = &self.before {
                    self.passes += 1;
                    self.error = compare(pass, graph, before, &values).err();
                }
                self.before = Some(values);
            }
        }
    }

    /// How many passes were compared.
    ///
    /// # Errors
    /// The first pass that changed a value.
    pub fn finish(self) -> Result<usize, PassError> {
        self.error.map_or(Ok(self.passes), Err)
    }
}

fn compare(pass: &str, graph: &Graph, before: &Values, after: &Values) -> Result<(), PassError> {
    if let Some((output, _)) = graph
        .outputs
        .iter()
        .find(|(name, _)| !after.contains_key(name))
    {
        return Err(PassError::Lost {
            pass: pass.to_owned(),
            output: output.clone(),
        });
    }
    for (tensor, after) in after {
        let Some(before) = before.get(tensor) else {
            continue;
        };
        let (Ok(before), Ok(after)) = (floats(before), floats(after)) else {
            continue;
        };
        let magnitude = before.iter().fold(0f32, |m, v| m.max(v.abs()));
        let limit = magnitude * TOLERANCE + f32::MIN_POSITIVE;
        let differs = |(_, (b, a)): &(usize, (&f32, &f32))| {
            // Not-a-numbers and infinities that stay what they are do not differ.
            let same = *b == *a || (b.is_nan() && a.is_nan());
            let gap = (*b - *a).abs();
            !same && (gap.is_nan() || gap > limit)
        };
        let worst = before
            .iter()
            .zip(&after)
            .enumerate()
            .filter(differs)
            .max_by(|x, y| {
                let gap = |(_, (b, a)): &(usize, (&f32, &f32))| (*b - *a).abs();
                gap(x).total_cmp(&gap(y))
            });
        if before.len() != after.len() || worst.is_some() {
            let (index, (before, after)) = worst.unwrap_or((0, (&f32::NAN, &f32::NAN)));
            return Err(PassError::Changed {
                pass: pass.to_owned(),
                tensor: tensor.clone(),
                index,
                before: *before,
                after: *after,
            });
        }
    }
    Ok(())
}
