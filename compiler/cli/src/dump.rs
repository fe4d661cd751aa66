//! `--dump`: every layer's integers as .npy and its facts as JSON, so that anyone can recompute any figure.

use super::failure::Failure;
use super::output;
use crate::codes::Code;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::WriteNpyExt;
use scnn_isa::arith::channel_shift;
use scnn_isa::layer::View;
use scnn_isa::program::Program;
use scnn_isa::section::decode_requantise;
use scnn_simulator::Execution;
use scnn_simulator::report::Report;
use scnnc::reference::of_program::dense_weights;
use scnnc_driver::channel_values;
use serde_json::json;
use std::path::Path;

/// Writes a folder for each layer: `input.npy`, `weights.npy`, `output.npy`, `layer.json`.
pub fn write(
    folder: &Path,
    program: &Program,
    execution: &Execution,
    report: &Report,
) -> Result<(), Failure> {
    for (index, layer) in program.layers.iter().enumerate() {
        let name: String = layer
            .name
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        let folder = folder.join(format!("{index:03}-{}", name.trim_matches('_')));
        output::folder(&folder)?;
        npy(
            &folder.join("input.npy"),
            &view(program, execution, layer.source),
        )?;
        npy(
            &folder.join("output.npy"),
            &view(program, execution, layer.destination),
        )?;
        if let Ok(Some((shape, weights))) = dense_weights(program, layer) {
            npy(&folder.join("weights.npy"), &array(&shape, weights))?;
        }
        let entry = report
            .layers
            .iter()
            .find(|l| l.engine == "scnn" && l.name == layer.name);
        let scale = |view: View| program.tensor(view.tensor).scale;
        let shifts = |view: View| {
            let shift =
                |channel: u32| channel_shift(&program.tensor(view.tensor).channel_shifts, channel);
            view.channels.iter().map(shift).collect::<Vec<u8>>()
        };
        let requantise = decode_requantise(
            &program.section(layer.ppu.requantise).bytes,
            layer.destination.channels.len(),
            layer.ppu.rounding,
        )
        .unwrap_or_default();
        let offsets: Vec<f32> = requantise.iter().map(|r| r.offset).collect();
        let requantise: Vec<_> = requantise
            .iter()
            .map(|r| json!([r.bias, r.multiplier, r.shift]))
            .collect();
        let facts = json!({
            "machine": program.machine,
            "layer": layer,
            "input_scale": scale(layer.source),
            "output_scale": scale(layer.destination),
            "input_channel_shifts": shifts(layer.source),
            "output_channel_shifts": shifts(layer.destination),
            "input_layout": program.tensor(layer.source.tensor).layout,
            "requantise_bias_multiplier_shift": requantise,
            "requantise_offset": offsets,
            "report": entry,
        });
        let text = serde_json::to_vec_pretty(&facts)
            .map_err(|e| Failure::file(Code::CannotWrite, &folder, &e.to_string()))?;
        output::write(&folder.join("layer.json"), &text)?;
    }
    Ok(())
}

fn view(program: &Program, execution: &Execution, view: View) -> ArrayD<i16> {
    let shape = program.tensor(view.tensor).shape;
    let all = &execution.tensors[view.tensor.index()];
    let [n, _, h, w] = shape.map(|d| d as usize);
    let values = channel_values(shape, view.channels, all);
    array(&[n, view.channels.len() as usize, h, w], values)
}

fn array(shape: &[usize], values: Vec<i16>) -> ArrayD<i16> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("the values were gathered for this shape")
}

fn npy(path: &Path, array: &ArrayD<i16>) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    array
        .write_npy(&mut bytes)
        .map_err(|e| Failure::file(Code::CannotWrite, path, &e.to_string()))?;
    output::write(path, &bytes)
}
