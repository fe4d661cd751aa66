//! The adviser: what it predicts is what a run finds, and it ranks by what was asked for.

use crate::binary::{command, printed, printed_line, refused};
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

fn advice(folder: &Path, words: &str) -> Value {
    serde_json::from_str(&printed_line(folder, words)).unwrap()
}

fn number(value: &Value, pointer: &str) -> f64 {
    let found = value.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{pointer} of {value}"))
}

#[test]
fn a_small_network_is_run_and_its_steps_are_the_single_runs() {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    let words = "advise m.onnx --input d.npz --samples 2 --only pe.banks --only dram. --only pe.operand_bits -q --json";
    let advice = advice(folder.path(), words);
    let steps = advice["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 5, "operands of 16 bits are the widest");
    for step in steps {
        let setting = format!(
            "{}={}",
            step["parameter"].as_str().unwrap(),
            step["to"].as_str().unwrap()
        );
        let run = [
            "run",
            "m.onnx",
            "--input",
            "d.npz",
            "--samples",
            "2",
            "--set",
            &setting,
            "--json",
            "-q",
        ];
        let run: Value = serde_json::from_str(&printed(folder.path(), &run)).unwrap();
        let measured = &step["models"][0]["measured"]["costs"];
        assert_eq!(
            number(measured, "/cycles") * 2.0,
            number(&run, "/totals/cycles/total"),
            "{setting}"
        );
        let energy = number(&run, "/totals/energy_pj/total") / 2.0;
        assert!((number(measured, "/energy_pj") / energy - 1.0).abs() < 1e-9);
    }
}

#[test]
fn steps_are_ranked_by_the_objective_per_area_and_models_weigh_alike() {
    let folder = tempdir().unwrap();
    std::fs::copy(scnn_models::lenet5(), folder.path().join("m.onnx")).unwrap();
    let words = "advise m.onnx m.onnx --only pe. --only energy. -q --json --objective energy";
    let advice = advice(folder.path(), words);
    assert_eq!(advice["objective"], "energy");
    assert_eq!(advice["models"].as_array().unwrap().len(), 2);
    let steps = advice["steps"].as_array().unwrap();
    let gains: Vec<f64> = steps
        .iter()
        .filter_map(|step| step["gain_percent_per_mm2"].as_f64())
        .filter(|gain| *gain > 0.1)
        .collect();
    assert!(gains.is_sorted_by(|a, b| a >= b), "{gains:?}");
    for step in steps {
        // Two models that are the same gain what one does.
        let base = number(&advice, "/models/0/energy_pj");
        let costs = |model: &Value| {
            let measured = model.pointer("/measured/costs/energy_pj");
            let costs = measured.or_else(|| model.pointer("/predicted/costs/energy_pj"));
            costs.and_then(Value::as_f64)
        };
        let Some(energy) = costs(&step["models"][1]) else {
            continue;
        };
        let gain = 100.0 * (1.0 - energy / base);
        assert!(
            (number(step, "/gain_percent") - gain).abs() < 1e-6,
            "{step}"
        );
    }
}

/// Machines and parameters of which predictions are measured; `SCNN_ADVISE=1` takes all parameters on three presets.
fn measured_steps() -> Vec<(&'static str, &'static str)> {
    if std::env::var_os("SCNN_ADVISE").is_none() {
        return vec![("scnn", "--only weights.fifo_vectors --only dram.")];
    }
    let presets = ["scnn", "scnn-multicast", "scnn-16pe"];
    presets.map(|preset| (preset, "")).to_vec()
}

#[test]
fn predictions_for_a_larger_network_are_within_a_percent_of_a_run() {
    let folder = tempdir().unwrap();
    printed(folder.path(), &["zoo", "make", "squeezenet", "-q"]);
    let mut wrong = Vec::new();
    for (machine, only) in measured_steps() {
        let words = format!(
            "advise squeezenet.onnx --input squeezenet.npy --machine {machine} {only} --measure -q --json"
        );
        let advice = advice(folder.path(), &words);
        let mut compared = 0;
        for step in advice["steps"].as_array().unwrap() {
            let effect = &step["models"][0];
            let costs = |of: &str| effect.pointer(&format!("/{of}/costs"));
            let (Some(predicted), Some(measured)) = (costs("predicted"), costs("measured")) else {
                continue;
            };
            compared += 1;
            let [parameter, from, to] =
                ["parameter", "from", "to"].map(|of| step[of].as_str().unwrap());
            for what in ["/cycles", "/energy_pj"] {
                let percent = 100.0 * (number(predicted, what) / number(measured, what) - 1.0);
                if percent.abs() > 1.0 {
                    wrong.push(format!(
                        "{machine}, {parameter} {from} to {to}: {what} off by {percent:.2} %"
                    ));
                }
            }
        }
        println!("{machine}: {compared} predictions measured");
        assert!(compared >= 4, "{machine}: {compared} steps");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_cannot_be_advised_is_said() {
    let folder = tempdir().unwrap();
    std::fs::copy(scnn_models::lenet5(), folder.path().join("m.onnx")).unwrap();
    let said = refused(
        folder.path(),
        &["advise", "m.onnx", "--only", "pe.bank_s"],
        2,
    );
    assert!(said.contains("leaves no parameter"), "{said}");
    let two = ["advise", "m.onnx", "m.onnx", "--input", "m.onnx"];
    let said = refused(folder.path(), &two, 2);
    assert!(said.contains("of a single model"), "{said}");
    let output = command(folder.path())
        .args(["advise", "m.onnx", "--machine", "dcnn"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}
