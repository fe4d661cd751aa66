//! `ops` and `check`.

use super::args::Check;
use super::build;
use super::failure::Failure;
use super::output;
use comfy_table::Table;
use scnn_isa::diagnostic::{Code, Diagnostic, Location, Place};
use scnnc::coverage::Coverage;
use scnnc::import::{ImportOptions, import};
use scnnc::operators::OPERATORS;
use scnnc::transform;

/// `scnnc ops`.
pub fn ops() {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "operator",
        "opset",
        "runs",
        "within these limits, else on the host; or why not on the array",
    ]);
    for operator in OPERATORS {
        let opset = format!("to {}", operator.opset);
        let limits = operator.host_reason().unwrap_or(operator.limits);
        table.add_row([operator.name, &opset, operator.unit, limits]);
    }
    output::print(&format!(
        "{}\n\nOperator sets from 6 on are read. Any other operator runs on the host.\n",
        table.trim_fmt()
    ));
}

/// `scnnc check`: succeeds when all of the model runs on the machine.
pub fn check(options: &Check) -> Result<(), Failure> {
    let file = options.model.display().to_string();
    let import_options = ImportOptions {
        dims: build::dims(&options.dims)?,
    };
    let imported = import(&options.model, &import_options)
        .map_err(|errors| Failure::Refused(errors.diagnostics(&file)))?;
    let mut graph = imported.graph;
    for &id in &graph.inputs {
        let node = &graph.dag[id];
        output::print(&format!(
            "input     {} {:?} {:?}\n",
            node.tensor, node.dtype, node.dims
        ));
    }
    for (name, id) in &graph.outputs {
        output::print(&format!(
            "output    {name} {:?} {:?}\n",
            graph.dag[*id].dtype, graph.dag[*id].dims
        ));
    }
    transform::run_all(&mut graph, &mut |_, _| {});
    let coverage = Coverage::of(&graph);
    let multiplications = coverage.machine_macs + coverage.host_macs;
    let products = if multiplications == 0 {
        String::new()
    } else {
        let share = 100.0 * coverage.mac_share();
        format!(" and {share:.1} % of {multiplications} multiplications")
    };
    output::print(&format!(
        "coverage  {} of {} nodes ({:.0} %){products} on the machine\n",
        coverage.machine_nodes,
        coverage.machine_nodes + coverage.host_nodes,
        100.0 * coverage.node_share(),
    ));
    for reason in &coverage.reasons {
        output::print(&format!("host      {reason}\n"));
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
            Code::NothingOnArray,
            "nothing would run on the array",
        )]));
    }
    if coverage.host_nodes > 0 {
        return Err(Failure::Check(Box::new(diagnostic(
            Code::HostRefused,
            "some nodes would run on the host",
        ))));
    }
    Ok(())
}
