//! `ops`: every operator that is known, and where it runs.

use super::args::Ops;
use super::{grid, output};
use scnnc::import::operators::OPERATORS;
use serde_json::json;

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
