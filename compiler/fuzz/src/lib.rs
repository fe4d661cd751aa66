//! What the fuzzer calls: one function for each reader of outside data. None may panic, hang or take much memory.
//!
//! `compiler/tests/it/corpus.rs` calls the same functions on the kept corpora, so that every finding stays found.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd compiler && RUSTC_BOOTSTRAP=1 cargo fuzz run program -s none -- -max_total_time=600
//! ```

use scnn_isa::asm;
use scnn_isa::machine::Machine;
use scnn_isa::program::{Dtype, Program};
use scnn_isa::verify::{Limits, verify_within};
use scnn_simulator::report::Report;
use scnn_simulator::report::columns::csv;
use scnn_simulator::timing::Timing;
use scnn_simulator::{Options, Simulator, snapshot};
use scnnc::import::{ImportOptions, import_bytes};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Small enough that every accepted program is done in a moment.
const LIMITS: Limits = Limits {
    memory_bytes: 64 << 20,
    work: 1 << 22,
};

/// An ONNX file: imported and transformed.
pub fn onnx(bytes: &[u8]) {
    let nowhere = Path::new("/nonexistent");
    if let Ok(imported) = import_bytes("fuzz", bytes, nowhere, &ImportOptions::default()) {
        let mut graph = imported.graph;
        let machine = Machine::preset("scnn").expect("a preset");
        scnnc::transform::run_all(
            &mut graph,
            &machine,
            &std::collections::BTreeSet::default(),
            &mut |pass, graph| {
                if let Err(error) = scnnc::graph::check::check(graph) {
                    panic!("after {pass}: {error}");
                }
            },
        );
    }
}

/// A machine file; one that is accepted is written in full and read again as the same.
pub fn machine(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(machine) = Machine::from_yaml(text) {
        let again = Machine::from_yaml(&machine.to_yaml());
        assert_eq!(again.as_ref().ok(), Some(&machine));
    }
}

/// Assembly text; a valid program says the same after a round trip, and runs.
pub fn assembly(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(program) = asm::assemble(text) {
        let text = asm::disassemble(&program, &asm::Options::default());
        if execute(&program) {
            let again = asm::assemble(&text);
            assert!(again.is_ok_and(|again| again.to_bytes() == program.to_bytes()));
        }
    }
}

/// A program file, as it is and under checksums that hold.
pub fn program(bytes: &[u8]) {
    for bytes in [Some(bytes.to_vec()), sealed(bytes)] {
        if let Some(Ok(program)) = bytes.as_deref().map(Program::from_bytes) {
            execute(&program);
        }
    }
}

/// A JSON report; one that is accepted is written and read again as the same, and can be told of.
pub fn report(bytes: &[u8]) {
    let Ok(reports) = Report::read(bytes) else {
        return;
    };
    for report in &reports {
        let text = serde_json::to_vec(report).unwrap_or_default();
        let again = serde_json::from_slice(&text).ok();
        assert!(
            serde_json::to_value(report)
                .ok()
                .zip(again)
                .is_some_and(|(a, b)| alike(&a, &b))
        );
        assert!(Report::read(&text).is_ok_and(|again| again.len() == 1));
        let _ = (report.headline(), report.prediction_errors());
    }
    let _ = csv(&reports);
}

/// Whether two values are the same but for the last bit of their floats, which `serde_json` rounds quickly.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        _ => a == b,
    }
}

/// Runs a program on zeros, if it is valid and asks for little; tells whether it was valid.
pub fn execute(program: &Program) -> bool {
    if verify_within(program, &LIMITS).is_err() {
        return false;
    }
    // Host segments are models in tract's hands, which `onnx` fuzzes.
    if !program.segments.is_empty() {
        return true;
    }
    let Ok(simulator) = Simulator::new(program, &scnn_host::Host::default()) else {
        return true;
    };
    let inputs: BTreeMap<_, _> = program
        .inputs
        .iter()
        .map(|&id| program.value(id))
        .filter(|value| value.dtype == Dtype::F32)
        .filter_map(|value| {
            let dims: Vec<usize> = value.shape.iter().map(|&d| d as usize).collect();
            let count = dims.iter().product::<usize>();
            // No value is zero, so that nothing is skipped.
            let values: Vec<f32> = (0..count).map(|i| (i % 7) as f32 - 3.5).collect();
            let tensor = tract_onnx::prelude::Tensor::from_shape(&dims, &values).ok()?;
            Some((value.name.clone(), tensor))
        })
        .collect();
    let mut cycles = Vec::new();
    for timing in [Timing::Fast, Timing::Exact] {
        if let Ok(execution) = simulator.run(&inputs, &Options { timing }) {
            let report = Report::of(program, &execution, timing);
            let _ = snapshot::text(program, &report);
            cycles.push(report.totals.cycles.total);
        }
    }
    if let [fast, exact] = cycles[..] {
        assert!(
            fast <= exact,
            "fast {fast} is a lower bound of exact {exact}"
        );
    }
    true
}

/// The bytes as a program file whose header is right: the announced parts as far as they reach, checksums that hold.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let count = number(8)?.min(64);
    let mut at = 12 + 12 * count + 4;
    let mut parts = Vec::new();
    for part in 0..count {
        let length = number(12 + 12 * part)?;
        let end = at.saturating_add(length).min(bytes.len());
        parts.push(bytes.get(at..end)?);
        at = end;
    }
    let mut sealed = bytes.get(..8)?.to_vec();
    sealed.extend((count as u32).to_le_bytes());
    for part in &parts {
        sealed.extend((part.len() as u64).to_le_bytes());
        sealed.extend(crc32fast::hash(part).to_le_bytes());
    }
    sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
    sealed.extend(parts.concat());
    Some(sealed)
}
