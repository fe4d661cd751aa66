//! Calibration: the ranges of activations, observed by running the float model on samples.
//!
//! The range of a tensor is that of its values ([`Method::MinMax`]), or cut where a [`histogram::Histogram`] of their
//! magnitudes says that the tail costs more than it tells. The shares of non-zeros and, where they are asked for, the
//! sums in the accumulators ([`sums`]) are kept beside them. [`mod@file`] is the YAML form, made to be edited.

pub mod file;
mod first;
pub mod histogram;
mod step;
pub mod sums;
mod synthetic;

pub use first::First;
pub use synthetic::{synthetic, synthetic_input};

use crate::graph::{Graph, Node, Op};
use crate::quantise::widths::{self, Resolved};
use crate::reference::float::{FloatError, FloatModel};
use first::Kept;
use histogram::Histogram;
use multiversion::multiversion;
use rayon::prelude::*;
use scnn_isa::layer::OperandKind;
use scnn_isa::placement::Placement;
use scnn_isa::program::Dtype;
use scnn_isa::progress::Progress;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use step::Step;
use tract_onnx::prelude::{DatumType, Tensor};

/// What was observed of every activation tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Where the samples came from.
    pub source: String,
    /// How many samples were run.
    pub samples: u32,
    /// How the ranges were made of what was observed.
    #[serde(default)]
    pub method: Method,
    /// By ONNX tensor name.
    pub ranges: BTreeMap<String, Range>,
    /// Of tensors whose channels differ much in range.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Octaves>,
    /// The steps of tensors whose values are all multiples of one, as those of pictures are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, f32>,
    /// Largest magnitude of a sum as a share of the proven bound, by layer; see [`sums`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, f64>,
    /// Nodes that the host runs because what it computes of their results loses too much when these are rounded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub on_host: BTreeSet<String>,
}

impl Calibration {
    /// Ranges of -1..1 for the tensors of those names, where nobody asks for values.
    pub fn made_up(names: impl IntoIterator<Item = String>) -> Self {
        let range = Range {
            min: -1.0,
            max: 1.0,
            density: 1.0,
        };
        Self {
            source: "nothing".to_owned(),
            ranges: names.into_iter().map(|name| (name, range)).collect(),
            ..Self::default()
        }
    }
}

/// Range of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Share of non-zeros, 0..=1.
    #[serde(default = "full")]
    pub density: f64,
}

fn full() -> f64 {
    1.0
}

/// By channel, how many octaves its largest magnitude lies below the tensor's: 3 for one of an eighth, and 0 for a
/// channel that is not known. In text, numbers with spaces between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Octaves(pub Vec<u8>);

impl Octaves {
    /// Octaves of the channels' magnitudes below `whole`, less where few values were `seen` of each; none where no channel lies [`NOTABLE_OCTAVES`] below it.
    fn of(magnitudes: &[f32], seen: u64, whole: f32) -> Option<Self> {
        // An octave of room for each halving of what was seen.
        let missing = (ENOUGH_VALUES as f32 / seen.max(1) as f32).log2().ceil();
        let octaves = |&magnitude: &f32| {
            let octaves = (whole / magnitude).log2().floor() - missing.max(0.0);
            let known = magnitude > 0.0 && octaves.is_finite();
            if known {
                octaves.clamp(0.0, 255.0) as u8
            } else {
                0
            }
        };
        let octaves: Vec<u8> = magnitudes.iter().map(octaves).collect();
        let notable = octaves.iter().any(|&octaves| octaves >= NOTABLE_OCTAVES);
        notable.then_some(Self(octaves))
    }
}

impl From<Octaves> for String {
    fn from(octaves: Octaves) -> Self {
        let words: Vec<Self> = octaves.0.iter().map(ToString::to_string).collect();
        words.join(" ")
    }
}

impl TryFrom<String> for Octaves {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |word: &str| {
            word.parse()
                .map_err(|_| format!("`{word}` is not one of 0 to 255"))
        };
        text.split_whitespace()
            .map(number)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Octaves that a channel lies below its tensor for the tensor's channels to be kept.
const NOTABLE_OCTAVES: u8 = 3;

/// Values of a channel from which its largest magnitude says what is to come as well as the tensor's does.
const ENOUGH_VALUES: u64 = 64;

/// How a range is made of the values that were observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Method {
    /// From the smallest to the largest value.
    #[default]
    MinMax,
    /// The magnitude that so many percent of the values other than zero do not exceed.
    Percentile(f64),
    /// The magnitude at which saturating loses the least of the distribution, at the tensor's width.
    Entropy,
}

impl Method {
    /// Factor on ranges made so, unless another is asked for: room for values that no sample had. A cut range is
    /// meant to saturate.
    pub const fn headroom(self) -> f32 {
        match self {
            // Half a bit of the sixteen.
            Self::MinMax => 1.5,
            Self::Percentile(_) | Self::Entropy => 1.0,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile={percent}"),
            Self::Entropy => f.write_str("entropy"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "min-max" => Ok(Self::MinMax),
            "entropy" => Ok(Self::Entropy),
            "percentile" => Ok(Self::Percentile(99.99)),
            _ => text
                .strip_prefix("percentile=")
                .and_then(|percent| percent.parse().ok())
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Self::Percentile)
                .ok_or_else(|| {
                    format!("`{text}` is not one of min-max, entropy, percentile, percentile=99.9")
                }),
        }
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.to_string()
    }
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The tensors whose ranges quantisation needs.
pub fn wanted(graph: &Graph) -> Vec<String> {
    let nodes = graph.dag.node_weights();
    let nodes = nodes.filter(|node| node.dtype == Dtype::F32 && !matches!(node.op, Op::Host(_)));
    let mut names: Vec<String> = nodes
        .flat_map(|node| std::iter::once(node.observed_name()).chain(steps(&node.op)))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The tensors inside a layer whose ranges decide how it computes: arguments of tables, factors of products.
fn steps(op: &Op) -> impl Iterator<Item = &String> {
    let layer = match op {
        Op::Layer(layer) => Some(layer),
        _ => None,
    };
    let product = layer.and_then(|layer| {
        let operand = layer.operand.as_ref();
        let operand = operand.filter(|operand| operand.kind == OperandKind::Multiply);
        operand.map(|operand| &operand.value)
    });
    op.argument().into_iter().chain(product)
}

/// What is observed, by the name under which it is kept.
struct Sources<'a>(BTreeMap<String, Source<'a>>);

/// The values that a tensor has, and how the machine stores them.
struct Source<'a> {
    /// The name under which the float model knows them.
    values: &'a String,
    placement: Option<&'a Placement>,
}

impl<'a> Sources<'a> {
    /// The tensors `wanted`, and those that hold the same values in other channels.
    fn of(graph: &'a Graph, wanted: &'a [String]) -> Self {
        let wanted = wanted.iter().map(|values| {
            let source = Source {
                values,
                placement: None,
            };
            (values.clone(), source)
        });
        let mut sources: BTreeMap<String, Source<'a>> = wanted.collect();
        // The channels of a rename are no channels of the machine's.
        let nodes = graph.dag.node_weights();
        for node in nodes.filter(|node| !matches!(node.op, Op::Rename(_))) {
            let (values, placement) = (node.observed_name(), node.placement.as_ref());
            if sources.contains_key(values) {
                let source = Source { values, placement };
                sources.insert(node.tensor.clone(), source);
            }
            // The argument of a function lies as its result does.
            if let Some(values) = node.op.argument()
                && let Some(source) = sources.get_mut(values)
                && source.placement.is_none()
            {
                source.placement = placement;
            }
        }
        Self(sources)
    }
}

impl<'a> Sources<'a> {
    /// By the name of values, the ways in which the machine stores them.
    fn by_values(&self) -> BTreeMap<&'a str, BTreeSet<Option<&'a Placement>>> {
        let mut by_values: BTreeMap<&str, BTreeSet<Option<&Placement>>> = BTreeMap::new();
        for source in self.0.values() {
            let placements = by_values.entry(source.values).or_default();
            placements.insert(source.placement);
        }
        by_values
    }
}

/// Samples that are run at the same time.
const TOGETHER: usize = 2;

/// What was observed of tensors on samples. It does not depend on what a graph makes of the tensors but for how they are
/// stored, so that it serves several graphs of one model.
#[derive(Debug)]
pub struct Observations {
    /// By the name of the values and how they are stored; nothing of those that the model does not compute.
    observed: BTreeMap<(String, Option<Placement>), Option<Observed>>,
    samples: u32,
}

/// Observes the tensors `wanted`, as `graph` stores them, on `samples`, maps from input name to tensor. Gives the values on
/// the first sample too; none without samples.
///
/// # Errors
/// A sample does not fit the model, or the model fails on it.
pub fn observe(
    graph: &Graph,
    model: &FloatModel,
    wanted: &[String],
    method: Method,
    samples: impl IntoIterator<Item = BTreeMap<String, Tensor>>,
    progress: &dyn Progress,
) -> Result<(Observations, Option<First>), FloatError> {
    let by_values = Sources::of(graph, wanted).by_values();
    let names = names(graph, |values| by_values.contains_key(values));
    let mut first = None;
    let histograms = method != Method::MinMax;
    let mut observed: BTreeMap<(String, Option<Placement>), Option<Observed>> = BTreeMap::new();
    for (values, placements) in &by_values {
        let keys = placements.iter().map(|lies| lies.cloned());
        observed.extend(keys.map(|placement| (((*values).to_owned(), placement), None)));
    }
    let mut count = 0;
    let mut samples = samples.into_iter();
    loop {
        let together: Vec<BTreeMap<String, Tensor>> = samples.by_ref().take(TOGETHER).collect();
        if together.is_empty() {
            break;
        }
        let observe = |(number, sample): (usize, &BTreeMap<String, Tensor>)| {
            let mut kept = (count == 0 && number == 0).then(Kept::default);
            let mut observed = Vec::new();
            let mut number = 0;
            model.run_each(sample, &mut |values, tensor| {
                if let Some(name) = names.get(values) {
                    number += 1;
                    progress.layer(number, names.len(), name);
                }
                for &placement in by_values.get(values).into_iter().flatten() {
                    let mut here = Observed::default();
                    here.add(tensor, placement, histograms);
                    observed.push(((values.to_owned(), placement.cloned()), here));
                }
                if let Some(kept) = &mut kept {
                    kept.take(values, tensor);
                }
            })?;
            Ok::<_, FloatError>((observed, kept.map(|kept| First::new(sample, kept))))
        };
        let results: Vec<_> = together.par_iter().enumerate().map(observe).collect();
        for results in results {
            let (of_sample, kept) = results?;
            count += 1;
            for (key, of_sample) in of_sample {
                let before = observed.entry(key).or_default();
                before.get_or_insert_default().join(&of_sample);
            }
            first = first.or(kept);
        }
    }
    let samples = count;
    Ok((Observations { observed, samples }, first))
}

/// By tensor of the float model that is wanted, the node that computes it.
fn names(graph: &Graph, wanted: impl Fn(&str) -> bool) -> BTreeMap<&str, &str> {
    let nodes = graph.dag.node_weights();
    let names = nodes.map(|node: &Node| {
        let values = node.observed_as.as_ref().unwrap_or(&node.tensor);
        (values.as_str(), node.name())
    });
    names.filter(|(values, _)| wanted(values)).collect()
}

impl Observations {
    /// The calibration of the tensors `wanted` of `graph`; none where something was not observed. `widths` are those that the
    /// tensors will have, which only [`Method::Entropy`] asks for.
    pub fn calibration(
        &self,
        graph: &Graph,
        wanted: &[String],
        source: &str,
        method: Method,
        widths: &Resolved,
    ) -> Option<Calibration> {
        let mut bits: BTreeMap<&str, u32> = BTreeMap::new();
        for id in graph.dag.node_indices() {
            let asked = bits.entry(&graph.dag[id].tensor).or_default();
            *asked = (*asked).max(widths.activations(graph, id));
        }
        let (mut ranges, mut channels) = (BTreeMap::new(), BTreeMap::new());
        let mut steps = BTreeMap::new();
        for (name, Source { values, placement }) in Sources::of(graph, wanted).0 {
            let key = (values.clone(), placement.cloned());
            let Some(observed) = self.observed.get(&key)? else {
                continue;
            };
            let bits = bits.get(name.as_str()).copied();
            let range = observed.range(method, bits.unwrap_or(widths.of_network()));
            if let Some(octaves) = observed.octaves(range) {
                channels.insert(name.clone(), octaves);
            }
            steps.extend(observed.step.get().map(|step| (name.clone(), step)));
            // A tensor that lies otherwise has the range of what it is.
            if *values == name {
                ranges.insert(name, range);
            }
        }
        Some(Calibration {
            source: source.to_owned(),
            samples: self.samples,
            method,
            ranges,
            channels,
            steps,
            sums: BTreeMap::new(),
            on_host: BTreeSet::new(),
        })
    }
}

/// What is kept of a tensor from one sample to the next.
#[derive(Debug)]
struct Observed {
    min: f32,
    max: f32,
    density: f64,
    step: Step,
    samples: u32,
    histogram: Histogram,
    /// By channel, its largest magnitude; and values seen of each.
    channels: Vec<f32>,
    per_channel: u64,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            density: 0.0,
            step: Step::default(),
            samples: 0,
            histogram: Histogram::default(),
            channels: Vec::new(),
            per_channel: 0,
        }
    }
}

impl Observed {
    fn add(&mut self, tensor: &Tensor, placement: Option<&Placement>, histogram: bool) {
        let Ok(view) = tensor.to_plain_array_view::<f32>() else {
            return;
        };
        let values = view.as_standard_layout();
        let values = values.as_slice().unwrap_or_default();
        let extent = self.extent(values, placement);
        self.min = self.min.min(extent.min);
        self.max = self.max.max(extent.max);
        self.step.see(values);
        if histogram {
            let counted = |value: &&f32| value.is_finite() && **value != 0.0;
            for value in values.iter().filter(counted) {
                self.histogram.add(*value);
            }
        }
        let density = extent.nonzero as f64 / values.len().max(1) as f64;
        self.samples += 1;
        self.density += (density - self.density) / f64::from(self.samples);
    }

    /// Adds what was observed on later samples.
    fn join(&mut self, later: &Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.step.join(&later.step);
        self.histogram.join(&later.histogram);
        if self.channels.len() < later.channels.len() {
            self.channels.resize(later.channels.len(), 0.0);
        }
        for (largest, &later) in self.channels.iter_mut().zip(&later.channels) {
            *largest = largest.max(later);
        }
        self.per_channel += later.per_channel;
        self.samples += later.samples;
        let further = (later.density - self.density) * f64::from(later.samples);
        self.density += further / f64::from(self.samples.max(1));
    }

    /// What is seen of the values, channel by channel where they have any.
    fn extent(&mut self, values: &[f32], placement: Option<&Placement>) -> Extent {
        let sized = |lies: &&Placement| lies.elements() == values.len() as u64;
        let lies = placement.filter(sized);
        let Some((lies, [images, channels, rows, cols])) = lies.and_then(|p| Some((p, p.shape()?)))
        else {
            return extent(values);
        };
        let stored = (!lies.is_row_major()).then(|| lies.to_machine(values));
        let values = stored.as_deref().unwrap_or(values);
        self.channels.resize(channels as usize, 0.0);
        self.per_channel += u64::from(images) * u64::from(rows) * u64::from(cols);
        let mut whole = extent(&[]);
        let planes = values.chunks((rows * cols).max(1) as usize);
        for (index, plane) in planes.enumerate() {
            let of_plane = extent(plane);
            let largest = &mut self.channels[index % channels as usize];
            *largest = largest.max(of_plane.max).max(-of_plane.min);
            whole = whole.and(&of_plane);
        }
        whole
    }

    /// The octaves of the channels, as far as what was seen of them tells.
    fn octaves(&self, range: Range) -> Option<Octaves> {
        let whole = range.max.abs().max(range.min.abs());
        Octaves::of(&self.channels, self.per_channel, whole)
    }

    fn range(&self, method: Method, bits: u32) -> Range {
        let cut = match method {
            Method::MinMax => f32::INFINITY,
            Method::Percentile(percent) => self.histogram.percentile(percent),
            Method::Entropy => self.histogram.entropy(widths::magnitude(bits) as usize),
        };
        // Of no finite value, zeros.
        let (min, max) = if self.min <= self.max {
            (self.min, self.max)
        } else {
            (0.0, 0.0)
        };
        Range {
            min: min.clamp(-cut, cut),
            max: max.clamp(-cut, cut),
            density: self.density,
        }
    }
}

/// What is seen of some values, of those that are finite.
struct Extent {
    min: f32,
    max: f32,
    nonzero: u64,
}

impl Extent {
    /// What is seen of both.
    fn and(&self, other: &Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            nonzero: self.nonzero + other.nonzero,
        }
    }
}

/// Values that are looked at together.
const LANES: usize = 16;

#[multiversion(targets("x86_64+avx2"))]
fn extent(values: &[f32]) -> Extent {
    let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut nonzero = 0u64;
    // `<` instead of `f32::min`: no NaN handling, so it vectorises.
    let mut see = |values: &[f32; LANES]| {
        let mut here = 0u32;
        for (lane, &value) in values.iter().enumerate() {
            let finite = value.abs() < f32::INFINITY;
            min[lane] = if finite && value < min[lane] {
                value
            } else {
                min[lane]
            };
            max[lane] = if finite && value > max[lane] {
                value
            } else {
                max[lane]
            };
            here += u32::from(finite && value != 0.0);
        }
        nonzero += u64::from(here);
    };
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        see(values);
    }
    // Values that are not finite change nothing.
    let mut last = [f32::NAN; LANES];
    last[..rest.len()].copy_from_slice(rest);
    see(&last);
    Extent {
        min: min.into_iter().fold(f32::INFINITY, f32::min),
        max: max.into_iter().fold(f32::NEG_INFINITY, f32::max),
        nonzero,
    }
}

/// tract's name of an element type.
pub fn datum_type(dtype: Dtype) -> DatumType {
    match dtype {
        Dtype::F32 => DatumType::F32,
        Dtype::F64 => DatumType::F64,
        Dtype::F16 => DatumType::F16,
        Dtype::I8 => DatumType::I8,
        Dtype::I16 => DatumType::I16,
        Dtype::I32 => DatumType::I32,
        Dtype::I64 => DatumType::I64,
        Dtype::U8 => DatumType::U8,
        Dtype::U16 => DatumType::U16,
        Dtype::U32 => DatumType::U32,
        Dtype::U64 => DatumType::U64,
        Dtype::Bool => DatumType::Bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_that_of_the_finite_values() {
        for count in [0, 1, 15, 16, 17, 100] {
            let value = |index: usize| match index % 7 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2 => f32::NEG_INFINITY,
                3 => 0.0,
                _ => (index as f32 - 50.0) / 3.0,
            };
            let values: Vec<f32> = (0..count).map(value).collect();
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            let extent = extent(&values);
            assert_eq!(extent.min, finite().fold(f32::INFINITY, f32::min));
            assert_eq!(extent.max, finite().fold(f32::NEG_INFINITY, f32::max));
            let nonzero = finite().filter(|&value| value != 0.0).count();
            assert_eq!(extent.nonzero, nonzero as u64);
        }
    }

    #[test]
    fn methods_are_read_as_they_are_written() {
        for text in ["min-max", "entropy", "percentile=99.9"] {
            assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
        }
        assert_eq!("percentile".parse(), Ok(Method::Percentile(99.99)));
        assert!("percentile=101".parse::<Method>().is_err());
        assert!("mean".parse::<Method>().is_err());
    }

    /// Three channels, of which one is an eighth of the largest and one is always zero.
    #[test]
    fn the_octaves_of_channels_are_kept_where_they_differ_and_less_where_little_was_seen() {
        let octaves_of = |factors: [f32; 3], samples: usize| {
            let plane = |factor: f32| (0..32).map(move |i| factor * (i as f32 - 31.0) / 31.0);
            let values: Vec<f32> = factors.into_iter().flat_map(plane).collect();
            let tensor = Tensor::from_shape(&[1, 3, 4, 8], &values).unwrap();
            let mut observed = Observed::default();
            (0..samples)
                .for_each(|_| observed.add(&tensor, "3c 4y 8x".parse().ok().as_ref(), false));
            let range = observed.range(Method::MinMax, 16);
            observed.octaves(range).map(|octaves| octaves.0)
        };
        assert_eq!(octaves_of([2.0, 0.25, 0.0], 2), Some(vec![0, 3, 0]));
        assert_eq!(
            octaves_of([2.0, 0.25, 0.0], 1),
            None,
            "32 values of a channel"
        );
        assert_eq!(octaves_of([2.0, 0.1, 0.0], 2), Some(vec![0, 4, 0]));
        assert_eq!(octaves_of([2.0, 0.1, 0.0], 1), Some(vec![0, 3, 0]));
        assert_eq!(
            octaves_of([2.0, 0.3, 0.5], 2),
            None,
            "within a factor of eight"
        );
    }

    #[test]
    fn octaves_are_read_as_they_are_written() {
        let octaves = Octaves(vec![0, 12, 3]);
        assert_eq!(String::from(octaves.clone()), "0 12 3");
        assert_eq!("0 12 3".to_owned().try_into(), Ok(octaves));
        assert!(Octaves::try_from("0 x".to_owned()).is_err());
    }

    #[test]
    fn a_cut_range_keeps_its_signs() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).chain([50.0]).collect();
        let mut observed = Observed::default();
        observed.add(&Tensor::from_shape(&[1001], &values).unwrap(), None, true);
        let range = observed.range(Method::Percentile(99.0), 16);
        assert!(range.min == 0.0 && range.max < 1.1, "{range:?}");
        assert_eq!(observed.range(Method::MinMax, 16).max, 50.0);
        assert!((range.density - 1000.0 / 1001.0).abs() < 1e-9);
    }
}
