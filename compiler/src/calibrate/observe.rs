//! Runs the float model on samples and observes the tensors that quantisation needs, as the machine stores them.

use super::first::Kept;
use super::observed::TensorRecord;
use super::{Calibration, First, Method};
use crate::graph::{Graph, Node, Op};
use crate::reference::float::{FloatError, FloatModel};
use crate::widths::Resolved;
use rayon::prelude::*;
use scnn_isa::placement::Placement;
use scnn_isa::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::prelude::Tensor;

/// The tensors to observe, by the name under which their records are kept.
struct Sources<'a>(BTreeMap<String, ObservedTensor<'a>>);

/// The values that a tensor has, and how the machine stores them.
struct ObservedTensor<'a> {
    /// The name under which the float model knows them.
    values: &'a String,
    placement: Option<&'a Placement>,
}

impl<'a> Sources<'a> {
    /// The tensors `wanted`, and those that hold the same values in other channels.
    fn of(graph: &'a Graph, wanted: &'a [String]) -> Self {
        let wanted = wanted.iter().map(|values| {
            let source = ObservedTensor {
                values,
                placement: None,
            };
            (values.clone(), source)
        });
        let mut sources: BTreeMap<String, ObservedTensor<'a>> = wanted.collect();
        // The channels of a rename are no channels of the machine's.
        let nodes = graph.dag.node_weights();
        for node in nodes.filter(|node| !matches!(node.op, Op::Rename(_))) {
            let (values, placement) = (node.observed_name(), node.placement.as_ref());
            if sources.contains_key(values) {
                let source = ObservedTensor { values, placement };
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
    observed: BTreeMap<(String, Option<Placement>), Option<TensorRecord>>,
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
    let mut observed: BTreeMap<(String, Option<Placement>), Option<TensorRecord>> = BTreeMap::new();
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
                    let mut here = TensorRecord::default();
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
        let mut spacings = BTreeMap::new();
        for (name, ObservedTensor { values, placement }) in Sources::of(graph, wanted).0 {
            let key = (values.clone(), placement.cloned());
            let Some(observed) = self.observed.get(&key)? else {
                continue;
            };
            let bits = bits.get(name.as_str()).copied();
            let range = observed.range(method, bits.unwrap_or(widths.of_network()));
            if let Some(octaves) = observed.octaves(range) {
                channels.insert(name.clone(), octaves);
            }
            spacings.extend(
                observed
                    .spacing
                    .get()
                    .map(|spacing| (name.clone(), spacing)),
            );
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
            spacings,
            sums: BTreeMap::new(),
            on_host: BTreeSet::new(),
        })
    }
}
