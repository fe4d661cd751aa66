//! What a model falls back to when a layer cannot be compiled: its nodes run on the host, and the rest as before.
//!
//! Whatever is legal ([`scnn_isa::legal`]) should compile. Two things can still be in the way: a limit that is known only
//! once a layer is in integers or mapped (no product shift keeps its sums in the accumulators, its smallest tile exceeds
//! them), and a fault of ours (an error of the verifier, a panic). Both cost the layer its place on the array and not the
//! person an answer; for the second, the command line asks for a report.

use super::{CompileError, Options};
use crate::emit::emit;
use crate::map::occupancy::Occupancy;
use crate::map::{self, MapError, Strategy};
use crate::quantise::{IntLayer, Operation, QuantiseError, Quantised, Value};
use crate::reference::float::FloatError;
use scnn_host::Host;
use scnn_isa::program::{Dtype, Provenance};
use scnn_isa::verify::verify;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Most times that a model is compiled anew with more of it on the host.
pub(super) const MOST_FALLBACKS: usize = 16;

/// Nodes that run on the host because the layer they make could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// ONNX nodes.
    pub nodes: Vec<String>,
    /// What was in the way.
    pub reason: String,
    /// Whether that is a fault of the compiler, not a limit of the machine.
    pub is_fault: bool,
}

impl Fallback {
    /// Why the host runs the nodes, in words that follow a node's name.
    pub(crate) fn words(&self) -> String {
        if self.is_fault {
            format!(
                "scnnc could not compile it for the array ({}): please report it with the model",
                self.reason
            )
        } else {
            self.reason.clone()
        }
    }
}

/// Why an attempt at compiling failed.
pub(super) enum Failed {
    /// With an error that no fallback mends.
    Error(CompileError),
    /// Because of these nodes; the error is what is said if they are on the host already.
    Because(Vec<Fallback>, CompileError),
    /// Because of a node that tract types and cannot run, and why; the error is what is said if that is known already.
    Tract(String, String, CompileError),
    /// A panic, and the nodes that make it, as far as they are known.
    Panic(Vec<Fallback>, Box<dyn Any + Send>),
}

impl Failed {
    /// The nodes that it is because of.
    pub(super) fn because(&self) -> &[Fallback] {
        match self {
            Self::Error(_) | Self::Tract(..) => &[],
            Self::Because(fallbacks, _) | Self::Panic(fallbacks, _) => fallbacks,
        }
    }

    /// The error, where nothing is left to fall back to; a panic goes on.
    pub(super) fn give_up(self) -> CompileError {
        match self {
            Self::Error(error) | Self::Because(_, error) | Self::Tract(.., error) => error,
            Self::Panic(_, panic) => resume_unwind(panic),
        }
    }
}

impl<E: Into<CompileError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "internal error: {}",
        text.unwrap_or("a panic without a message")
    )
}

/// An error of the float model, and the node that the other runtime may have right, if there is one.
pub(super) fn of_float(error: CompileError, host: &Host) -> Failed {
    let CompileError::Float(FloatError(reason)) = &error else {
        return error.into();
    };
    match tract_node(reason).filter(|_| host.second().is_some()) {
        Some(node) => Failed::Tract(node.to_owned(), reason.clone(), error),
        None => error.into(),
    }
}

/// The node that tract could not run, in its words `Evaluating #7 "name" Operator`.
fn tract_node(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("Evaluating #")?;
    rest.split('"').nth(1)
}

/// An error of quantisation, and the node that runs on the host for it. A range that a person's own calibration lacks is
/// theirs to add.
pub(super) fn of_quantisation(error: QuantiseError, options: &Options) -> Failed {
    let node = match &error {
        QuantiseError::Accumulator { layer: node, .. } | QuantiseError::Unstorable { node, .. } => {
            Some(node)
        }
        QuantiseError::MissingRange { node, .. } if options.calibration.is_none() => Some(node),
        QuantiseError::MissingRange { .. }
        | QuantiseError::MissingSums { .. }
        | QuantiseError::Width(_) => None,
    };
    let Some(node) = node.filter(|node| !node.is_empty()).cloned() else {
        return error.into();
    };
    let fallback = Fallback {
        nodes: vec![node],
        reason: error.to_string(),
        is_fault: false,
    };
    Failed::Because(vec![fallback], error.into())
}

/// Fails if anything runs on the host for the sake of its precision, because of that.
pub(super) fn of_precision(found: Vec<Fallback>) -> Result<(), Failed> {
    let Some(first) = found.first() else {
        return Ok(());
    };
    let error = QuantiseError::Unstorable {
        node: first.nodes.last().cloned().unwrap_or_default(),
        reason: first.reason.clone(),
    };
    Err(Failed::Because(found, error.into()))
}

/// An error of mapping, and the layer that runs on the host for it.
pub(super) fn of_mapping(error: MapError, network: &Quantised) -> Failed {
    let (MapError::Accumulators { layer, .. } | MapError::TooMany { layer, .. }) = &error else {
        return error.into();
    };
    let layer = network.layers().find(|candidate| candidate.name == *layer);
    let fallback = layer.map(|layer| Fallback {
        nodes: layer.onnx_nodes.clone(),
        reason: error.to_string(),
        is_fault: false,
    });
    Failed::Because(fallback.into_iter().collect(), error.into())
}

/// The layers that cannot be mapped and emitted even alone, each with what is then in the way.
pub(super) fn culprits(
    network: &Quantised,
    occupancy: &Occupancy,
    options: &Options,
) -> Vec<Fallback> {
    let operations = network.operations.iter().enumerate();
    operations
        .filter_map(|(index, operation)| {
            let layer = operation.layer()?;
            let reason = fails_alone(&alone(network, index, layer), occupancy, options)?;
            Some(Fallback {
                nodes: layer.onnx_nodes.clone(),
                reason,
                is_fault: true,
            })
        })
        .filter(|fallback| !fallback.nodes.is_empty())
        .collect()
}

/// A network of one layer, whose operands are inputs.
fn alone(network: &Quantised, index: usize, layer: &IntLayer) -> Quantised {
    let operand = layer.operand.map(|operand| operand.view.tensor);
    let mut sources = vec![layer.source.tensor];
    sources.extend(operand.filter(|&tensor| tensor != layer.source.tensor));
    let value = |&tensor: &scnn_isa::ids::TensorId| {
        let data = network.tensor(tensor);
        Value {
            name: data.name.clone(),
            dtype: Dtype::F32,
            declared: None,
            dims: data.shape.iter().map(|&extent| extent.into()).collect(),
            tensor: Some(tensor),
            placement: None,
        }
    };
    Quantised {
        name: network.name.clone(),
        tensors: network.tensors.clone(),
        operations: vec![Operation::Layer(Box::new(layer.clone()))],
        nonzeros: vec![network.nonzeros[index].clone()],
        values: sources.iter().map(value).collect(),
        inputs: (0..sources.len()).collect(),
        outputs: Vec::new(),
    }
}

/// What is in the way of a network that does not map, emit and verify.
fn fails_alone(network: &Quantised, occupancy: &Occupancy, options: &Options) -> Option<String> {
    let attempt = || -> Result<(), String> {
        let strategies = [options.mapping.strategy, Strategy::Paper];
        for strategy in strategies {
            let choices = map::Options {
                strategy,
                ..options.mapping
            };
            let mapped = map::map(network, &options.machine, occupancy, choices, &())
                .map_err(|error| error.to_string())?;
            let provenance = Provenance {
                ranges: options.quantise.ranges,
                ..Provenance::default()
            };
            let program = emit(network, &mapped, &options.machine, provenance, &());
            verify(&program).map_err(|problems| {
                let first = problems.first();
                first.map_or_else(String::new, |p| format!("{}: {}", p.place, p.message))
            })?;
        }
        Ok(())
    };
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(result) => result.err(),
        Err(panic) => Some(said(&*panic)),
    }
}

/// The nodes that run on the host for all of `fallbacks`, and why.
pub(super) fn on_host(fallbacks: &[Fallback]) -> BTreeMap<String, String> {
    let named = fallbacks.iter().flat_map(|fallback| {
        let words = fallback.words();
        let nodes = fallback.nodes.iter().cloned();
        nodes.map(move |node| (node, words.clone()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Op;
    use crate::quantise::observed::{Observed, rectifier};
    use scnn_isa::machine::Machine;

    /// Three layers in a row, the last two with a share of the first's result.
    fn network() -> Quantised {
        let mut observed = Observed::default();
        let x = observed.add(("x", 2), (1.0, 1.0), Op::Input, &[]);
        let a = observed.add(("a", 2), (1.0, 1.0), rectifier(), &[x]);
        let b = observed.add(("b", 2), (1.0, 1.0), rectifier(), &[a]);
        let y = observed.add(("y", 2), (1.0, 1.0), rectifier(), &[b]);
        observed.output("y", y);
        observed.network().unwrap()
    }

    fn blamed(change: impl Fn(&mut IntLayer)) -> Vec<Fallback> {
        let mut network = network();
        if let Operation::Layer(layer) = &mut network.operations[1] {
            change(layer);
        }
        let occupancy = Occupancy::of(&network, &BTreeMap::new());
        let options = Options::new(Machine::preset("scnn").unwrap());
        culprits(&network, &occupancy, &options)
    }

    #[test]
    fn a_layer_that_the_verifier_refuses_is_found_among_those_that_it_takes() {
        assert_eq!(blamed(|_| {}), []);
        let found = blamed(|layer| layer.clamp = [5, -5]);
        let [fallback] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(fallback.nodes, ["/b"]);
        assert!(fallback.reason.contains("clamp"), "{}", fallback.reason);
        assert!(fallback.words().contains("please report"));
        assert_eq!(on_host(&found)["/b"], fallback.words());
    }

    /// A source that does not exist: an index beyond the table.
    #[test]
    fn a_panic_is_a_reason_too() {
        let found = blamed(|layer| layer.destination.tensor.0 = 99);
        let [fallback] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(
            fallback.reason.starts_with("internal error"),
            "{}",
            fallback.reason
        );
    }

    #[test]
    fn a_limit_of_the_machine_asks_for_no_report() {
        let network = network();
        let error = MapError::TooMany {
            layer: "/b".to_owned(),
            what: "passes",
            count: 70_000,
            limit: 65_535,
        };
        let Failed::Because(found, _) = of_mapping(error, &network) else {
            panic!("it has a culprit")
        };
        assert_eq!(found[0].nodes, ["/b"]);
        assert!(!found[0].words().contains("report"));
    }
}
