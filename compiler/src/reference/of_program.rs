//! The integer network that a program computes, read back from its descriptors and sections.
//!
//! It lets [`super::interpret`] judge a program whose model is not at hand: what every layer says it computes, dense and
//! without tiles, blocks or instructions. Whether the layers are what the model says, only the model tells.

use crate::quantise::{
    HostOperation, IntConv, IntFunction, IntLayer, IntPool, Operation, Quantised, Tensor, Value,
};
use prost::Message;
use scnn_host::RuntimeName;
use scnn_isa::arith::Rounding;
use scnn_isa::codec::positions;
use scnn_isa::layer::{Approximation, ArrayStage, Function, Layer};
use scnn_isa::operation::OperationId;
use scnn_isa::program::{HostSegment, Program, Runtime};
use scnn_isa::section::{
    SectionError, WeightBlocks, decode_requantise, decode_slopes, decode_tables, group_channels,
    residue_taps,
};
use std::sync::Arc;
use thiserror::Error;
use tract_onnx::pb::ModelProto;

/// Why a program has no network; a verified one has.
#[derive(Debug, Error)]
pub enum OfProgramError {
    /// A section does not hold what its layer asks for.
    #[error("layer `{layer}`: {source}")]
    Section {
        /// The layer.
        layer: String,
        /// What is wrong.
        source: SectionError,
    },
    /// The sub-model of a host segment is not ONNX.
    #[error("host segment `{segment}`: {source}")]
    Segment {
        /// The segment.
        segment: String,
        /// What is wrong.
        source: prost::DecodeError,
    },
}

/// The network of a program.
///
/// # Errors
/// See [`OfProgramError`].
pub fn network(program: &Program) -> Result<Quantised, OfProgramError> {
    let operations = program.operations().map(|(id, span)| {
        let nodes = program.nodes_of(span.begin).to_vec();
        match id {
            OperationId::Layer(id) => int_layer(program, program.layer(id), nodes)
                .map(|layer| Operation::Layer(Box::new(layer))),
            OperationId::Segment(id) => host_operation(program.segment(id), nodes)
                .map(|segment| Operation::Host(Box::new(segment))),
        }
    });
    let operations: Vec<Operation> = operations.collect::<Result<_, _>>()?;
    let tensors = program.tensors.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape,
        scale: tensor.scale,
        channel_shifts: tensor.channel_shifts.clone(),
        range: tensor.range,
        // Layers have their own; the borders of the host always round to even.
        rounding: Rounding::default(),
        density: 1.0,
    });
    let values = program.values.iter().map(|value| Value {
        name: value.name.clone(),
        dtype: value.dtype,
        declared: value.declared,
        dims: value.shape.clone(),
        tensor: value.region.map(|region| program.region(region).tensor),
        placement: value.placement.clone(),
    });
    Ok(Quantised {
        name: program.provenance.model.clone(),
        tensors: tensors.collect(),
        nonzeros: vec![None; operations.len()],
        operations,
        values: values.collect(),
        inputs: program.inputs.iter().map(|id| id.index()).collect(),
        outputs: program.outputs.iter().map(|id| id.index()).collect(),
    })
}

/// Weights in row-major order, and their extents `[K, C / groups, R, S]`.
pub type DenseWeights = ([usize; 4], Vec<i16>);

/// The weights of a layer; none of a layer of the PPU alone.
///
/// # Errors
/// The section does not hold the blocks that the layer asks for.
pub fn dense_weights(
    program: &Program,
    layer: &Layer,
) -> Result<Option<DenseWeights>, SectionError> {
    let Some(array) = &layer.array else {
        return Ok(None);
    };
    let (inputs, outputs) = (
        layer.source.channels.len(),
        layer.destination.channels.len(),
    );
    let residues = program.tensor(layer.source.tensor).layout.residues;
    let bytes = &program.section(array.weights).bytes;
    let format = program.machine.weight_format();
    let blocks = WeightBlocks::decode(bytes, format, array, inputs, outputs, residues)?;
    let (per_in, rows, cols) = (inputs / array.groups, array.y.kernel, array.x.kernel);
    let taps = residue_taps(array, residues);
    let mut dense = vec![0i16; (outputs * per_in * rows * cols) as usize];
    for (group, &k) in array.channel_groups.iter().enumerate() {
        for c in group_channels(array, k, inputs, outputs).iter() {
            for (residue, taps) in taps.iter().enumerate() {
                for (position, value) in positions(blocks.block(group, c, residue as u32)) {
                    let (ko, tap) = array
                        .order
                        .split(position as u32, k.len(), taps.len() as u32);
                    let (r, s) = taps[tap as usize];
                    let at = (((k.begin + ko) * per_in + c % per_in) * rows + r) * cols + s;
                    dense[at as usize] = value;
                }
            }
        }
    }
    let shape = [outputs, per_in, rows, cols].map(|extent| extent as usize);
    Ok(Some((shape, dense)))
}

fn int_layer(
    program: &Program,
    layer: &Layer,
    onnx_nodes: Vec<String>,
) -> Result<IntLayer, OfProgramError> {
    let section = |source| OfProgramError::Section {
        layer: layer.name.clone(),
        source,
    };
    let ppu = &layer.ppu;
    let channels = layer.destination.channels.len();
    let weights = dense_weights(program, layer).map_err(section)?;
    let array = layer.array.as_ref().zip(weights);
    let requantise = &program.section(ppu.requantise).bytes;
    Ok(IntLayer {
        name: layer.name.clone(),
        onnx_nodes,
        tensor: program.tensor(layer.destination.tensor).name.clone(),
        placement: None,
        source: layer.source,
        destination: layer.destination,
        conv: array.map(|(array, (_, weights))| int_conv(array, weights)),
        source_shift: ppu.source_shift,
        requantise: decode_requantise(requantise, channels, ppu.rounding).map_err(section)?,
        rounding: ppu.rounding,
        divisor: ppu.divisor,
        operand: ppu.operand,
        function: function(program, layer).map_err(section)?,
        clamp: ppu.clamp,
        pool: ppu.pool.map(|pool| IntPool {
            kind: pool.kind,
            y: pool.y,
            x: pool.x,
            multiplier: pool.multiplier,
            shift: pool.shift,
        }),
    })
}

fn int_conv(array: &ArrayStage, weights: Vec<i16>) -> IntConv {
    IntConv {
        weights: Arc::new(weights),
        groups: array.groups,
        y: array.y,
        x: array.x,
        product_shift: array.product_shift,
    }
}

fn function(program: &Program, layer: &Layer) -> Result<Option<IntFunction>, SectionError> {
    let bytes = |section| &program.section(section).bytes;
    let function = match layer.ppu.function {
        None => return Ok(None),
        Some(Function::Leaky(section)) => IntFunction::Leaky {
            slopes: decode_slopes(bytes(section), layer.destination.channels.len())?,
            exponent: layer.ppu.slope_exponent,
        },
        Some(Function::Table(section)) => IntFunction::Table {
            tables: decode_tables(bytes(section))?,
            approximates: layer.ppu.approximates.clone().unwrap_or(Approximation {
                function: String::new(),
                largest_error: 0.0,
            }),
        },
    };
    Ok(Some(function))
}

fn host_operation(
    segment: &HostSegment,
    onnx_nodes: Vec<String>,
) -> Result<HostOperation, OfProgramError> {
    let model = ModelProto::decode(&segment.model[..]);
    Ok(HostOperation {
        name: segment.name.clone(),
        onnx_nodes,
        runtime: match segment.runtime {
            Runtime::Tract => RuntimeName::Tract,
            Runtime::OnnxRuntime => RuntimeName::OnnxRuntime,
        },
        model: model.map_err(|source| OfProgramError::Segment {
            segment: segment.name.clone(),
            source,
        })?,
        inputs: segment.inputs.iter().map(|id| id.index()).collect(),
        outputs: segment.outputs.iter().map(|id| id.index()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::synthetic;
    use crate::compile::{Options, compile};
    use crate::reference::interpret::interpret;
    use crate::reference::segments::Segments;
    use scnn_isa::machine::Machine;
    use std::path::Path;

    /// Host segments, gates, pooling and strides; weights cut into the blocks of either machine.
    #[test]
    fn a_programs_network_computes_what_the_network_did_that_it_was_made_of() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for (model, machine) in [
            ("tiny.onnx", "scnn"),
            ("tiny.onnx", "scnn-multicast"),
            ("lenet5.onnx", "scnn-sparse-a"),
        ] {
            let machine = Machine::preset(machine).unwrap();
            let options = Options::new(machine);
            let compiled = compile(&models.join(model), &options, &mut |_, _| {}).unwrap();
            let bytes = compiled.program.to_bytes();
            let read = network(&Program::from_bytes(&bytes).unwrap()).unwrap();
            let sample = synthetic(&compiled.graph, 7);
            let of = |network: &Quantised| {
                let segments = Segments::load(network, &compiled.host).unwrap();
                interpret(network, &sample, &segments).unwrap()
            };
            let (ours, theirs) = (of(&read), of(&compiled.network));
            assert_eq!(ours.tensors, theirs.tensors, "{model}");
            assert_eq!(ours.peaks, theirs.peaks, "{model}");
            assert!(ours.tensors.iter().flatten().any(|&value| value != 0));
        }
    }
}
