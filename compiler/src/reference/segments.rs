//! The host segments of a network, loaded: by the same runtime, from the same bytes and in the same way as the simulator
//! loads them from a program, so that both compute the same to the bit.

use crate::quantise::{HostOperation, Operation, Quantised};
use crate::reference::interpret::InterpretError;
use prost::Message;
use scnn_host::{Host, Session};
use tract_onnx::prelude::Tensor;

/// A session for each host segment.
pub struct Segments {
    /// By operation; layers have none.
    sessions: Vec<Option<Box<dyn Session>>>,
}

impl Segments {
    /// Loads all of them.
    ///
    /// # Errors
    /// A runtime that one of them needs is missing or cannot load it.
    pub fn load(network: &Quantised, host: &Host) -> Result<Self, InterpretError> {
        let load = |operation: &Operation| match operation {
            Operation::Layer(_) => Ok(None),
            Operation::Host(segment) => host
                .load(segment.runtime, &segment.model.encode_to_vec())
                .map(Some)
                .map_err(|source| InterpretError::Host {
                    segment: segment.name.clone(),
                    source,
                }),
        };
        Ok(Self {
            sessions: network
                .operations
                .iter()
                .map(load)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Runs the segment that is operation `index`.
    pub(super) fn run(
        &self,
        index: usize,
        segment: &HostOperation,
        operands: Vec<Tensor>,
    ) -> Result<Vec<Tensor>, InterpretError> {
        let session = self.sessions.get(index).and_then(Option::as_ref);
        let session = session.expect("every host segment of the network was loaded");
        session
            .run(operands)
            .map_err(|source| InterpretError::Host {
                segment: segment.name.clone(),
                source,
            })
    }
}
