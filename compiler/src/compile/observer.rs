//! Stages of a compilation, and the observer that follows them.

use super::fallback::Fallback;
use crate::graph::Graph;

/// A part of a compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The graph is brought into the machine's form.
    Transform,
    /// The float model runs on the calibration samples.
    Calibrate,
    /// Scales, integer weights, product shifts.
    Quantise,
    /// Tiles, output-channel groups, places in memory.
    Map,
    /// Weights are packed, instructions written and verified.
    Emit,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Transform,
        Self::Calibrate,
        Self::Quantise,
        Self::Map,
        Self::Emit,
    ];

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Calibrate => "calibrate",
            Self::Quantise => "quantise",
            Self::Map => "map",
            Self::Emit => "emit",
        }
    }
}

/// Receives the progress of a compilation.
pub trait Observer {
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}
    /// The graph after import, and after every transform.
    fn graph(&mut self, _pass: &str, _graph: &Graph) {}
    /// The model is compiled anew, with some nodes on the host.
    fn fallback(&mut self, _fallback: &Fallback) {}
}

/// Nobody.
impl Observer for () {}

/// Who wants the graphs alone.
pub(super) struct Graphs<'a>(pub(super) &'a mut dyn FnMut(&str, &Graph));

impl Observer for Graphs<'_> {
    fn graph(&mut self, pass: &str, graph: &Graph) {
        (self.0)(pass, graph);
    }
}
