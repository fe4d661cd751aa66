//! `check`: what of a model would run where, and every problem that it has, without running it.
//!
//! The exit status tells what came out: 0 all of it runs on the machine, 3 some of it on the host, 4 nothing on the
//! machine, 1 the model is refused. A model that is refused is judged by its operators alone, so that the rest of it is
//! told too.

use super::args::Check;
use super::failure::Failure;
use super::model::Model;
use super::{bindings, grid, machine, output, table};
use crate::codes::CompilerCode;
use scnn_isa::diagnostic::{CodeEntry, Diagnostic, Place};
use scnn_isa::machine::Machine;
use scnnc::compile::{self, Options};
use scnnc::graph::coverage::Coverage;
use scnnc::graph::reason::OnHost;
use scnnc::graph::{Graph, Node};
use scnnc::import::survey::Survey;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;

/// What to do about a host node for which nothing better is known.
const REMEDY: &str = "`scnnc ops` lists what runs where, and within which limits";

/// `scnnc check`.
pub fn check(options: &Check) -> Result<(), Failure> {
    let file = options.model.display().to_string();
    let model = Model::at(&options.model)?;
    match judge(&model, options, machine(options)?)? {
        Judgement::Verdict(verdict) if options.json => {
            output::print_json(&verdict.json());
            verdict.status(&file)
        }
        Judgement::Verdict(verdict) => {
            output::print(&grid::hanging(&verdict.words()));
            verdict.status(&file)
        }
        Judgement::Refused(refusal) => {
            if options.json {
                output::print_json(&refusal.json());
            } else {
                output::print(&grid::hanging(&refusal.words()));
            }
            Err(Failure::Refused(refusal.diagnostics))
        }
    }
}

/// The machine that the options name.
pub fn machine(options: &Check) -> Result<Machine, Failure> {
    machine::of_model(&options.machine)
}

/// What came out for a model.
pub enum Judgement {
    /// It compiles.
    Verdict(Verdict),
    /// It does not.
    Refused(Refusal),
}

impl Judgement {
    /// In fields, as `--json` prints it.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Verdict(verdict) => verdict.json(),
            Self::Refused(refusal) => refusal.json(),
        }
    }
}

/// Why a model is refused, and what its operators alone say of the rest of it.
pub struct Refusal {
    diagnostics: Vec<Diagnostic>,
    survey: Survey,
}

/// What came out for a model that compiles.
pub struct Verdict {
    inputs: Vec<BorderValue>,
    outputs: Vec<BorderValue>,
    coverage: Coverage,
}

/// An input or an output of a model.
#[derive(Serialize)]
struct BorderValue {
    name: String,
    dtype: String,
    dims: Vec<u64>,
}

impl BorderValue {
    fn of(name: &str, node: &Node) -> Self {
        Self {
            name: name.to_owned(),
            dtype: format!("{:?}", node.dtype),
            dims: node.dims.clone(),
        }
    }

    fn inputs(graph: &Graph) -> Vec<Self> {
        let inputs = graph.inputs.iter().map(|&id| &graph.dag[id]);
        inputs.map(|node| Self::of(&node.tensor, node)).collect()
    }

    fn outputs(graph: &Graph) -> Vec<Self> {
        let outputs = graph.outputs.iter();
        outputs
            .map(|(name, id)| Self::of(name, &graph.dag[*id]))
            .collect()
    }
}

/// A problem in fields.
#[derive(Serialize)]
struct Problem {
    code: &'static str,
    /// `refused`, or `host`.
    effect: &'static str,
    node: Option<String>,
    operator: Option<String>,
    attribute: Option<String>,
    allowed: Option<String>,
    message: String,
    remedy: Option<String>,
}

impl Problem {
    fn of_host(on_host: &OnHost) -> Self {
        let OnHost {
            node,
            operator,
            reason,
        } = on_host;
        Self {
            code: CompilerCode::HostRefused.entry().code,
            effect: "host",
            node: Some(node.clone()),
            operator: (!operator.is_empty()).then(|| operator.clone()),
            attribute: reason.attribute.clone(),
            allowed: reason.allowed.clone(),
            message: reason.message.clone(),
            remedy: Some(reason.remedy.clone().unwrap_or_else(|| REMEDY.to_owned())),
        }
    }

    fn of_refusal(diagnostic: &Diagnostic) -> Self {
        let place = diagnostic.location.as_ref().map(|location| &location.place);
        let (node, operator) = match place {
            Some(Place::Node { name, operator }) => (Some(name.clone()), Some(operator.clone())),
            _ => (None, None),
        };
        Self {
            code: diagnostic.code.code,
            effect: "refused",
            node,
            operator,
            attribute: diagnostic.attribute.clone(),
            allowed: diagnostic.allowed.clone(),
            message: diagnostic.message.clone(),
            remedy: diagnostic.help.clone(),
        }
    }
}

/// Compiles a model as far as it takes to know what of it would run where.
pub fn judge(model: &Model, options: &Check, machine: Machine) -> Result<Judgement, Failure> {
    let file = model.path().display().to_string();
    let import_options = bindings::import_options(&options.bindings, &options.host)?;
    let refused = |diagnostics| {
        Judgement::Refused(Refusal {
            diagnostics,
            survey: model.survey().unwrap_or_default(),
        })
    };
    let imported = match model.import(&import_options, None) {
        Ok(imported) => imported,
        Err(errors) => return Ok(refused(errors.diagnostics(&file))),
    };
    let (inputs, outputs) = (
        BorderValue::inputs(&imported.graph),
        BorderValue::outputs(&imported.graph),
    );
    match compile::check(imported, &Options::new(machine), &mut ()) {
        Ok((graph, _)) => Ok(Judgement::Verdict(Verdict {
            inputs,
            outputs,
            coverage: Coverage::of(&graph),
        })),
        Err(error) => Ok(refused(error.diagnostics(&file))),
    }
}

impl Verdict {
    fn json(&self) -> serde_json::Value {
        let coverage = &self.coverage;
        let problems = coverage.reasons.iter().map(Problem::of_host);
        json!({
            "verdict": self.verdict(),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "coverage_by": "compilation",
            "nodes": {"machine": coverage.machine_nodes, "host": coverage.host_nodes},
            "multiplications": {"machine": coverage.machine_macs, "host": coverage.host_macs},
            "problems": problems.collect::<Vec<_>>(),
        })
    }

    fn verdict(&self) -> &'static str {
        match (self.coverage.machine_nodes, self.coverage.host_nodes) {
            (0, _) => "host",
            (_, 0) => "machine",
            _ => "partly",
        }
    }

    /// What runs where, for people.
    fn words(&self) -> String {
        let coverage = &self.coverage;
        let mut text = String::new();
        let values = self.inputs.iter().map(|value| ("input", value));
        let values = values.chain(self.outputs.iter().map(|value| ("output", value)));
        for (what, BorderValue { name, dtype, dims }) in values {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{what:9} {name} {dtype} {dims:?}");
        }
        let multiplications = coverage.machine_macs + coverage.host_macs;
        let products = if multiplications == 0 {
            String::new()
        } else {
            let share = 100.0 * coverage.mac_share();
            let all = table::si(multiplications as f64, "");
            format!(" and {share:.1} % of {all} multiplications")
        };
        let _ = writeln!(
            text,
            "coverage  {} of {} nodes ({:.0} %){products} on the machine",
            coverage.machine_nodes,
            coverage.machine_nodes + coverage.host_nodes,
            100.0 * coverage.node_share(),
        );
        for reason in &coverage.reasons {
            let _ = writeln!(text, "host      {reason}");
        }
        text
    }

    fn status(&self, file: &str) -> Result<(), Failure> {
        let diagnostic = |code: CodeEntry, message: &str| {
            let mut diagnostic = Diagnostic::of_file(code, file, message);
            diagnostic.help = Some("`scnnc ops` lists what runs where".to_owned());
            Box::new(diagnostic)
        };
        match self.verdict() {
            "machine" => Ok(()),
            "host" => Err(Failure::Nothing(diagnostic(
                CompilerCode::NothingOnArray.into(),
                "nothing would run on the array",
            ))),
            _ => Err(Failure::Check(diagnostic(
                CompilerCode::HostRefused.into(),
                "some nodes would run on the host",
            ))),
        }
    }
}

impl Refusal {
    fn json(&self) -> serde_json::Value {
        let problems = self.diagnostics.iter().map(Problem::of_refusal);
        let problems = problems.chain(self.survey.host.iter().map(Problem::of_host));
        json!({
            "verdict": "refused",
            "coverage_by": "operators",
            "nodes": {"machine": self.survey.machine_nodes, "host": self.survey.host.len()},
            "problems": problems.collect::<Vec<_>>(),
        })
    }

    /// Text of the survey, printed above the errors: coverage, and the nodes of the host.
    fn words(&self) -> String {
        let (on_machine, on_host) = (self.survey.machine_nodes, self.survey.host.len());
        if on_machine + on_host == 0 {
            return String::new();
        }
        let mut text = format!(
            "coverage  {on_machine} of {} nodes ({:.0} %) may be on the machine, by their operators alone: the model is refused\n",
            on_machine + on_host,
            100.0 * on_machine as f64 / (on_machine + on_host) as f64
        );
        for reason in &self.survey.host {
            // Writing to a string does not fail.
            let _ = writeln!(text, "host      {reason}");
        }
        text
    }
}
