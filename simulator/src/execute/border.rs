//! The border to the host: values that cross it, and the segments that run there.

use super::state::State;
use crate::baseline::Baselines;
use crate::counters::Counters;
use crate::energy::Energy;
use crate::error::SimulateError;
use crate::host;
use crate::operations::OperationCounts;
use crate::timing::{PeCycles, Slots};
use scnn_isa::ids::{SegmentId, ValueId};
use scnn_isa::operation::OperationId;
use tract_onnx::prelude::Tensor as HostTensor;

impl State<'_> {
    pub(super) fn host(&mut self, id: SegmentId) -> Result<(), SimulateError> {
        self.close_layer();
        let segment = self.program.segment(id);
        self.simulator.begin(self.operations.len(), &segment.name);
        if self.dense {
            for &value in &segment.inputs {
                self.stream(value);
            }
            for &value in &segment.outputs {
                self.accept_dense(value);
            }
        } else {
            let operands = segment
                .inputs
                .iter()
                .map(|&value| self.offer(value))
                .collect::<Result<_, _>>()?;
            let results = self.simulator.segments[id.index()].run(segment, operands)?;
            for (&value, result) in segment.outputs.iter().zip(results) {
                self.accept(value, result)?;
            }
        }
        let counters = Counters {
            host_bytes: std::mem::take(&mut self.streamed),
            ..Counters::default()
        };
        self.operations.push(OperationCounts {
            id: OperationId::Segment(id),
            runtime: Some(self.simulator.segments[id.index()].runtime.clone()),
            cycles: 0,
            steps: 0,
            slots: Slots::default(),
            pe_cycles: PeCycles::default(),
            counters,
            energy: Energy::of(&counters, self.machine),
            baselines: Baselines::default(),
            ram_elements: self.ram_elements(),
            weight_density: 1.0,
            input_density: 1.0,
            output_density: 1.0,
            density_model: None,
        });
        Ok(())
    }

    /// Adds the traffic over the host link after the last operation to that operation's counts.
    pub(super) fn close_host(&mut self) {
        let bytes = std::mem::take(&mut self.streamed);
        if let Some(counts) = self.operations.last_mut() {
            counts.counters.host_bytes += bytes;
            counts.energy = Energy::of(&counts.counters, self.machine);
        }
    }

    pub(super) fn accept(&mut self, id: ValueId, data: HostTensor) -> Result<(), SimulateError> {
        let value = self.program.value(id);
        let Some(region) = value.region else {
            self.values[id.index()] = Some(data);
            return Ok(());
        };
        let tensor = self.program.region(region).tensor;
        let quantised = host::quantise(value, self.program.tensor(tensor), &data)?;
        *self.values_mut(tensor) = quantised;
        self.stream(id);
        Ok(())
    }

    /// Takes a value of which every element is a non-zero.
    pub(super) fn accept_dense(&mut self, id: ValueId) {
        if let Some(region) = self.program.value(id).region {
            let tensor = self.program.region(region).tensor;
            self.values_mut(tensor).fill(1);
            self.stream(id);
        }
    }

    /// Counts a value over the host link, if it is one of the machine's.
    pub(super) fn stream(&mut self, id: ValueId) {
        if let Some(region) = self.program.value(id).region {
            let tensor = self.program.tensor(self.program.region(region).tensor);
            self.streamed += tensor.elements() * u64::from(self.machine.pe.operand_bits) / 8;
        }
    }

    /// Gives a value to the host. A value of the host's is dropped when it is read for the last time.
    pub(super) fn offer(&mut self, id: ValueId) -> Result<HostTensor, SimulateError> {
        let value = self.program.value(id);
        let Some(region) = value.region else {
            let readings = &mut self.readings[id.index()];
            *readings = readings.saturating_sub(1);
            let kept = &mut self.values[id.index()];
            let read = if *readings == 0 {
                kept.take()
            } else {
                kept.clone()
            };
            let missing = || SimulateError::Value {
                name: value.name.clone(),
                reason: "it was never computed".to_owned(),
            };
            return read.ok_or_else(missing);
        };
        let tensor = self.program.region(region).tensor;
        self.stream(id);
        host::dequantise(
            value,
            self.program.tensor(tensor),
            &self.tensors[tensor.index()],
        )
    }
}
