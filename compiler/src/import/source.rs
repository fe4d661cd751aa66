//! The source of an imported model, from which it can be imported again with other weights.

use super::Large;
use super::islands::islands;
use super::shapeless;
use super::statistics::statistics;
use super::{ImportErrors, Imported, Importer, typed_passes, typing, value_info};
use crate::normalise::parts::node_name;
use crate::normalise::{Normalised, Undecided};
use scnn_host::Host;
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::Tensor;
use tract_onnx::tensor::load_tensor;

/// A model with bound dimensions and loaded data, its large initializers beside it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The model with its composite operators decomposed.
    model: ModelProto,
    /// The model before that, once it is.
    composite: Option<Arc<ModelProto>>,
    large: Large,
    /// The types that inputs and outputs are declared with, where they are not what is computed.
    declared: BTreeMap<String, Dtype>,
    /// Facts for the person about how the file was rewritten, in sentences.
    notes: Vec<String>,
    /// Inputs that have become constants, and their values as `--input-value` writes them.
    bound: BTreeMap<String, String>,
    /// Nodes with branches of which an input decides.
    undecided: BTreeMap<String, Undecided>,
    /// Values of short arrays that are given for inputs.
    numbers: BTreeMap<String, Arc<Tensor>>,
    /// Whether shapes were asked of a run, in which numbers of inputs take part.
    asked: bool,
    stem: String,
    host: Host,
    /// Nodes that run on the host whatever the machine could do, and why.
    on_host: BTreeMap<String, String>,
    /// Nodes that are not given to tract, as it names them, and why.
    given_away: BTreeMap<String, String>,
}

impl Source {
    /// Records that a node, as tract names it, is not to be given to tract; returns whether that is new.
    pub(crate) fn give_away(&mut self, node: String, reason: String) -> bool {
        self.given_away.insert(node, reason).is_none()
    }

    pub(super) fn new(normalised: Normalised, stem: &str, host: Host) -> Self {
        Self {
            model: normalised.model,
            composite: None,
            large: normalised.large,
            declared: normalised.declared,
            notes: normalised.notes,
            bound: normalised.bound,
            undecided: normalised.undecided,
            numbers: normalised.numbers,
            asked: false,
            stem: stem.to_owned(),
            host,
            on_host: BTreeMap::new(),
            given_away: BTreeMap::new(),
        }
    }

    fn typing(&self) -> Result<typing::Typing, ImportErrors> {
        let given = typing::GivenNodes {
            away: &self.given_away,
            numbers: &self.numbers,
        };
        typing::infer(&self.model, &self.large, &self.host, &given)
            .map_err(|errors| self.with_choices(errors))
    }

    pub(super) fn import(mut self, hash: String) -> Result<Imported, ImportErrors> {
        let mut typing = self.typing()?;
        let before = self.model.clone();
        while typed_passes::run_all(
            &mut self.model,
            &typing.facts,
            &self.on_host,
            &mut |_, _| {},
        ) {
            self.composite
                .get_or_insert_with(|| Arc::new(before.clone()));
            typing = self.typing()?;
        }
        while let Err(errors) = typing.facts.require_shapes(&self.model, &typing.internal) {
            if !self.give_away_shapeless(&typing) {
                return Err(errors);
            }
            typing = self.typing()?;
        }
        self.asked = typing.asked;
        if self.asked && !self.numbers.is_empty() {
            self.notes.push(
                "shapes that depend on numbers among the inputs are those of the arrays that are given".to_owned(),
            );
        }
        let graph = self.model.graph.iter();
        let statistics = graph.flat_map(|graph| statistics(graph, &typing.facts));
        let on_host: BTreeMap<String, String> = statistics.chain(self.on_host.clone()).collect();
        let imported = |on_host: &BTreeMap<String, String>| {
            let facts = &typing.facts;
            Importer::new(&self.model, facts, &self.stem, on_host, &self.undecided)
                .run(&typing.schedule)
        };
        let mut graph = imported(&on_host);
        let islands = islands(&graph);
        if !islands.is_empty() {
            graph = imported(&islands.into_iter().chain(on_host).collect());
        }
        graph.declared.clone_from(&self.declared);
        graph.open = typing.open;
        Ok(Imported {
            graph,
            typed: typing.typed,
            hash,
            source: Arc::new(self),
        })
    }

    /// Records nodes that the host runs, and why. One of them that was decomposed for the array is put together again.
    fn give_to_host(&mut self, nodes: BTreeMap<String, String>) {
        let parts = |name: &String| {
            let nodes = self.nodes().iter();
            nodes.filter(|node| node_name(node) == *name).count()
        };
        if let Some(composite) = &self.composite
            && nodes.keys().any(|name| parts(name) > 1)
        {
            self.model = ModelProto::clone(composite);
        }
        self.on_host.extend(nodes);
    }

    /// What a person should know of how the file was rewritten, in sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Inputs that have become constants, and their values as `--input-value` writes them.
    pub fn bound(&self) -> &BTreeMap<String, String> {
        &self.bound
    }

    /// Whether an input decides which branch of a node is taken, and has no value.
    pub fn is_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Whether numbers of inputs take part in shapes, and none are given.
    pub fn wants_numbers(&self) -> bool {
        self.asked && self.numbers.is_empty()
    }

    /// Adds to errors about nodes with branches which input decides of them.
    fn with_choices(&self, mut errors: ImportErrors) -> ImportErrors {
        for error in &mut errors.0 {
            let node = error.node.as_ref().map(|(name, _)| name);
            if let Some(undecided) = node.and_then(|name| self.undecided.get(name)) {
                error.message = format!("{}; {}", undecided.reason, error.message);
                error.remedy = Some(undecided.remedy.clone());
            }
        }
        errors
    }

    /// Gives the nodes between results whose shapes depend on data to the second runtime, together, so that such results
    /// stay inside; returns whether any of them is new.
    fn give_away_shapeless(&mut self, typing: &typing::Typing) -> bool {
        if self.host.second().is_none() {
            return false;
        }
        let nodes = shapeless::nodes(&self.model, typing);
        // A node need not have a name; a result has one.
        let names = nodes.into_iter().filter_map(|node| node.output.first());
        let names: Vec<String> = names.filter(|name| !name.is_empty()).cloned().collect();
        let mut new = false;
        for name in names {
            new |= self.give_away(name, shapeless::REASON.to_owned());
        }
        new
    }

    /// The nodes of the model.
    pub fn nodes(&self) -> &[NodeProto] {
        self.model.graph.as_ref().map_or(&[], |graph| &graph.node)
    }

    /// The value of a tensor that stands in the file: an initializer, or the value of a `Constant` node.
    pub fn tensor(&self, name: &str) -> Option<Arc<Tensor>> {
        if let Some(tensor) = self.large.get(name) {
            return Some(Arc::clone(tensor));
        }
        let graph = self.model.graph.as_ref()?;
        let initializer = graph.initializer.iter().find(|t| t.name == name);
        let proto = initializer.or_else(|| graph.node.iter().find_map(|n| constant(n, name)))?;
        let onnx = tract_onnx::onnx();
        load_tensor(&*onnx.provider, proto, None).ok().map(Arc::new)
    }
}

/// The value of a `Constant` node that computes `name`.
fn constant<'a>(node: &'a NodeProto, name: &str) -> Option<&'a TensorProto> {
    if node.op_type != "Constant" || node.output.first().is_none_or(|output| output != name) {
        return None;
    }
    let mut attributes = node.attribute.iter();
    attributes.find(|a| a.name == "value")?.t.as_ref()
}

impl Imported {
    /// The model of `source`, whose file has the hash `hash`, with more nodes on the host: names, and reasons in words.
    ///
    /// # Errors
    /// All reasons why it cannot be compiled.
    pub fn with_on_host(
        source: &Source,
        hash: &str,
        nodes: BTreeMap<String, String>,
    ) -> Result<Self, ImportErrors> {
        let mut source = Source::clone(source);
        source.give_to_host(nodes);
        source.import(hash.to_owned())
    }

    /// The same model with other values of the tensors in `weights`, each of the type and shape that it has in
    /// [`Source::tensor`]. The hash stays that of the file.
    ///
    /// # Errors
    /// All reasons why it cannot be compiled.
    pub fn with_weights(
        &self,
        weights: BTreeMap<String, Arc<Tensor>>,
    ) -> Result<Self, ImportErrors> {
        let mut source = Source::clone(&self.source);
        take_out(&mut source.model, &weights);
        if let Some(composite) = &mut source.composite {
            take_out(Arc::make_mut(composite), &weights);
        }
        source.large.extend(weights);
        source.import(self.hash.clone())
    }
}

/// Makes inputs of the initializers in `weights`: whatever is replaced is from now on handed to tract beside the protobuf, as
/// large initializers are.
fn take_out(model: &mut ModelProto, weights: &BTreeMap<String, Arc<Tensor>>) {
    let Some(graph) = &mut model.graph else {
        return;
    };
    for (name, tensor) in weights {
        let before = graph.initializer.len();
        graph
            .initializer
            .retain(|initializer| initializer.name != *name);
        let was_initializer = graph.initializer.len() < before;
        if was_initializer && graph.input.iter().all(|input| input.name != *name) {
            let dtype = super::facts::dtype(tensor.datum_type());
            let dims: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
            let dtype = dtype.unwrap_or(Dtype::F32);
            graph.input.push(value_info(name, dtype, &dims));
        }
    }
}
