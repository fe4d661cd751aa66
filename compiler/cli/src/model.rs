//! `ops` and `check`.

use super::args::{Check, Ops};
use super::bindings;
use super::failure::Failure;
use super::{grid, machine, output, table};
use crate::codes::CompilerCode;
use scnn_isa::diagnostic::{Diagnostic, Location, Place};
use scnnc::compile::{self, Options};
use scnnc::graph::Node;
use scnnc::graph::coverage::Coverage;
use scnnc::import::import;
use scnnc::import::operators::OPERATORS;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;

/// `scnnc ops`.
pub fn ops(options: &Ops) {
    let mut entries = Vec::new();
    let mut table = grid::plain(&[
        "operator",
        "opset",
        "runs",
        "within these limits, else on the host; or why not on the array",
    ]);
    for operator in OPERATORS {
        let opset = format!("to {}", operator.opset);
        let limits = operator.host_reason().unwrap_or(operator.limits);
        entries.push(json!({
            "operator": operator.name, "opset": operator.opset, "runs": operator.unit, "limits": limits,
        }));
        table.add_row([operator.name, &opset, operator.unit, limits]);
    }
    if options.json {
        output::print_json(&entries);
    } else {
        output::print(&format!(
            "{}\n\nOperator sets from 6 on are read. Any other operator runs on the host.\n",
            grid::wrapped(table, &[1])
        ));
    }
}

/// An input or an output of a model.
#[derive(Serialize)]
struct Value {
    name: String,
    dtype: String,
    dims: Vec<u64>,
}

impl Value {
    fn of(name: &str, node: &Node) -> Self {
        Self {
            name: name.to_owned(),
            dtype: format!("{:?}", node.dtype),
            dims: node.dims.clone(),
        }
    }
}

/// What runs where, for people.
fn words(inputs: &[Value], outputs: &[Value], coverage: &Coverage) -> String {
    let mut text = String::new();
    let values = inputs.iter().map(|value| ("input", value));
    for (what, value) in values.chain(outputs.iter().map(|value| ("output", value))) {
        let Value { name, dtype, dims } = value;
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

/// `scnnc check`: succeeds when all of the model runs on the machine.
pub fn check(options: &Check) -> Result<(), Failure> {
    let file = options.model.display().to_string();
    let import_options = bindings::import_options(&options.bindings, &options.host)?;
    let imported = import(&options.model, &import_options)
        .map_err(|errors| Failure::Refused(errors.diagnostics(&file)))?;
    let graph = &imported.graph;
    let inputs = graph.inputs.iter().map(|&id| &graph.dag[id]);
    let inputs: Vec<Value> = inputs.map(|node| Value::of(&node.tensor, node)).collect();
    let outputs = graph.outputs.iter();
    let outputs: Vec<Value> = outputs
        .map(|(name, id)| Value::of(name, &graph.dag[*id]))
        .collect();
    let machine = machine::load(options.machine.as_deref().unwrap_or(machine::DEFAULT))?;
    let (graph, _) = compile::check(imported, &Options::new(machine), &mut ())
        .map_err(|error| Failure::compile(&options.model, &error))?;
    let coverage = Coverage::of(&graph);
    if options.json {
        output::print_json(&json!({
            "inputs": inputs,
            "outputs": outputs,
            "nodes": {"machine": coverage.machine_nodes, "host": coverage.host_nodes},
            "multiplications": {"machine": coverage.machine_macs, "host": coverage.host_macs},
            "host_reasons": coverage.reasons,
        }));
    } else {
        output::print(&grid::hanging(&words(&inputs, &outputs, &coverage)));
    }
    let diagnostic = |code, message: &str| Diagnostic {
        code,
        message: message.to_owned(),
        location: Some(Location {
            file: Some(file.clone()),
            place: Place::File,
        }),
        notes: Vec::new(),
        help: Some("`scnnc ops` lists what runs where".to_owned()),
    };
    if coverage.machine_nodes == 0 {
        return Err(Failure::Refused(vec![diagnostic(
            CompilerCode::NothingOnArray.into(),
            "nothing would run on the array",
        )]));
    }
    if coverage.host_nodes > 0 {
        return Err(Failure::Check(Box::new(diagnostic(
            CompilerCode::HostRefused.into(),
            "some nodes would run on the host",
        ))));
    }
    Ok(())
}
