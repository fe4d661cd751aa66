//! Choices of a compilation, and how a program says it.

use crate::calibrate::{Calibration, Method};
use crate::import::ImportOptions;
use crate::{map, quantise};
use scnn_host::Host;
use scnn_isa::machine::Machine;
use scnn_isa::program::Ranges;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::prelude::Tensor;

/// One inference's inputs by name.
pub type Sample = BTreeMap<String, Tensor>;

/// Samples to calibrate on.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Where they come from, in words for the calibration file and the program's provenance.
    pub source: String,
    /// The inputs of each inference.
    pub inputs: Vec<Sample>,
}

impl Samples {
    /// Samples from `source`.
    pub fn new(source: impl Into<String>, inputs: Vec<Sample>) -> Self {
        Self {
            source: source.into(),
            inputs,
        }
    }
}

/// Choices of a compilation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// How mappings are found.
    pub mapping: map::Options,
    /// A mapping to take instead, as [`map::file`] writes it.
    pub mapping_file: Option<String>,
    /// Names of optional transforms to leave out.
    pub skipped: BTreeSet<String>,
    /// Number formats.
    pub quantise: quantise::Options,
    /// Sizes and values of inputs.
    pub import: ImportOptions,
    /// Inputs to calibrate on; without any, seeded noise.
    pub samples: Samples,
    /// How ranges are made of what is observed.
    pub method: Method,
    /// Ranges to use instead of observing them.
    pub calibration: Option<Calibration>,
    /// How the model was pruned before, in words for the program's provenance.
    pub pruning: Option<String>,
    /// Seed of that noise.
    pub seed: u64,
    /// Whether a model of which nothing runs on the array is compiled all the same.
    pub allow_host_only: bool,
    /// Whether a model of which anything runs on the host is refused.
    pub no_host: bool,
    /// The runtimes of the host.
    pub host: Host,
}

impl Options {
    /// What `scnnc compile` does without options, for `machine`.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            mapping: map::Options::default(),
            mapping_file: None,
            skipped: BTreeSet::new(),
            quantise: quantise::Options::default(),
            import: ImportOptions::default(),
            samples: Samples::default(),
            method: Method::default(),
            calibration: None,
            pruning: None,
            seed: 1,
            allow_host_only: false,
            no_host: false,
            host: Host::default(),
        }
    }
}

/// The options that decide the program, in canonical order.
pub(super) fn describe(options: &Options, calibration: &Calibration, mapping: &str) -> Vec<String> {
    let mut words = vec![
        format!("machine={}", options.machine.name),
        format!("mapping={mapping}"),
        format!(
            "bits={}",
            options
                .quantise
                .widths
                .of_network(options.machine.pe.operand_bits)
        ),
        format!(
            "headroom={}",
            options
                .quantise
                .headroom
                .unwrap_or_else(|| calibration.method.headroom())
        ),
        format!(
            "calibration={} ({} samples)",
            calibration.source, calibration.samples
        ),
    ];
    if calibration.method != Method::MinMax {
        words.push(format!("method={}", calibration.method));
    }
    let layers = options.quantise.widths.layers.iter();
    words.extend(layers.map(|(name, bits)| format!("bits {name}={bits}")));
    if options.quantise.ranges == Ranges::Calibrated {
        words.push(format!(
            "ranges=calibrated sum-margin={}",
            options.quantise.sum_margin
        ));
    }
    let skipped = options.skipped.iter();
    words.extend(skipped.map(|pass| format!("skip-pass={pass}")));
    words.extend(options.pruning.clone());
    if options.samples.inputs.is_empty() {
        words.push(format!("seed={}", options.seed));
    }
    let ImportOptions {
        dims,
        shapes,
        values,
        // What they say stands in the shapes of the program's inputs.
        arrays: _,
        host: _,
    } = &options.import;
    words.extend(
        dims.iter()
            .map(|(name, value)| format!("dim {name}={value}")),
    );
    words.extend(
        shapes
            .iter()
            .map(|(name, shape)| format!("shape {name}={shape:?}")),
    );
    words.extend(
        values
            .iter()
            .map(|(name, value)| format!("input-value {name}={value}")),
    );
    words
}
