//! Types a model: element type, shape and constant value of every tensor, and the parts in which its floats are computed.
//!
//! tract types what it has right, and that is all of most models. A node that is not given to it ([`super::foreign`]), or
//! that it cannot type, cuts the model. Every node then has a **level**, the number of times that the way to it has
//! changed between tract and the other runtime; the nodes of a level are typed after those of the levels before it.
//!
//! ```text
//! level 0   tract      what needs no foreign node
//! level 1   foreign    nodes that need only level 0, those that feed each other together
//! level 2   tract      what needs those, too
//! ...
//! ```
//!
//! What a foreign node computes is asked of the runtime that runs it; where the answer depends on data, it is run on two
//! inputs. A result whose shape differs between them, or is empty, is **open**: it has no place in a program but among the
//! outputs, which hand on what there is. So whatever reads it is foreign, too, and what lies between.

use super::Large;
use super::facts::{
    Facts, TensorFact, declared, dtype, model_outputs, result_names, to_proto, typed,
};
use super::for_tract;
use super::foreign::Reasons;
use super::shapeless;
use super::typed::{Foreign, ModelPart, Typed, Values};
use super::{ImportError, ImportErrors, node_name, value_info};
use crate::codes::Code;
use crate::normalise::closure::reads;
use crate::normalise::proto::is_standard;
use petgraph::unionfind::UnionFind;
use prost::Message;
use scnn_host::datum_type;
use scnn_host::{Host, ResultType, Runtime, Session, contained};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};
use tract_onnx::prelude::{DatumType, Tensor, TractError};

/// A step of the translation: a node, or foreign nodes that are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheduled {
    /// A node that tract types.
    Node(usize),
    /// Nodes that the other runtime computes together, in the order of the file.
    Foreign(Vec<usize>),
}

/// A typed model, and the order in which its nodes can be translated.
pub(super) struct Typing {
    pub facts: Facts,
    pub typed: Typed,
    pub schedule: Vec<Scheduled>,
    /// Results of foreign nodes: what only such nodes read needs no type that we have.
    pub internal: BTreeSet<String>,
    /// Outputs whose extents depend on data; their facts have the largest that were seen.
    pub open: BTreeSet<String>,
    /// Whether shapes were asked of a run, and some input is of integers or one number.
    pub asked: bool,
}

/// What is given with a model.
pub(super) struct GivenNodes<'a> {
    /// Nodes that are foreign, by the names that tract gives them, and why.
    pub away: &'a BTreeMap<String, String>,
    /// Integers that inputs may have, and single numbers, by input; without them integers are zeros.
    pub numbers: &'a BTreeMap<String, Arc<Tensor>>,
}

/// Infers the facts of a model with bound dimensions, of which the `large` initializers have been taken out.
///
/// # Errors
/// A node that no runtime has, or none can type; a result whose shape depends on data.
pub(super) fn infer(
    model: &ModelProto,
    large: &Large,
    host: &Host,
    given: &GivenNodes<'_>,
) -> Result<Typing, ImportErrors> {
    let mut foreign = super::foreign::of(model);
    for (name, reason) in given.away {
        foreign.extend(named_by_tract(model, name).map(|index| (index, reason.clone())));
    }
    loop {
        if !foreign.is_empty() && host.second().is_none() {
            return Err(ImportErrors(super::foreign::missing(model, &foreign, host)));
        }
        let cut = CutModel::new(model, large, (host, given.numbers), &foreign);
        match cut.run() {
            Ok(typing) => {
                let problems = super::fit::problems(model, &typing.facts);
                return if problems.is_empty() {
                    Ok(typing)
                } else {
                    Err(ImportErrors(problems))
                };
            }
            Err(Stopped::Refused(error)) => return Err(ImportErrors(vec![*error])),
            Err(Stopped::Open { names, refusal }) => {
                if !keep_inside(model, &names, &mut foreign) {
                    return Err(ImportErrors(vec![*refusal]));
                }
            }
            Err(Stopped::At { node, reason }) if host.second().is_some() => {
                give_away(model, node, &reason, &mut foreign);
            }
            Err(Stopped::At { node, reason }) => {
                let before = facts_before(model, large, host, given, node);
                let node = &nodes(model)[node];
                let misfit = before.and_then(|facts| super::fit::problem(node, &facts));
                let error =
                    misfit.unwrap_or_else(|| super::foreign::not_typed(model, node, &reason, host));
                return Err(ImportErrors(vec![error]));
            }
        }
    }
}

/// The facts of what tract can type before a node.
fn facts_before(
    model: &ModelProto,
    large: &Large,
    host: &Host,
    given: &GivenNodes<'_>,
    node: usize,
) -> Option<Facts> {
    let mut beginning = model.clone();
    let graph = beginning.graph.as_mut()?;
    graph.node.truncate(node);
    graph.output.clear();
    let all_tract = Reasons::new();
    let cut = CutModel::new(&beginning, large, (host, given.numbers), &all_tract);
    cut.run().ok().map(|typing| typing.facts)
}

/// The node that tract calls `name`: its name or a result's, and what is behind that in the name of a part.
fn named_by_tract(model: &ModelProto, name: &str) -> Option<usize> {
    let called = |node: &NodeProto| {
        let own = node.output.iter().chain([&node.name]);
        let lengths = own.filter_map(|own| {
            let rest = name
                .strip_prefix(own.as_str())
                .filter(|_| !own.is_empty())?;
            (rest.is_empty() || rest.starts_with(['.', ':'])).then_some(own.len())
        });
        lengths.max()
    };
    let found = nodes(model).iter().enumerate();
    let found = found.filter_map(|(index, node)| Some((called(node)?, index)));
    found.max().map(|(_, index)| index)
}

/// A node that tract cannot type is foreign, and so is every other that is like it.
fn give_away(model: &ModelProto, node: usize, reason: &str, foreign: &mut Reasons) {
    let culprit = &nodes(model)[node];
    for (index, other) in nodes(model).iter().enumerate() {
        if other.op_type == culprit.op_type
            && other.domain == culprit.domain
            && other.attribute == culprit.attribute
        {
            foreign.insert(index, reason.to_owned());
        }
    }
}

/// Makes what reads the results `names` foreign, and what lies between; whether anything was new in that.
fn keep_inside(model: &ModelProto, names: &BTreeSet<String>, foreign: &mut Reasons) -> bool {
    let names = names.iter().map(String::as_str).collect();
    let between = shapeless::between(nodes(model), &names);
    let new = between.into_iter().filter_map(|node| {
        let index = nodes(model)
            .iter()
            .position(|other| std::ptr::eq(other, node))?;
        Some(
            foreign
                .insert(index, shapeless::REASON.to_owned())
                .is_none(),
        )
    });
    // All of them, not only up to the first.
    new.fold(false, |any, new| any | new)
}

fn nodes(model: &ModelProto) -> &[NodeProto] {
    model.graph.as_ref().map_or(&[], |graph| &graph.node)
}

/// Why typing stops.
enum Stopped {
    /// tract cannot type a node.
    At { node: usize, reason: String },
    /// Results whose extents depend on data are read by others than the nodes that compute them.
    Open {
        names: BTreeSet<String>,
        /// What is said where these others cannot join.
        refusal: Box<ImportError>,
    },
    /// The model has no program.
    Refused(Box<ImportError>),
}

/// A model that is cut at its foreign nodes.
struct CutModel<'a> {
    model: &'a ModelProto,
    large: &'a Large,
    host: &'a Host,
    numbers: &'a BTreeMap<String, Arc<Tensor>>,
    foreign: &'a Reasons,
    /// The node that computes each tensor.
    producers: BTreeMap<&'a str, usize>,
    facts: Facts,
    parts: Vec<ModelPart>,
    schedule: Vec<Scheduled>,
    /// See [`Typing::open`].
    open: BTreeSet<String>,
    /// See [`Typing::asked`].
    asked: bool,
}

impl<'a> CutModel<'a> {
    fn new(
        model: &'a ModelProto,
        large: &'a Large,
        (host, numbers): (&'a Host, &'a BTreeMap<String, Arc<Tensor>>),
        foreign: &'a Reasons,
    ) -> Self {
        let results = nodes(model).iter().enumerate();
        let results = results.flat_map(|(index, node)| {
            let names = node.output.iter().filter(|name| !name.is_empty());
            names.map(move |name| (name.as_str(), index))
        });
        Self {
            model,
            large,
            host,
            numbers,
            foreign,
            producers: results.collect(),
            facts: Facts::of_constants(model, large),
            parts: Vec::new(),
            schedule: Vec::new(),
            open: BTreeSet::new(),
            asked: false,
        }
    }

    fn run(mut self) -> Result<Typing, Stopped> {
        self.facts.declare_inputs(self.model);
        let levels = self.levels();
        let deepest = levels.iter().copied().max().unwrap_or(0);
        for level in 0..=deepest {
            let here: Vec<usize> = (0..levels.len()).filter(|&i| levels[i] == level).collect();
            if level % 2 == 0 {
                self.tract(&here)?;
            } else {
                for group in self.groups(&here) {
                    self.foreign(group)?;
                }
            }
        }
        let results = self.foreign.keys();
        let results = results.flat_map(|&index| &nodes(self.model)[index].output);
        let internal = results.cloned().collect();
        let outputs = model_outputs(self.model);
        let constant = |name: &String| Some((name.clone(), Arc::clone(self.facts.shared(name)?)));
        Ok(Typing {
            typed: Typed {
                parts: self.parts,
                constants: outputs.iter().filter_map(constant).collect(),
                outputs,
            },
            facts: self.facts,
            schedule: self.schedule,
            internal,
            open: self.open,
            asked: self.asked,
        })
    }

    /// The level of every node: even of tract, odd of the other runtime.
    fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::with_capacity(nodes(self.model).len());
        for (index, node) in nodes(self.model).iter().enumerate() {
            let own = usize::from(self.foreign.contains_key(&index));
            let operands = reads(node).into_iter();
            let producers = operands.filter_map(|name| self.producers.get(name));
            let before = producers.filter_map(|&producer| levels.get(producer));
            let earliest = before.map(|&level| level + usize::from(level % 2 != own));
            levels.push(earliest.max().unwrap_or(own).max(own));
        }
        levels
    }

    /// Foreign nodes of a level, those together that feed each other.
    fn groups(&self, here: &[usize]) -> Vec<Vec<usize>> {
        let mut sets = UnionFind::new(nodes(self.model).len());
        for &index in here {
            for name in reads(&nodes(self.model)[index]) {
                if let Some(&producer) = self.producers.get(name)
                    && here.contains(&producer)
                {
                    sets.union(producer, index);
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &index in here {
            groups.entry(sets.find(index)).or_default().push(index);
        }
        groups.into_values().collect()
    }

    /// Stops where nodes read results of tract's that have no shape: what depends on data there has to run together.
    fn require_shapes(&self, here: &[usize]) -> Result<(), Stopped> {
        let members: Vec<NodeProto> = here.iter().map(|&i| nodes(self.model)[i].clone()).collect();
        let shapeless = outside(&members).into_iter().filter(|name| {
            let producer = self.producers.get(name.as_str());
            producer.is_some_and(|producer| !here.contains(producer))
                && self.facts.get(name).is_none()
        });
        let names: BTreeSet<String> = shapeless.collect();
        let Some(first) = names.first() else {
            return Ok(());
        };
        Err(Stopped::Open {
            refusal: Box::new(ImportError::node(
                Code::DynamicShape,
                &nodes(self.model)[self.producers[first.as_str()]],
                format!("the shape of its result `{first}` depends on data"),
                "export the model with fixed shapes",
            )),
            names,
        })
    }

    /// Has tract type the nodes of a level.
    fn tract(&mut self, here: &[usize]) -> Result<(), Stopped> {
        self.require_shapes(here)?;
        let all = here.len() == nodes(self.model).len();
        let (part, constants) = if all {
            (Cow::Borrowed(self.model), Cow::Borrowed(self.large))
        } else {
            let (part, constants) = self.part(here);
            (Cow::Owned(part), Cow::Owned(constants))
        };
        let (part, origins) = given_to_tract(part);
        let mut names = result_names(&part);
        if all {
            let outputs = model_outputs(self.model);
            names.extend(
                outputs
                    .into_iter()
                    .filter(|name| !self.producers.contains_key(name.as_str())),
            );
        }
        if names.is_empty() {
            return Ok(());
        }
        let (model, outlets) = contained(|| typed(&part, &constants, &names))
            .map_err(|error| self.stopped(here, &origins, &part, &constants, &error))?;
        for (name, &outlet) in &outlets {
            if let Ok(fact) = model.outlet_fact(outlet) {
                self.facts.learn(name, fact);
            }
        }
        self.parts.push(ModelPart::Tract { model, outlets });
        self.schedule
            .extend(here.iter().map(|&index| Scheduled::Node(index)));
        Ok(())
    }

    /// The nodes `here` as a model of their own, with what they read as inputs; and its constants.
    fn part(&self, here: &[usize]) -> (ModelProto, Large) {
        let members: Vec<NodeProto> = here.iter().map(|&i| nodes(self.model)[i].clone()).collect();
        let mut graph = GraphProto {
            name: "part".to_owned(),
            ..GraphProto::default()
        };
        let mut constants = Large::new();
        for name in outside(&members) {
            let Some(fact) = self.facts.get(&name) else {
                continue;
            };
            if let Some(value) = &fact.constant {
                constants.insert(name.clone(), Arc::clone(value));
            }
            graph.input.push(value_info(&name, fact.dtype, &fact.dims));
        }
        graph.node = members;
        let part = ModelProto {
            ir_version: self.model.ir_version,
            opset_import: self.model.opset_import.clone(),
            graph: Some(graph),
            ..ModelProto::default()
        };
        (part, constants)
    }

    /// Which node it is that tract cannot type, and why.
    #[expect(clippy::unused_self)] // Its callers read as steps of one work.
    fn stopped(
        &self,
        here: &[usize],
        origins: &[usize],
        part: &ModelProto,
        constants: &Large,
        error: &TractError,
    ) -> Stopped {
        let chain: Vec<String> = error.chain().map(ToString::to_string).take(4).collect();
        let reason = chain.join(": ");
        // tract often names the node in quotes.
        let named = |node: &NodeProto| {
            !node.name.is_empty() && reason.contains(&format!("\"{}\"", node.name))
        };
        let members = nodes(part);
        let position = members
            .iter()
            .position(named)
            .or_else(|| super::culprit::culprit(part, constants));
        match position {
            Some(position) => Stopped::At {
                node: here[origins.get(position).copied().unwrap_or(position)],
                reason,
            },
            None => Stopped::Refused(Box::new(ImportError::model(
                Code::ShapeInference,
                format!("the shapes of this model cannot be inferred: {reason}"),
                super::foreign::CHECK,
            ))),
        }
    }

    /// Loads foreign nodes into the other runtime and asks it for what they compute.
    fn foreign(&mut self, group: Vec<usize>) -> Result<(), Stopped> {
        self.require_shapes(&group)?;
        let members: Vec<&NodeProto> = group.iter().map(|&i| &nodes(self.model)[i]).collect();
        let mut misfits = members.iter();
        let misfit = misfits.find_map(|node| super::fit::problem(node, &self.facts));
        if let Some(misfit) = misfit {
            return Err(Stopped::Refused(Box::new(misfit)));
        }
        let (model, inputs) = self.foreign_model(&members);
        let outputs: Vec<String> = model
            .graph
            .iter()
            .flat_map(|g| &g.output)
            .map(|o| o.name.clone())
            .collect();
        let runtime = self.host.second().expect("foreign nodes have a runtime");
        let session: Arc<dyn Session> = runtime
            .load(&model.encode_to_vec())
            .map_err(|error| self.refused(&group, runtime, &error.reason()))?
            .into();
        if inputs.is_empty() {
            let values = session.run(Vec::new());
            let values = values.map_err(|e| self.refused(&group, runtime, &e.reason()))?;
            for (name, value) in outputs.iter().zip(values) {
                self.facts.constant_is(name, Arc::new(value));
            }
            return Ok(());
        }
        let mut known = session.results();
        self.require_places(&group, &outputs, &known)?;
        let mut open = BTreeSet::new();
        if !known.iter().all(is_told) {
            self.asked |= self.has_numbers();
            let seen = self.observed(&group, runtime, &inputs, &*session)?;
            open = self.open_among(&group, &outputs, (&known, &seen))?;
            known = seen.into_iter().map(|[a, b]| larger(a, b)).collect();
        }
        let mut computed = Vec::new();
        for (name, result) in outputs.into_iter().zip(&known) {
            let dtype = result.datum.and_then(dtype);
            let (Some(dtype), Some(dims)) = (dtype, concrete(result)) else {
                return Err(Stopped::Refused(Box::new(self.no_place(&group, &name))));
            };
            let fixed = (!open.contains(&name)).then(|| dims.clone());
            computed.push((name.clone(), fixed));
            let constant = None;
            self.facts.insert(
                name,
                TensorFact {
                    dtype,
                    dims,
                    constant,
                },
            );
        }
        self.parts.push(ModelPart::Foreign(Foreign {
            inputs,
            outputs: computed,
            session,
        }));
        self.open.extend(open);
        self.schedule.push(Scheduled::Foreign(group));
        Ok(())
    }

    /// Stops where nodes compute results of a type that no program has a form for: what reads these has to run together
    /// with what computes them.
    fn require_places(
        &self,
        group: &[usize],
        outputs: &[String],
        types: &[ResultType],
    ) -> Result<(), Stopped> {
        let placeless = outputs.iter().zip(types);
        let placeless = placeless.filter(|(_, result)| result.datum.and_then(dtype).is_none());
        let names: BTreeSet<String> = placeless.map(|(name, _)| name.clone()).collect();
        let Some(first) = names.first() else {
            return Ok(());
        };
        let refusal = Box::new(self.no_place(group, first));
        Err(Stopped::Open { names, refusal })
    }

    fn no_place(&self, group: &[usize], name: &str) -> ImportError {
        let node = self.producers.get(name).copied().unwrap_or(group[0]);
        ImportError::node(
            Code::DynamicShape,
            &nodes(self.model)[node],
            format!("the type of its result `{name}` has no place in a program"),
            "cut the model before it",
        )
    }

    /// Foreign nodes as a model, and the names of its inputs; its outputs are what is read outside.
    fn foreign_model(&self, members: &[&NodeProto]) -> (ModelProto, Vec<String>) {
        let owned: Vec<NodeProto> = members.iter().map(|&node| node.clone()).collect();
        let mut graph = GraphProto {
            name: "foreign".to_owned(),
            ..GraphProto::default()
        };
        let mut inputs = Vec::new();
        for name in outside(&owned) {
            match self.facts.get(&name) {
                Some(TensorFact {
                    constant: Some(value),
                    ..
                }) => {
                    graph.initializer.extend(to_proto(&name, value));
                }
                Some(fact) => {
                    graph.input.push(value_info(&name, fact.dtype, &fact.dims));
                    inputs.push(name);
                }
                // Of a type that tract does not have.
                None => graph
                    .initializer
                    .extend(declared(self.model, &name).cloned()),
            }
        }
        let read = self.read_outside(members);
        let results = owned.iter().flat_map(|node| &node.output);
        let results = results.filter(|name| read.contains(name.as_str()));
        graph.output = results
            .map(|name| tract_onnx::pb::ValueInfoProto {
                name: name.clone(),
                ..tract_onnx::pb::ValueInfoProto::default()
            })
            .collect();
        graph.node = owned;
        let model = ModelProto {
            // The other runtime refuses versions that came after it; none since the tenth means anything for a node.
            ir_version: self.model.ir_version.clamp(8, 10),
            opset_import: self.model.opset_import.clone(),
            functions: self.model.functions.clone(),
            graph: Some(graph),
            ..ModelProto::default()
        };
        (model, inputs)
    }

    /// Names that are read by other nodes than `members`, or are outputs of the model.
    fn read_outside(&self, members: &[&NodeProto]) -> BTreeSet<&'a str> {
        let outside =
            |node: &&NodeProto| !members.iter().any(|&member| std::ptr::eq(member, *node));
        let others = nodes(self.model).iter().filter(outside);
        let mut names: BTreeSet<&str> = others.flat_map(reads).collect();
        let outputs = self.model.graph.iter().flat_map(|graph| &graph.output);
        names.extend(outputs.map(|output| output.name.as_str()));
        names
    }

    /// Whether an input is of integers or truths, or is one number.
    fn has_numbers(&self) -> bool {
        let inputs = self.model.graph.iter().flat_map(|graph| &graph.input);
        let mut facts = inputs.filter_map(|input| self.facts.get(&input.name));
        facts.any(|fact| {
            let single = fact.dims.iter().product::<u64>() == 1;
            fact.constant.is_none() && (single || datum_type(fact.dtype).is_integer())
        })
    }

    /// What foreign nodes compute of zeros and of noise, or of noise twice where numbers are given: the type of each
    /// result twice.
    fn observed(
        &self,
        group: &[usize],
        runtime: &dyn Runtime,
        inputs: &[String],
        session: &dyn Session,
    ) -> Result<Vec<[ResultType; 2]>, Stopped> {
        let refused = |reason: String| self.refused(group, runtime, &reason);
        let before = Typed {
            parts: self.parts.clone(),
            outputs: inputs.to_vec(),
            constants: BTreeMap::new(),
        };
        let chain = before
            .chain(&[])
            .map_err(|error| refused(error.to_string()))?;
        let computed = |seed: u64| {
            let values = chain
                .run(&self.sample(seed))
                .map_err(|error| refused(error.to_string()))?;
            let operands = inputs.iter().filter_map(|name| values.get(name).cloned());
            let results = session.run(operands.collect());
            let results = results.map_err(|error| refused(error.reason()))?;
            Ok(results.iter().map(type_of).collect::<Vec<_>>())
        };
        let first = if self.numbers.is_empty() { 0 } else { 2 };
        let pairs = computed(first)?.into_iter().zip(computed(1)?);
        Ok(pairs.map(|(first, second)| [first, second]).collect())
    }

    /// The results of foreign nodes whose extents differ, or that are empty: outputs of the model and nothing else. Where a
    /// node counts what it finds, the extents that the runtime does not tell are open whatever was seen.
    fn open_among(
        &self,
        group: &[usize],
        outputs: &[String],
        (told, seen): (&[ResultType], &[[ResultType; 2]]),
    ) -> Result<BTreeSet<String>, Stopped> {
        let is_open = |[zeros, noise]: &[ResultType; 2]| {
            let empty = concrete(noise).is_some_and(|dims| dims.contains(&0));
            zeros != noise || empty
        };
        let others = (0..nodes(self.model).len()).filter(|index| !group.contains(index));
        let read: BTreeSet<&str> = others.flat_map(|i| reads(&nodes(self.model)[i])).collect();
        let counts = group
            .iter()
            .any(|&index| is_counting(&nodes(self.model)[index]));
        let all = outputs.iter().zip(told.iter().zip(seen));
        let open = all.filter(|(name, (told, seen))| {
            is_open(seen) || counts && !is_told(told) && !read.contains(name.as_str())
        });
        let open: BTreeSet<String> = open.map(|(name, _)| name.clone()).collect();
        let inside = open.iter().filter(|name| read.contains(name.as_str()));
        let inside: BTreeSet<String> = inside.cloned().collect();
        let same_rank = |[a, b]: &[ResultType; 2]| {
            let rank = |of: &ResultType| of.dims.as_ref().map(Vec::len);
            rank(a) == rank(b) && a.datum == b.datum
        };
        if inside.is_empty() && seen.iter().all(same_rank) {
            return Ok(open);
        }
        Err(Stopped::Open {
            names: inside,
            refusal: Box::new(self.depends_on_data(group, seen)),
        })
    }

    /// Values of all inputs: zeros, or noise between -1 and 1 where they are floats; the numbers that are given.
    fn sample(&self, seed: u64) -> Values {
        let inputs = self.model.graph.iter().flat_map(|graph| &graph.input);
        let mut state = seed;
        let mut noise = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let sample = |name: &String| {
            let fact = self
                .facts
                .get(name)
                .filter(|fact| fact.constant.is_none())?;
            let dims: Vec<usize> = fact.dims.iter().map(|&dim| dim as usize).collect();
            let mut tensor = Tensor::zero_dt(datum_type(fact.dtype), &dims).ok()?;
            let given = self.numbers.get(name);
            if let Some(given) = given.and_then(|given| first_of(given, &tensor)) {
                tensor = given;
            } else if seed > 0 && fact.dtype == scnn_isa::program::Dtype::F32 {
                let values: Vec<f32> = (0..tensor.len()).map(|_| noise()).collect();
                tensor = Tensor::from_shape(&dims, &values).ok()?;
            }
            Some((name.clone(), tensor))
        };
        inputs.map(|input| &input.name).filter_map(sample).collect()
    }

    fn depends_on_data(&self, group: &[usize], seen: &[[ResultType; 2]]) -> ImportError {
        let node = &nodes(self.model)[*group.last().unwrap_or(&0)];
        let [zeros, noise] = [0, 1].map(|of| -> Vec<Vec<u64>> {
            let types = seen.iter().map(|pair| &pair[of]);
            types.filter_map(concrete).collect()
        });
        ImportError::node(
            Code::DynamicShape,
            node,
            format!(
                "the shape of its result depends on data: {zeros:?} of zeros, {noise:?} of noise"
            ),
            self.cut_before(group),
        )
    }

    /// How a person gets the model without some nodes.
    fn cut_before(&self, group: &[usize]) -> String {
        let members: Vec<NodeProto> = group
            .iter()
            .map(|&i| nodes(self.model)[i].clone())
            .collect();
        let open = |name: &String| {
            self.facts
                .get(name)
                .is_some_and(|fact| fact.constant.is_none())
        };
        let inputs = self.model.graph.iter().flat_map(|graph| &graph.input);
        let inputs = inputs.map(|input| &input.name).filter(|name| open(name));
        let wanted = outside(&members);
        let list = |names: Vec<&String>| {
            let names: Vec<String> = names.into_iter().map(|name| format!("{name:?}")).collect();
            format!("[{}]", names.join(", "))
        };
        format!(
            "cut the model before that, and do the rest where its results are read: \
             `onnx.utils.extract_model(MODEL, CUT, {}, {})`",
            list(inputs.collect()),
            list(wanted.iter().filter(|name| open(name)).collect())
        )
    }

    /// The other runtime does not have foreign nodes either.
    fn refused(&self, group: &[usize], runtime: &dyn Runtime, words: &str) -> Stopped {
        let members = group.iter().map(|&index| &nodes(self.model)[index]);
        let named =
            |node: &&NodeProto| words.contains(&node_name(node)) || words.contains(&node.op_type);
        let node = members
            .clone()
            .find(named)
            .or_else(|| members.clone().next());
        let node = node.expect("a group has a node");
        let index = group
            .iter()
            .copied()
            .find(|&index| std::ptr::eq(&raw const nodes(self.model)[index], node));
        let tract = index
            .and_then(|index| self.foreign.get(&index))
            .map_or("", |reason| reason);
        let error = super::foreign::neither(self.model, node, tract, runtime, words);
        Stopped::Refused(Box::new(error))
    }
}

/// A part as tract gets it, and for each node the position of the one that it comes from; none if that is its own.
fn given_to_tract(part: Cow<'_, ModelProto>) -> (Cow<'_, ModelProto>, Vec<usize>) {
    if !part.graph.as_ref().is_some_and(for_tract::is_rewritten) {
        return (part, Vec::new());
    }
    let mut part = part.into_owned();
    let origins = part.graph.as_mut().map(for_tract::rewrite);
    (Cow::Owned(part), origins.unwrap_or_default())
}

/// What nodes read that none of them computes, without repetition.
fn outside(members: &[NodeProto]) -> Vec<String> {
    let own: BTreeSet<&String> = members.iter().flat_map(|node| &node.output).collect();
    let mut names: Vec<String> = Vec::new();
    for name in members.iter().flat_map(reads) {
        let name = name.to_owned();
        if !own.contains(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether a runtime says which extents a result has. It says of a scalar what it says where it knows nothing: none.
fn is_told(result: &ResultType) -> bool {
    concrete(result).is_some_and(|dims| !dims.is_empty())
}

/// Whether the extents of a result are how many things a node finds.
fn is_counting(node: &NodeProto) -> bool {
    let operators = ["Compress", "NonMaxSuppression", "NonZero", "Unique"];
    is_standard(node) && operators.contains(&node.op_type.as_str())
}

/// Extents, if all of them are known.
fn concrete(result: &ResultType) -> Option<Vec<u64>> {
    let dims = result.dims.as_ref()?;
    dims.iter().map(|dim| dim.map(|dim| dim as u64)).collect()
}

/// The first values of an array that may hold several samples, in the type and shape of `like`, unless that is of many floats.
fn first_of(given: &Tensor, like: &Tensor) -> Option<Tensor> {
    let integers = like.datum_type().is_integer() || like.datum_type() == DatumType::Bool;
    if !(integers || like.len() == 1) || given.len() < like.len() || given.len() == 0 {
        return None;
    }
    let flat = given.clone().into_shape(&[given.len()]).ok()?;
    let first = flat.slice(0, 0, like.len()).ok()?;
    let shaped = first.into_shape(like.shape()).ok()?;
    Some(shaped.cast_to_dt(like.datum_type()).ok()?.into_owned())
}

/// A type with the larger of the extents of two, and none that is empty.
fn larger(a: ResultType, b: ResultType) -> ResultType {
    let dims = a.dims.zip(b.dims).map(|(a, b)| {
        let both = a.into_iter().zip(b);
        both.map(|(a, b)| a.max(b).map(|dim| dim.max(1))).collect()
    });
    ResultType { dims, ..b }
}

fn type_of(tensor: &Tensor) -> ResultType {
    ResultType {
        datum: Some(tensor.datum_type()),
        dims: Some(tensor.shape().iter().map(|&dim| Some(dim)).collect()),
    }
}
