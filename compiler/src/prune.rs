//! Pruning: weights of the float model set to zero, before anything is calibrated.
//!
//! It acts on the ONNX model, so the graph, the float reference and what `--save-onnx` writes are one and the same. How
//! much goes is a density for all layers, densities by layer, or an accuracy that has to be kept ([`budget`]); which
//! weights go is the [`Pattern`]'s. Zeros in the file stay zeros. It does not know how the model is quantised or run:
//! who asks for a budget brings what judges it.

pub mod budget;
pub mod densities;
pub mod pattern;
pub mod quantised;
pub mod sites;
pub mod write_back;

use crate::codes::Code;
use crate::compile::Sample;
use crate::graph::Op;
use crate::import::{ImportErrors, Imported, Source};
use crate::names::{NameError, resolve};
use crate::reference::accuracy::{Batch, Comparison};
use crate::reference::float::{FloatError, FloatModel};
use budget::{Budget, DensitySearch, Judge};
use densities::Densities;
pub use pattern::Pattern;
use scnn_isa::diagnostic::{Code as IsaCode, CodeEntry, Diagnostic};
use sites::{Site, sites};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use tract_onnx::prelude::Tensor;
use write_back::PrunedWeights;

/// Outputs of a model by name.
pub type Outputs = BTreeMap<String, Tensor>;

/// What to prune.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Which weights go.
    pub pattern: Pattern,
    /// How many.
    pub target: Target,
}

/// How much of a model is pruned.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Every layer to this density, 0..=1.
    Density(f64),
    /// Every layer to its own.
    Layers(Densities),
    /// As much as an accuracy allows.
    Budget(Budget),
}

/// What was pruned.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// Which weights went.
    pub pattern: Pattern,
    /// Every layer that could be pruned, in the model's order.
    pub layers: Vec<PrunedLayer>,
    /// Nodes that the array multiplies for and whose weights cannot be pruned: they are computed, or shared otherwise.
    pub left_out: Vec<String>,
    /// The pruned float model's outputs beside the unpruned one's, on the calibration samples.
    pub float: Comparison,
    /// What was measured where there was a budget.
    pub outcome: Option<budget::Outcome>,
    source: Arc<Source>,
    sites: Vec<Site>,
}

/// A layer that could be pruned.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunedLayer {
    /// ONNX node; the first of those that share the weights.
    pub name: String,
    /// Number of weights.
    pub weights: usize,
    /// Share of non-zeros in the file.
    pub before: f64,
    /// Share of non-zeros now.
    pub after: f64,
}

/// Why a model was not pruned.
#[derive(Debug, Error)]
pub enum PruneError {
    /// It has no weights to prune.
    #[error("the model has no constant weights that the array multiplies with")]
    NoWeights,
    /// A density is given for a layer that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A float model does not run.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The pruned model is refused.
    #[error(transparent)]
    Import(#[from] ImportErrors),
    /// What judges a budget failed.
    #[error("{0}")]
    Judge(String),
    /// A budget of accuracy without labels to tell it.
    #[error("a budget of top-1 accuracy needs the class of every calibration sample")]
    Unlabelled,
}

impl PruneError {
    /// As diagnostics about the model `file`; never empty.
    pub fn diagnostics(&self, file: &str) -> Vec<Diagnostic> {
        let of_file = |code: CodeEntry| Diagnostic::of_file(code, file, self.to_string());
        let helped = |code: CodeEntry, help: String| Diagnostic {
            help: Some(help),
            ..of_file(code)
        };
        vec![match self {
            Self::Import(errors) => return errors.diagnostics(file),
            Self::Name(name) => helped(IsaCode::UnknownName.into(), name.help()),
            Self::Unlabelled => helped(
                IsaCode::InputMissing.into(),
                "give `--calibrate FILE.npz` with an array `labels`, or `--calibration-labels FILE`"
                    .to_owned(),
            ),
            Self::NoWeights => of_file(Code::NothingToPrune.into()),
            Self::Float(_) | Self::Judge(_) => of_file(Code::FloatModel.into()),
        }]
    }
}

/// A layer while it is decided upon.
pub(crate) struct Subject {
    pub site: Site,
    /// The weights in the file.
    pub weights: Vec<f32>,
    /// Multiplications of a dense machine for each of them.
    pub macs_per_weight: f64,
}

/// Prunes `imported`; `progress` is told how many of how many steps are done.
///
/// # Errors
/// See [`PruneError`].
pub fn prune(
    imported: &Imported,
    options: &Options,
    judge: &Judge<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Imported, Pruned), PruneError> {
    let subjects = subjects(imported);
    if subjects.is_empty() {
        return Err(PruneError::NoWeights);
    }
    let reference = outputs(imported, judge.samples)?;
    let mut outcome = None;
    let targets = match &options.target {
        Target::Density(density) => vec![Some(*density); subjects.len()],
        Target::Layers(densities) => by_name(densities, &subjects)?,
        Target::Budget(budget) => {
            let search = DensitySearch {
                imported,
                subjects: &subjects,
                pattern: options.pattern,
                budget: *budget,
                judge,
                reference: &reference,
            };
            let found = search.run(progress)?;
            outcome = Some(found.outcome);
            found.targets
        }
    };
    let pruned = apply(imported, &subjects, options.pattern, &targets)?;
    let layers = subjects.iter().map(|subject| PrunedLayer {
        name: subject.site.name().to_owned(),
        weights: subject.weights.len(),
        before: pattern::density(&subject.weights),
        after: subject
            .site
            .weights(&pruned.source)
            .map_or(0.0, |weights| pattern::density(&weights)),
    });
    let now = outputs(&pruned, judge.samples)?;
    let known = |name: &String| subjects.iter().any(|s| s.site.nodes.contains(name));
    let report = Pruned {
        pattern: options.pattern,
        layers: layers.collect(),
        left_out: names(imported)
            .into_keys()
            .filter(|name| !known(name))
            .collect(),
        float: compare(&now, &reference, Batch::of_graph(&imported.graph)),
        outcome,
        source: Arc::clone(&pruned.source),
        sites: subjects
            .iter()
            .map(|subject| subject.site.clone())
            .collect(),
    };
    Ok((pruned, report))
}

/// `imported` with every layer pruned to its target; those without one stay as they are.
pub(crate) fn apply(
    imported: &Imported,
    subjects: &[Subject],
    pattern: Pattern,
    targets: &[Option<f64>],
) -> Result<Imported, ImportErrors> {
    let mut changed = BTreeMap::new();
    for (subject, target) in subjects.iter().zip(targets) {
        let Some(target) = target else { continue };
        let weights = subject.pruned(pattern, *target);
        if weights != subject.weights
            && let Some(tensor) = subject.site.tensor_of(&weights, &imported.source)
        {
            changed.insert(subject.site.tensor.clone(), tensor);
        }
    }
    imported.with_weights(changed)
}

/// Names of the layers that can be pruned, in the model's order.
pub fn prunable(imported: &Imported) -> Vec<String> {
    let names = names(imported);
    sites(&imported.source, &|name| names.contains_key(name))
        .iter()
        .map(|site| site.name().to_owned())
        .collect()
}

/// A model of which one layer is pruned.
#[derive(Clone, Debug)]
pub struct PrunedAlone {
    /// The model.
    pub imported: Imported,
    /// Share of the layer's non-zeros in the file.
    pub before: f64,
    /// Share of them now.
    pub after: f64,
}

/// `imported` with one layer pruned, of the name that [`prunable`] gives; `None` where it is sparser already.
///
/// # Errors
/// The pruned model is refused.
pub fn prune_layer(
    imported: &Imported,
    layer: &str,
    pattern: Pattern,
    density: f64,
) -> Result<Option<PrunedAlone>, ImportErrors> {
    let names = names(imported);
    let sites = sites(&imported.source, &|name| names.contains_key(name));
    let site = sites.into_iter().find(|site| site.name() == layer);
    let Some(subject) = site.and_then(|site| Subject::of(imported, site, &names)) else {
        return Ok(None);
    };
    let weights = subject.pruned(pattern, density);
    let (before, after) = (
        pattern::density(&subject.weights),
        pattern::density(&weights),
    );
    if before == after {
        return Ok(None);
    }
    let imported = apply(imported, &[subject], pattern, &[Some(density)])?;
    Ok(Some(PrunedAlone {
        imported,
        before,
        after,
    }))
}

/// The nodes that the array multiplies for, and their multiplications for each weight.
fn names(imported: &Imported) -> BTreeMap<String, f64> {
    let mut names = BTreeMap::new();
    for node in imported.graph.dag.node_weights() {
        let Op::Layer(layer) = &node.op else { continue };
        let Some(conv) = &layer.conv else { continue };
        let images = node.shape().map_or(1, |shape| shape[0]);
        let macs = conv.macs(images) as f64 / conv.weights.len().max(1) as f64;
        names.extend(node.onnx_nodes.iter().map(|name| (name.clone(), macs)));
    }
    names
}

fn subjects(imported: &Imported) -> Vec<Subject> {
    let names = names(imported);
    sites(&imported.source, &|name| names.contains_key(name))
        .into_iter()
        .filter_map(|site| Subject::of(imported, site, &names))
        .collect()
}

impl Subject {
    fn of(imported: &Imported, site: Site, macs: &BTreeMap<String, f64>) -> Option<Self> {
        let nodes = site.nodes.iter();
        let macs_per_weight = nodes.filter_map(|node| macs.get(node)).sum();
        Some(Self {
            weights: site.weights(&imported.source)?,
            macs_per_weight,
            site,
        })
    }

    /// The weights, pruned to `target` from what they are in the file.
    pub fn pruned(&self, pattern: Pattern, target: f64) -> Vec<f32> {
        let mut weights = self.weights.clone();
        pattern::prune(&mut weights, &self.site.layout, pattern, target);
        weights
    }
}

fn by_name(densities: &Densities, subjects: &[Subject]) -> Result<Vec<Option<f64>>, NameError> {
    let mut entries = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let nodes = subject.site.nodes.iter();
        entries.extend(nodes.map(|name| (name.as_str(), index)));
    }
    let mut targets = vec![densities.default; subjects.len()];
    for (name, density) in &densities.layers {
        targets[resolve(name, &entries)?] = Some(*density);
    }
    Ok(targets)
}

/// What the float model computes for each sample.
pub(crate) fn outputs(imported: &Imported, samples: &[Sample]) -> Result<Vec<Outputs>, FloatError> {
    let float = FloatModel::new(imported.typed.clone(), &[])?;
    samples.iter().map(|sample| float.run(sample)).collect()
}

/// All outputs of `ours` beside those of `reference`.
pub(crate) fn compare(ours: &[Outputs], reference: &[Outputs], batch: Batch) -> Comparison {
    let mut comparison = Comparison::default();
    for (ours, reference) in ours.iter().zip(reference) {
        for (name, theirs) in reference {
            if let Some(ours) = ours.get(name) {
                comparison.add_output(ours, theirs, batch);
            }
        }
    }
    comparison
}

impl Pruned {
    /// Share of non-zeros of all weights, before and after.
    pub fn density(&self) -> (f64, f64) {
        let weights: usize = self.layers.iter().map(|layer| layer.weights).sum();
        let share = |pick: fn(&PrunedLayer) -> f64| {
            let left = self.layers.iter().map(|l| pick(l) * l.weights as f64);
            left.sum::<f64>() / weights.max(1) as f64
        };
        (share(|l| l.before), share(|l| l.after))
    }

    /// The densities reached, in the form that is read.
    pub fn densities(&self) -> Densities {
        let layers = self.layers.iter();
        Densities {
            pattern: self.pattern,
            default: None,
            layers: layers.map(|l| (l.name.clone(), l.after)).collect(),
        }
    }

    /// Every pruned tensor's weights by its name.
    pub fn weights(&self) -> BTreeMap<&str, PrunedWeights> {
        let sites = self.sites.iter();
        sites
            .filter_map(|site| Some((site.tensor.as_str(), site.stored(&self.source)?)))
            .collect()
    }
}
