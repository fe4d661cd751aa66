//! A model as it is typed: the parts in which its floats are computed, one after the other, each by one runtime.
//!
//! Most models are one part, which tract computes. A node that tract does not have, or not right, is a part of its own;
//! the nodes before and behind it are others.

use scnn_host::{HostError, Session, TractModel};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use tract_onnx::prelude::{
    IntoTValue, IntoTensor, OutletId, TValue, Tensor, TractResult, TypedModel,
};

/// Values by the name of their tensor.
pub(crate) type Values = BTreeMap<String, Tensor>;

/// A typed model.
#[derive(Clone, Debug)]
pub struct Typed {
    /// Its parts, in an order in which they can be computed.
    pub(super) parts: Vec<ModelPart>,
    /// Names of its outputs, in order.
    pub(super) outputs: Vec<String>,
    /// Outputs that no part computes, because they are constants of the file.
    pub(super) constants: BTreeMap<String, Arc<Tensor>>,
}

/// A part of a model.
#[derive(Clone, Debug)]
pub(super) enum ModelPart {
    /// Nodes that tract computes.
    Tract {
        /// The model; its sources are called as the tensors that it reads.
        model: TypedModel,
        /// Where it computes each tensor.
        outlets: BTreeMap<String, OutletId>,
    },
    /// Nodes that another runtime computes.
    Foreign(Foreign),
}

/// Nodes that another runtime computes.
#[derive(Clone)]
pub(super) struct Foreign {
    /// Tensors that they read.
    pub inputs: Vec<String>,
    /// Tensors that they compute, and the extents that each is to have; none where they depend on data.
    pub outputs: Vec<(String, Option<Vec<u64>>)>,
    /// The session that computes them.
    pub session: Arc<dyn Session>,
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

/// A typed model made ready to compute chosen tensors.
pub(crate) struct Chain {
    links: Vec<Link>,
    /// Tensors that a run returns.
    outputs: BTreeSet<String>,
    constants: BTreeMap<String, Arc<Tensor>>,
}

/// A part of which some results are wanted.
enum Link {
    Tract {
        model: TractModel,
        inputs: Vec<String>,
        /// Names of results, each with its place among the results: one may have several.
        outputs: Vec<(String, usize)>,
    },
    Foreign(Foreign),
}

impl Typed {
    /// Makes it ready to compute its outputs and the tensors in `wanted`; names that it does not compute are left out.
    pub(crate) fn chain(self, wanted: &[String]) -> TractResult<Chain> {
        let outputs = self.outputs.iter().chain(wanted);
        let handed_on: BTreeSet<String> = outputs.cloned().collect();
        // Results of earlier parts that later ones read.
        let mut read: BTreeSet<String> = BTreeSet::new();
        let mut links = Vec::new();
        for part in self.parts.into_iter().rev() {
            match part {
                ModelPart::Tract { mut model, outlets } => {
                    let outputs = select(&mut model, &outlets, &self.outputs, wanted, &read)?;
                    if outputs.is_empty() {
                        continue;
                    }
                    let sources = model.input_outlets()?.iter();
                    let inputs: Vec<String> = sources
                        .map(|outlet| model.node(outlet.node).name.clone())
                        .collect();
                    read.extend(inputs.iter().cloned());
                    links.push(Link::Tract {
                        model: TractModel::new(model),
                        inputs,
                        outputs,
                    });
                }
                ModelPart::Foreign(foreign) => {
                    let mut names = foreign.outputs.iter().map(|(name, _)| name);
                    if names.any(|name| read.contains(name) || handed_on.contains(name)) {
                        read.extend(foreign.inputs.iter().cloned());
                        links.push(Link::Foreign(foreign));
                    }
                }
            }
        }
        links.reverse();
        Ok(Chain {
            links,
            outputs: handed_on,
            constants: self.constants,
        })
    }
}

/// Makes outputs of the wanted tensors of a part: the model's outputs, tensors that later parts read, and those in `wanted`. Returns their
/// names, each with its place among the results: a tensor of tract's may have several names.
fn select(
    model: &mut TypedModel,
    computed: &BTreeMap<String, OutletId>,
    outputs: &[String],
    wanted: &[String],
    read: &BTreeSet<String>,
) -> TractResult<Vec<(String, usize)>> {
    let (mut names, mut outlets) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<OutletId, usize> = BTreeMap::new();
    let mut known: BTreeSet<&String> = BTreeSet::new();
    for name in outputs.iter().chain(read).chain(wanted) {
        let Some(&outlet) = computed.get(name) else {
            continue;
        };
        if !known.insert(name) {
            continue;
        }
        let place = *places.entry(outlet).or_insert_with(|| {
            outlets.push(outlet);
            outlets.len() - 1
        });
        names.push((name.clone(), place));
    }
    model.select_output_outlets(&outlets)?;
    Ok(names)
}

/// Why a chain does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainError {
    /// An input is missing.
    #[error("the input `{0}` is missing")]
    Missing(String),
    /// A runtime gives up.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A result has other extents than when the model was typed.
    #[error("the shape of `{name}` depends on data: it was {was:?}, on this input it is {is:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its extents when the model was typed.
        was: Vec<u64>,
        /// Its extents now.
        is: Vec<usize>,
    },
}

impl Chain {
    /// Computes the chosen tensors from inputs by name.
    pub(crate) fn run(&self, inputs: &Values) -> Result<Values, ChainError> {
        let mut values: BTreeMap<String, TValue> = BTreeMap::new();
        self.run_each(inputs, &mut |name, value| {
            values.insert(name.to_owned(), value.clone());
        })?;
        let values = values.into_iter();
        Ok(values
            .map(|(name, value)| (name, value.into_tensor()))
            .collect())
    }

    /// As [`Self::run`]; `each` receives the tensors as they are computed. A tensor that it does not keep is dropped as soon as nothing else
    /// is computed of it.
    pub(crate) fn run_each(
        &self,
        inputs: &Values,
        each: &mut dyn FnMut(&str, &TValue),
    ) -> Result<(), ChainError> {
        let mut handed = Handed {
            outputs: &self.outputs,
            read: self.links.iter().flat_map(Link::inputs).collect(),
            values: BTreeMap::new(),
            known: BTreeSet::new(),
            each,
        };
        for link in &self.links {
            match link {
                Link::Tract {
                    model,
                    inputs: read,
                    outputs,
                } => {
                    let operands = handed.operands(read, inputs)?;
                    model.run_each(operands, &mut |place, value| {
                        let names = outputs.iter().filter(|(_, at)| *at == place);
                        names.for_each(|(name, _)| handed.take(name, value));
                    })?;
                }
                Link::Foreign(foreign) => {
                    let operands = handed.operands(&foreign.inputs, inputs)?;
                    let results = foreign.session.run(operands)?;
                    for ((name, dims), result) in foreign.outputs.iter().zip(results) {
                        require_shape(name, dims.as_deref(), result.shape())?;
                        handed.take(name, &result.into_tvalue());
                    }
                }
            }
        }
        for (name, value) in &self.constants {
            handed.take(name, &TValue::from_const(Arc::clone(value)));
        }
        for name in &self.outputs {
            if let (false, Some(input)) = (handed.known.contains(name.as_str()), inputs.get(name)) {
                handed.take(name, &input.clone().into_tvalue());
            }
        }
        Ok(())
    }

    /// Gives plans up; another run makes them anew.
    pub(crate) fn release_plans(&self) {
        for link in &self.links {
            if let Link::Tract { model, .. } = link {
                model.release_plan();
            }
        }
    }
}

impl Link {
    /// The tensors that it reads.
    fn inputs(&self) -> &[String] {
        match self {
            Self::Tract { inputs, .. } => inputs,
            Self::Foreign(foreign) => &foreign.inputs,
        }
    }
}

/// The tensors of a run as they are handed on.
struct Handed<'a> {
    outputs: &'a BTreeSet<String>,
    /// Tensors that any link reads.
    read: BTreeSet<&'a String>,
    /// Tensors that links have computed and others still read.
    values: BTreeMap<&'a str, TValue>,
    /// The names of all that is computed.
    known: BTreeSet<&'a str>,
    each: &'a mut dyn FnMut(&str, &TValue),
}

impl<'a> Handed<'a> {
    fn take(&mut self, name: &'a String, value: &TValue) {
        self.known.insert(name);
        if self.outputs.contains(name) {
            (self.each)(name, value);
        }
        if self.read.contains(name) {
            self.values.insert(name, value.clone());
        }
    }

    /// The operands of a link: what others have computed, or inputs.
    fn operands(&self, names: &[String], inputs: &Values) -> Result<Vec<Tensor>, ChainError> {
        let find = |name: &String| {
            let computed = self.values.get(name.as_str()).map(|value| &**value);
            let value = computed.or_else(|| inputs.get(name));
            value
                .cloned()
                .ok_or_else(|| ChainError::Missing(name.clone()))
        };
        names.iter().map(find).collect()
    }
}

fn require_shape(name: &str, dims: Option<&[u64]>, shape: &[usize]) -> Result<(), ChainError> {
    let is = shape.iter().map(|&dim| dim as u64);
    match dims {
        Some(dims) if !is.eq(dims.iter().copied()) => Err(ChainError::Shape {
            name: name.to_owned(),
            was: dims.to_vec(),
            is: shape.to_vec(),
        }),
        _ => Ok(()),
    }
}
