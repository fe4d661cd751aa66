//! The constants of a layer, decoded once: weights for the sums and for the stream, sizes of blocks, the PPU's tables.
//! Layers that read one section alike, as the steps of an unrolled recurrence do, share the decoded constants.

use super::SimulateError;
use crate::ppu::{Function, Stage};
use crate::timing::blocks::WeightSizes;
use crate::weights::OutputWeights;
use crate::weights::WeightStream;
use rayon::prelude::*;
use scnn_isa::arith::{aligned_shift, channel_shift};
use scnn_isa::ids::SectionId;
use scnn_isa::layer::{self, ArrayStage, Layer, Operand};
use scnn_isa::layout::Grid;
use scnn_isa::program::Program;
use scnn_isa::section::{
    SectionError, WeightBlocks, decode_requantise, decode_slopes, decode_tables,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The decoded constants of a layer.
pub(super) struct LayerConstants {
    /// Its weights; none for layers of the PPU alone.
    pub weights: Option<Arc<LayerWeights>>,
    pub stage: Stage,
}

/// Decoded weights.
pub(super) struct LayerWeights {
    pub by_output: OutputWeights,
    pub sizes: WeightSizes,
    pub stream: WeightStream,
    /// Share of non-zero weights.
    pub density: f64,
}

/// The parameters by which a layer decodes the bytes of a weight section.
#[derive(PartialEq)]
struct Reading {
    /// With a product shift of 0, which concerns the products and not the weights.
    array: ArrayStage,
    inputs: u32,
    outputs: u32,
    residues: Grid,
}

impl LayerConstants {
    /// Decodes the sections of all layers.
    ///
    /// # Errors
    /// The first layer with a malformed section.
    pub(super) fn decode_all(program: &Program) -> Result<Vec<Self>, SimulateError> {
        let layers = &program.layers;
        let failed = |layer: &Layer| {
            let layer = layer.name.clone();
            move |source| SimulateError::Section { layer, source }
        };
        let readings: Vec<Option<Reading>> = layers
            .iter()
            .map(|layer| Some(Reading::of(program, layer, layer.array.as_ref()?)))
            .collect();
        // By layer, the first one that reads its section alike.
        let mut by_section: BTreeMap<SectionId, Vec<usize>> = BTreeMap::new();
        let mut first_alike = |(index, reading): (usize, &Option<Reading>)| {
            let reading = reading.as_ref()?;
            let known = by_section.entry(reading.array.weights).or_default();
            let alike = known
                .iter()
                .find(|&&other| readings[other].as_ref() == Some(reading));
            let alike = alike.copied();
            if alike.is_none() {
                known.push(index);
            }
            Some(alike.unwrap_or(index))
        };
        let firsts: Vec<Option<usize>> =
            readings.iter().enumerate().map(&mut first_alike).collect();
        let decoded: Vec<Option<Arc<LayerWeights>>> = readings
            .par_iter()
            .enumerate()
            .map(|(index, reading)| match reading {
                Some(reading) if firsts[index] == Some(index) => {
                    let weights = LayerWeights::decode(program, reading);
                    weights
                        .map(|it| Some(Arc::new(it)))
                        .map_err(failed(&layers[index]))
                }
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let of_layer = |(layer, first): (&Layer, Option<usize>)| {
            Ok(Self {
                weights: first.and_then(|first| decoded[first].clone()),
                stage: decode_stage(program, layer).map_err(failed(layer))?,
            })
        };
        layers.iter().zip(firsts).map(of_layer).collect()
    }

    /// Share of non-zero weights; 1 for layers without weights.
    pub(super) fn weight_density(&self) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights.density)
    }
}

/// The PPU's constants.
fn decode_stage(program: &Program, layer: &Layer) -> Result<Stage, SectionError> {
    let outputs = layer.destination.channels.len();
    let bytes = |id: SectionId| program.section(id).bytes.as_slice();
    let function = match layer.ppu.function {
        None => None,
        Some(layer::Function::Leaky(id)) => {
            let slopes = decode_slopes(bytes(id), outputs)?;
            Some(Function::Leaky(slopes, layer.ppu.slope_exponent))
        }
        Some(layer::Function::Table(id)) => {
            let tables = decode_tables(bytes(id))?;
            let shifts = &program.tensor(layer.destination.tensor).channel_shifts;
            let channels = layer.destination.channels.iter();
            let positions = channels.map(|channel| tables.index(channel_shift(shifts, channel)));
            let positions = positions.collect();
            Some(Function::Tables(tables, positions))
        }
    };
    let (clamp, divisor) = layer.ppu.inner();
    Ok(Stage {
        requantise: decode_requantise(bytes(layer.ppu.requantise), outputs, layer.ppu.rounding)?,
        rounding: layer.ppu.rounding,
        divisor,
        function,
        operand: layer.ppu.operand.map(|operand| {
            let shifts = aligned_shifts(program, layer, &operand);
            (operand, shifts)
        }),
        clamp,
    })
}

/// By output channel, the right shift of an operand that is added.
fn aligned_shifts(program: &Program, layer: &Layer, operand: &Operand) -> Vec<i32> {
    let of_operand = &program.tensor(operand.view.tensor).channel_shifts;
    let of_result = &program.tensor(layer.destination.tensor).channel_shifts;
    let channels = operand.view.channels.iter();
    let channels = channels.zip(layer.destination.channels.iter());
    let aligned = |(read, written): (u32, u32)| {
        let [read, written] = [
            channel_shift(of_operand, read),
            channel_shift(of_result, written),
        ];
        aligned_shift(operand.shift, read, written)
    };
    channels.map(aligned).collect()
}

impl Reading {
    fn of(program: &Program, layer: &Layer, array: &ArrayStage) -> Self {
        Self {
            array: ArrayStage {
                product_shift: 0,
                ..array.clone()
            },
            inputs: layer.source.channels.len(),
            outputs: layer.destination.channels.len(),
            residues: program.tensor(layer.source.tensor).layout.residues,
        }
    }
}

impl LayerWeights {
    fn decode(program: &Program, reading: &Reading) -> Result<Self, SectionError> {
        let Reading {
            array,
            inputs,
            outputs,
            residues,
        } = reading;
        let (inputs, outputs, residues) = (*inputs, *outputs, *residues);
        let blocks = WeightBlocks::decode(
            &program.section(array.weights).bytes,
            program.machine.weight_format(),
            array,
            inputs,
            outputs,
            residues,
        )?;
        let stream = WeightStream::new(&blocks, array, inputs, outputs, residues);
        let weights = OutputWeights::new(&blocks, &stream, array, outputs, residues);
        let sizes =
            WeightSizes::measure(&blocks, array, inputs, outputs, residues.count(), &weights);
        let all = u64::from(outputs)
            * u64::from(inputs / array.groups.max(1))
            * u64::from(array.y.kernel * array.x.kernel);
        Ok(Self {
            density: weights.len() as f64 / all.max(1) as f64,
            by_output: weights,
            sizes,
            stream,
        })
    }
}
