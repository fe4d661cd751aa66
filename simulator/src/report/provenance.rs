//! Provenance of a report: hashes that say which part of a later run is not the same, and the command that repeats it.
//!
//! Hashes are of contents, so files may move and change their format. [`Report::identify`] sets what the program and its
//! tensors say; who knows the calibration or the command line adds these.

use super::{Parameter, Report};
use crate::schema::described;
use scnn_isa::layer::{Function, Layer as Descriptor};
use scnn_isa::operation::OperationId;
use scnn_isa::program::Program;
use serde::{Deserialize, Serialize};
use tract_onnx::prelude::{DatumType, Tensor};

described! {
    /// What a report was made of. Hashes are BLAKE3, hexadecimal.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Provenance {
        /// The newest rule of counting that the tool knew, as the changelog numbers them.
        pub rules: u32,
        /// Words of the command that makes the report again, without the files that it writes; empty if no command made it.
        pub command: Vec<String>,
        /// Hash of the model: the ONNX file and the data beside it.
        pub model_blake3: String,
        /// Hash of the inputs of all samples: names, types, extents, values.
        pub inputs_blake3: String,
        /// Hash of the calibrated ranges, where the program was compiled in the same command.
        pub calibration_blake3: Option<String>,
        /// Hash of the machine's parameters.
        pub machine_blake3: String,
        /// Hash of the program: instructions and constants.
        pub program_blake3: String,
        /// Hash of the outputs of all samples.
        pub outputs_blake3: String,
    }
}

described! {
    /// How long a stage of the command took.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct StageTime {
        /// Name of the stage.
        pub stage: String,
        /// Time by the clock of the host, seconds.
        pub seconds: f64,
    }
}

impl Report {
    /// Sets the hashes of the program and of its layers, of the inputs and of the outputs of all samples.
    pub fn identify(&mut self, program: &Program, inputs: String, outputs: String) {
        for (layer, (operation, _)) in self.layers.iter_mut().zip(program.operations()) {
            layer.constants_blake3 = constants(program, operation);
        }
        let provenance = &mut self.provenance;
        provenance
            .model_blake3
            .clone_from(&program.provenance.model_hash);
        provenance.machine_blake3 = parameters(&self.parameters);
        provenance.program_blake3 = whole(program);
        provenance.inputs_blake3 = inputs;
        provenance.outputs_blake3 = outputs;
    }
}

/// The hash of tensors with their names, in order.
pub fn tensors_hash<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        add_tensor(&mut hasher, name, tensor);
    }
    hasher.finalize().to_hex().to_string()
}

fn add_tensor(hasher: &mut blake3::Hasher, name: &str, tensor: &Tensor) {
    let kind = format!("{name} {:?} {:?};", tensor.datum_type(), tensor.shape());
    hasher.update(kind.as_bytes());
    // Tensors of samples lie in memory as rows; of any other only the extents are hashed.
    let Ok(values) = tensor.try_as_plain_ram() else {
        return;
    };
    if tensor.datum_type() != DatumType::String {
        hasher.update(values.as_bytes());
    } else if let Ok(texts) = values.as_slice::<String>() {
        for text in texts {
            hasher.update(text.as_bytes()).update(b";");
        }
    }
}

fn constants(program: &Program, operation: OperationId) -> String {
    let mut hasher = blake3::Hasher::new();
    match operation {
        OperationId::Segment(id) => {
            hasher.update(&program.segment(id).model);
        }
        OperationId::Layer(id) => {
            for section in sections(program.layer(id)) {
                hasher.update(&program.section(section).bytes);
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}

fn sections(layer: &Descriptor) -> impl Iterator<Item = scnn_isa::ids::SectionId> {
    let weights = layer.array.as_ref().map(|array| array.weights);
    let table = layer.ppu.function.map(|function| match function {
        Function::Leaky(section) | Function::Table(section) => section,
    });
    weights
        .into_iter()
        .chain([layer.ppu.requantise])
        .chain(table)
}

fn whole(program: &Program) -> String {
    let mut hasher = blake3::Hasher::new();
    for instruction in &program.code {
        hasher.update(&instruction.encode());
    }
    for section in &program.sections {
        hasher.update(&section.bytes);
    }
    for segment in &program.segments {
        hasher.update(&segment.model);
    }
    hasher.finalize().to_hex().to_string()
}

fn parameters(parameters: &[Parameter]) -> String {
    let mut hasher = blake3::Hasher::new();
    for Parameter { path, value, unit } in parameters {
        hasher.update(format!("{path}={value} {unit};").as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor1;

    #[test]
    fn tensors_differ_by_name_type_order_and_value() {
        let hash = |name: &str, tensor: Tensor| tensors_hash([(name, &tensor)]);
        let base = hash("x", tensor1(&[1f32, 2.0]));
        assert_eq!(base, hash("x", tensor1(&[1f32, 2.0])));
        let others = [
            hash("y", tensor1(&[1f32, 2.0])),
            hash("x", tensor1(&[1f64, 2.0])),
            hash("x", tensor1(&[2f32, 1.0])),
            hash("x", tensor1(&["1".to_owned(), "2".to_owned()])),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }
}
