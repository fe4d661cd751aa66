//! `ops`: every operator that is known, where it runs, and what the host's are verified against.

use super::args::Ops;
use super::{grid, output};
use scnnc::import::host_operators::{Verified, all_verified, verified, verified_with};
use scnnc::import::operators::OPERATORS;
use serde_json::json;

/// `scnnc ops`.
pub fn ops(options: &Ops) {
    let mut entries = Vec::new();
    let mut table = grid::plain(&[
        "operator",
        "opset",
        "runs",
        "host, verified on",
        "within these limits, else on the host; or why not on the array",
    ]);
    for operator in OPERATORS {
        let opset = format!("to {}", operator.opset);
        let limits = operator.host_reason().unwrap_or(operator.limits);
        let verified = verified(operator.name);
        entries.push(json!({
            "operator": operator.name, "opset": operator.opset, "runs": operator.unit, "limits": limits,
            "host_verified": verified.map(verification),
        }));
        table.add_row([
            operator.name,
            &opset,
            operator.unit,
            &words_of(verified),
            limits,
        ]);
    }
    let known = |name: &str| OPERATORS.iter().any(|operator| operator.name == name);
    for (name, verified) in all_verified().filter(|(name, _)| !known(name)) {
        entries.push(json!({
            "operator": name, "opset": null, "runs": "host", "limits": "",
            "host_verified": verification(verified),
        }));
        table.add_row([name, "", "host", &words_of(Some(verified)), ""]);
    }
    if options.json {
        output::print_json(&entries);
        return;
    }
    output::print(&format!(
        "{}\n\nOperator sets from 6 on are read. What the array does not run, tract runs, which is built in: verified is how many \
         cases agree with ONNX Runtime {}, and the largest difference as a part of the largest magnitude. An operator without \
         cases gets a warning. What tract does not have, or not right, ONNX Runtime runs where its library is found \
         (`--host`), all of the standard's operators and those of `com.microsoft` among it.\n",
        grid::wrapped(table, &[1, 3]),
        verified_with()
    ));
}

fn verification(verified: Verified) -> serde_json::Value {
    json!({ "cases": verified.cases, "worst": verified.worst })
}

fn words_of(verified: Option<Verified>) -> String {
    verified.map_or_else(String::new, |verified| match verified.worst {
        0.0 => format!("{} cases, equal", verified.cases),
        worst => format!("{} cases, {worst:.0e}", verified.cases),
    })
}
