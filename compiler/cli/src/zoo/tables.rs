//! `zoo make --table`: networks of tables of layers, for studies without a model.

use super::{densities, wrong_densities};
use crate::args::ZooMake;
use crate::codes::Code;
use crate::failure::Failure;
use crate::{output, tensors};
use scnn_models::zoo::table::{TableLayer, network};
use scnnc_driver::formats::{BadTable, Row, scale_sim, timeloop};
use std::path::{Path, PathBuf};
use tract_onnx::prelude::Tensor;

/// Most weights, and most inputs, that a table may ask for.
const MOST_VALUES: u64 = 1 << 30;

/// Makes a network of every topology, and one of all problems.
pub fn make(options: &ZooMake) -> Result<(), Failure> {
    let density = densities(options)?;
    if density.is_some_and(|(w, a)| ![w, a].iter().all(|share| (0.0..=1.0).contains(share))) {
        return Err(wrong_densities());
    }
    output::folder(&options.output)?;
    let (topologies, problems): (Vec<&PathBuf>, Vec<&PathBuf>) = options
        .tables
        .iter()
        .partition(|path| path.extension().is_some_and(|e| e == "csv"));
    for path in topologies {
        let rows = scale_sim::read(&text(path)?).map_err(|error| refused(path, &error))?;
        write(options, &stem(path), path, &rows, density)?;
    }
    let mut rows = Vec::new();
    for path in &problems {
        rows.extend(
            timeloop::read(&stem(path), &text(path)?).map_err(|error| refused(path, &error))?,
        );
    }
    match problems.first() {
        Some(first) => write(options, &stem(first), first, &rows, density),
        None => Ok(()),
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&output::read(path)?).into_owned())
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn refused(path: &Path, error: &BadTable) -> Failure {
    Failure::file(Code::LayerTable, path, &error.to_string())
}

/// Writes `NAME.onnx` and `NAME.npz`. Densities come from the option, else from the table, else they are 1.
fn write(
    options: &ZooMake,
    name: &str,
    path: &Path,
    rows: &[Row],
    density: Option<(f64, f64)>,
) -> Result<(), Failure> {
    let values = rows.iter().map(values).fold(0u64, u64::saturating_add);
    if values > MOST_VALUES {
        let reason =
            format!("its layers have {values} weights and inputs; at most {MOST_VALUES} are made");
        return Err(Failure::file(Code::LayerTable, path, &reason));
    }
    let layer = |row: &Row| {
        let wide = |[a, b]: [u32; 2]| [a as usize, b as usize];
        TableLayer {
            name: row.name.clone(),
            input: row.input.map(|extent| extent as usize),
            outputs: row.outputs as usize,
            kernel: wide(row.kernel),
            stride: wide(row.stride),
            dilation: wide(row.dilation),
            groups: row.groups as usize,
            weights: density
                .map(|(weights, _)| weights)
                .or(row.weights)
                .unwrap_or(1.0),
            activations: density
                .map(|(_, inputs)| inputs)
                .or(row.activations)
                .unwrap_or(1.0),
        }
    };
    let layers: Vec<TableLayer> = rows.iter().map(layer).collect();
    let (model, inputs) = network(name, &layers, options.seed);
    let file = options.output.join(format!("{name}.onnx"));
    output::write(&file, &model)?;
    let arrays = inputs.into_iter().map(|(name, shape, values)| {
        let tensor = Tensor::from_shape(&shape, &values)
            .expect("a layer has as many inputs as its extents say");
        (name, tensor)
    });
    let arrays: Vec<(String, Tensor)> = arrays.collect();
    tensors::write_npz(&file.with_extension("npz"), &arrays)?;
    if !options.quiet {
        let products: u64 = rows
            .iter()
            .filter_map(|row| row.check().ok())
            .fold(0, u64::saturating_add);
        output::print(&format!(
            "{}: {} layers, {products} multiplications of a dense machine\n{}\n",
            file.display(),
            rows.len(),
            file.with_extension("npz").display()
        ));
    }
    Ok(())
}

/// Weights and inputs of a layer.
fn values(row: &Row) -> u64 {
    let product = |extents: &[u32]| {
        extents
            .iter()
            .fold(1u64, |a, &b| a.saturating_mul(b.into()))
    };
    let weights = product(&[
        row.outputs,
        row.input[1] / row.groups.max(1),
        row.kernel[0],
        row.kernel[1],
    ]);
    weights.saturating_add(product(&row.input))
}
