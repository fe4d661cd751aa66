//! Stages of a compilation, and the observer that follows them.

use super::fallback::Fallback;
use crate::graph::Graph;
use scnn_isa::progress::Progress;

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
    /// Receives the layers of the stages.
    fn layers(&self) -> &dyn Progress {
        &()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Options, compile_imported};
    use crate::import::{ImportOptions, import};
    use scnn_isa::machine::Machine;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;
    use std::sync::Mutex;

    /// The layers of each stage.
    #[derive(Default)]
    struct Heard {
        stage: Option<&'static str>,
        layers: Mutex<BTreeMap<&'static str, BTreeSet<String>>>,
    }

    impl Progress for Heard {
        fn layer(&self, number: usize, count: usize, name: &str) {
            assert!((1..=count).contains(&number), "{name}: {number} of {count}");
            let mut layers = self.layers.lock().unwrap();
            let stage = self.stage.expect("a stage has begun");
            layers.entry(stage).or_default().insert(name.to_owned());
        }
    }

    impl Observer for Heard {
        fn stage(&mut self, stage: Stage) {
            self.stage = Some(stage.name());
        }

        fn layers(&self) -> &dyn Progress {
            self
        }
    }

    #[test]
    fn every_stage_after_the_transforms_names_every_layer() {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/lenet5.onnx");
        let imported = import(Path::new(model), &ImportOptions::default()).unwrap();
        let options = Options::new(Machine::preset("scnn").unwrap());
        let mut heard = Heard::default();
        compile_imported(imported, &options, &mut heard).unwrap();
        let layers = heard.layers.into_inner().unwrap();
        for stage in Stage::ALL
            .iter()
            .filter(|stage| **stage != Stage::Transform)
        {
            for layer in ["/conv1/Conv", "/conv2/Conv", "/fc1/Gemm", "/fc2/Gemm"] {
                let named = &layers[stage.name()];
                assert!(named.contains(layer), "{}: {named:?}", stage.name());
            }
        }
    }
}
