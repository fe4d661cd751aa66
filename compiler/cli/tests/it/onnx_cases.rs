//! The cases of the `onnx` package's own suite, which `models/onnx_cases.py` collects in `models/onnx-cases.npz`, and the forms
//! in which files say the same, which `models/file_forms.py` writes to `models/file-forms.npz`: each compiles, the simulator equals the interpreter to the bit, and the outputs are those that are expected.

use crate::agreement::{Sample, compiled, run_checked};
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;
use rayon::prelude::*;
use scnn_isa::machine::Machine;
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tract_onnx::prelude::Tensor;

/// A model, its inputs, and what must come out.
#[derive(Default)]
struct Case {
    model: Vec<u8>,
    atol: f64,
    inputs: Sample,
    expected: Sample,
}

/// Outputs are fixed-point numbers; they may differ by this part of their range.
const PART_OF_RANGE: f64 = 1.0 / 2048.0;

#[test]
fn every_case_of_the_onnx_suite_computes_what_it_expects() {
    every_case_of("onnx-cases.npz", 250);
}

#[test]
fn every_form_of_a_file_computes_what_onnx_runtime_does() {
    every_case_of("file-forms.npz", 100);
}

/// Runs all cases of an archive, of which there are to be more than `least`.
fn every_case_of(archive: &str, least: usize) {
    let cases = read(archive);
    assert!(cases.len() > least, "{} cases", cases.len());
    let folder = tempfile::tempdir().unwrap();
    let failures: Vec<String> = cases
        .par_iter()
        .filter_map(|(name, case)| {
            let path = folder.path().join(format!("{name}.onnx"));
            std::fs::write(&path, &case.model).unwrap();
            let verdict = catch_unwind(AssertUnwindSafe(|| run(case, &path)));
            let reason = verdict.unwrap_or_else(|_| Err("panicked, see above".to_owned()));
            reason.err().map(|reason| format!("{name}: {reason}"))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

fn run(case: &Case, path: &Path) -> Result<(), String> {
    let machine = Machine::preset("scnn").unwrap();
    let compiled = compiled(path, machine, &case.inputs);
    let execution = run_checked(&compiled, &case.inputs);
    for (name, wanted) in &case.expected {
        let got = execution
            .outputs
            .get(name)
            .ok_or(format!("no output {name}"))?;
        if got.shape() != wanted.shape() {
            return Err(format!(
                "shape {:?}, {:?} expected",
                got.shape(),
                wanted.shape()
            ));
        }
        let (got, wanted) = (doubles(got), doubles(wanted));
        let range = wanted.iter().fold(0f64, |m, v| m.max(v.abs()));
        let allowed = case.atol.max(PART_OF_RANGE * range);
        let error = got
            .iter()
            .zip(&wanted)
            .map(|(a, b)| (a - b).abs())
            .fold(0f64, f64::max);
        if error > allowed {
            return Err(format!(
                "{name} differs by {error:.2e}, {allowed:.2e} is allowed"
            ));
        }
    }
    Ok(())
}

/// The values; infinities as the largest number.
fn doubles(tensor: &Tensor) -> Vec<f64> {
    let cast = tensor.cast_to::<f64>().unwrap();
    let view = cast.to_plain_array_view::<f64>().unwrap();
    view.iter().map(|v| v.clamp(-3e38, 3e38)).collect()
}

/// The cases by name. An entry of the archive is `CASE/model`, `CASE/atol`, `CASE/in/NAME` or `CASE/out/NAME`.
fn read(archive: &str) -> BTreeMap<String, Case> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let file = models.join(archive);
    let mut archive = NpzReader::new(File::open(file).unwrap()).unwrap();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for entry in archive.names().unwrap() {
        let path = entry.trim_end_matches(".npy");
        let mut parts = path.splitn(3, '/');
        let case = cases.entry(parts.next().unwrap().to_owned()).or_default();
        let (kind, name) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        let tensor = tensor(&mut archive, &entry);
        match kind {
            "model" => case.model = tensor.as_bytes().to_vec(),
            "atol" => case.atol = doubles(&tensor)[0],
            "in" => drop(case.inputs.insert(name.to_owned(), tensor)),
            "out" => drop(case.expected.insert(name.to_owned(), tensor)),
            other => panic!("{path}: what is {other}?"),
        }
    }
    cases
}

fn tensor(archive: &mut NpzReader<File>, name: &str) -> Tensor {
    macro_rules! attempt {
        ($($type:ty),*) => {
            $(if let Ok(array) = archive.by_name::<OwnedRepr<$type>, IxDyn>(name) {
                let array: ArrayD<$type> = array;
                let values: Vec<$type> = array.iter().copied().collect();
                return Tensor::from_shape(array.shape(), &values).unwrap();
            })*
        };
    }
    attempt!(f32, f64, u8, i64, i32, i8, i16, u16, u32, u64, bool);
    panic!("{name} has another element type");
}
