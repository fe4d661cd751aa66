//! Execution: walks the instructions, keeps tensors and host values, and records what each layer cost.
//!
//! In a verified program every region that is read holds the tensor it is declared for, so contents are kept once per
//! tensor, densely; regions only decide where blocks lie, and with it traffic and spills.

mod border;
mod clock;
mod constants;
mod regions;
mod state;
mod traffic;
mod units;
mod values;

use crate::error::SimulateError;
use crate::host::{self, Segment};
use crate::observe::Observer;
use crate::operations::OperationCounts;
use crate::timing::Timing;
use clock::Clock;
use constants::LayerConstants;
use scnn_host::Host;
use scnn_isa::program::{Program, Value};
use scnn_isa::progress::Progress;
use state::State;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor as HostTensor;

/// Choices of an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How time is counted.
    pub timing: Timing,
}

/// Results of an execution: values and counts.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Outputs by ONNX name.
    pub outputs: BTreeMap<String, HostTensor>,
    /// Contents of every machine tensor `[N, C, H, W]` by [`TensorId`](scnn_isa::ids::TensorId), as they were when last written.
    pub tensors: Vec<Vec<i16>>,
    /// Counts of each layer and host segment, in the order of execution.
    pub operations: Vec<OperationCounts>,
}

/// A program made ready to run any number of times.
pub struct Simulator<'a> {
    program: &'a Program,
    layers: Vec<LayerConstants>,
    segments: Vec<Segment>,
    progress: &'a dyn Progress,
}

impl<'a> Simulator<'a> {
    /// Decodes the constants of a verified program, and loads its host segments.
    ///
    /// # Errors
    /// Malformed sections or host models; a runtime that is missing.
    pub fn new(program: &'a Program, host: &Host) -> Result<Self, SimulateError> {
        let layers = LayerConstants::decode_all(program)?;
        let segments = program
            .segments
            .iter()
            .map(|segment| Segment::new(segment, host))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            program,
            layers,
            segments,
            progress: &(),
        })
    }

    /// The simulator, with a receiver of progress: the layers of every execution, as they are computed and as they are timed.
    pub fn with_progress(mut self, progress: &'a dyn Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Reports the begin of an operation to `progress`.
    fn begin(&self, operation: usize, name: &str) {
        let count = self.program.layers.len() + self.program.segments.len();
        self.progress.layer(operation + 1, count, name);
    }

    /// The program.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// Runs the program on inputs by ONNX name.
    ///
    /// # Errors
    /// Inputs that do not fit, a failing host segment, an overflowing accumulator.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        options: &Options,
    ) -> Result<Execution, SimulateError> {
        self.execute(inputs, options.timing, None)
    }

    /// Runs the program before an observer, with exact timing. It costs the parallel timing of layers, and nothing else.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_observed(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        observer: &mut dyn Observer,
    ) -> Result<Execution, SimulateError> {
        self.execute(inputs, Timing::Exact, Some(observer))
    }

    /// By operation, cycles that no input of the program exceeds: from its weights and its mapping alone.
    ///
    /// # Errors
    /// None of a verified program.
    pub fn ceilings(&self, timing: Timing) -> Result<Vec<u64>, SimulateError> {
        let mut state = State::new(self);
        state.dense = true;
        for &value in &self.program.inputs {
            state.accept_dense(value);
        }
        for (at, instruction) in self.program.code.iter().enumerate() {
            state.at = at as u32;
            state.execute(instruction)?;
        }
        state.close_layer();
        for &value in &self.program.outputs {
            state.stream(value);
        }
        state.close_host();
        Ok(state.ceilings(timing))
    }

    fn execute<'s>(
        &'s self,
        inputs: &BTreeMap<String, HostTensor>,
        timing: Timing,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Execution, SimulateError> {
        let program = self.program;
        let begin = |operation: usize, name: &str| self.begin(operation, name);
        let clock = Clock::new(&program.machine, timing, &begin);
        // A layer that has ended is timed while the next ones compute; with an observer, at the end, in order.
        let early = observer.is_none();
        let (mut state, outputs) = rayon::scope(|scope| {
            let mut state = State::new(self);
            let time = |state: &mut State<'s>| {
                for (operation, work) in state.ended(early) {
                    clock.time(scope, operation, work);
                }
            };
            state.accept_all(inputs)?;
            for (at, instruction) in program.code.iter().enumerate() {
                state.at = at as u32;
                state.execute(instruction)?;
                time(&mut state);
            }
            state.close_layer();
            time(&mut state);
            let outputs = state.offer_all()?;
            Ok((state, outputs))
        })?;
        match observer {
            None => state.close_times(timing, clock.finish()),
            Some(observer) => state.time_observed(observer),
        }
        Ok(Execution {
            outputs,
            tensors: state.tensors,
            operations: state.operations,
        })
    }
}

impl State<'_> {
    /// Takes the program's inputs, by ONNX name.
    fn accept_all(&mut self, inputs: &BTreeMap<String, HostTensor>) -> Result<(), SimulateError> {
        for &value in &self.program.inputs {
            let name = &self.program.value(value).name;
            let data = inputs
                .get(name)
                .ok_or_else(|| SimulateError::MissingInput(name.clone()))?;
            let data = host::cast(self.program.value(value), data, |value| value.dtype)?;
            self.accept(value, data)?;
        }
        Ok(())
    }

    /// The program's outputs by ONNX name, after its last instruction.
    fn offer_all(&mut self) -> Result<BTreeMap<String, HostTensor>, SimulateError> {
        let mut outputs = BTreeMap::new();
        for &value in &self.program.outputs {
            let data = self.offer(value)?;
            let value = self.program.value(value);
            let data = host::cast(value, &data, Value::border_dtype)?;
            outputs.insert(value.name.clone(), data);
        }
        self.close_host();
        Ok(outputs)
    }
}
