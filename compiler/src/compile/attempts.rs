//! Attempts: a model of which a part fails is compiled anew with this part on the host.

use super::fallback::{self, Failed, Fallback};
use super::observed::ObservedModel;
use super::observer::Observer;
use super::options::{Options, Sample};
use super::{CompileError, borders, islands, unfit};
use crate::calibrate::Calibration;
use crate::graph::Graph;
use crate::import::Imported;
use crate::quantise::Quantised;
use scnn_isa::machine::Machine;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Attempts to compile a model, again and again with more of it on the host where it fails because of some nodes.
pub(super) fn with_fallbacks<T>(
    mut imported: Imported,
    observer: &mut dyn Observer,
    attempt: &mut dyn FnMut(Imported, &mut dyn Observer) -> Result<T, Failed>,
) -> Result<(T, Vec<Fallback>), CompileError> {
    let (mut source, hash) = (Arc::clone(&imported.source), imported.hash.clone());
    let mut fallbacks: Vec<Fallback> = Vec::new();
    let mut rounds = 0;
    loop {
        let failed = match attempt(imported, observer) {
            Ok(result) => return Ok((result, fallbacks)),
            Err(Failed::Tract(node, reason, error)) => {
                if !Arc::make_mut(&mut source).give_away(node, reason) {
                    return Err(error);
                }
                imported = Imported::with_on_host(&source, &hash, fallback::on_host(&fallbacks))?;
                continue;
            }
            Err(failed) => failed,
        };
        let known = fallback::on_host(&fallbacks);
        let more = failed.because().iter().filter(|more| {
            let mut nodes = more.nodes.iter();
            nodes.any(|node| !known.contains_key(node))
        });
        let more: Vec<Fallback> = more.cloned().collect();
        if more.is_empty() || rounds >= fallback::MOST_FALLBACKS {
            return Err(failed.give_up());
        }
        for fallback in &more {
            observer.fallback(fallback);
        }
        fallbacks.extend(more);
        rounds += 1;
        imported = Imported::with_on_host(&source, &hash, fallback::on_host(&fallbacks))?;
    }
}

/// What earlier attempts at compiling a model leave to the next one.
#[derive(Default)]
pub(super) struct Before {
    /// Tensors whose ranges they asked for. They are kept, so that a calibration that is saved leads to the same program.
    pub(super) wanted: BTreeSet<String>,
    /// Nodes that were sent to the host although they could be compiled; they are sent once.
    sent: BTreeSet<String>,
    /// The islands that were sent there because they did not pay.
    unpaid: islands::MovedWork,
    /// What was sent there because of what the host makes of its results.
    pub(super) borders: borders::Moved,
    /// The float model of the attempt before, with what was observed of it.
    pub(super) observed: Option<ObservedModel>,
}

impl Before {
    /// Fails if any nodes of `found` have not been sent to the host yet.
    pub(super) fn send(&mut self, found: Vec<Fallback>) -> Result<(), Failed> {
        let new = |of: &Fallback| of.nodes.iter().any(|node| !self.sent.contains(node));
        let found: Vec<Fallback> = found.into_iter().filter(new).collect();
        self.sent
            .extend(found.iter().flat_map(|of| of.nodes.clone()));
        fallback::of_precision(found)
    }

    /// Fails if any islands of a transformed graph should run on the host because they do not pay.
    pub(super) fn send_unpaid(&mut self, graph: &Graph, machine: &Machine) -> Result<(), Failed> {
        let regions = islands::regions(graph);
        let found = islands::unpaid(&regions, machine, &mut self.unpaid);
        self.send(found)
    }

    /// Fails if a part of the network should run on the host for what its values lose.
    pub(super) fn judge(
        &mut self,
        graph: &Graph,
        network: &Quantised,
        (calibration, observed): (&Calibration, &Sample),
        options: &Options,
    ) -> Result<(), Failed> {
        self.send(unfit::unfit(graph, network))?;
        // With a calibration of before it has been found already.
        if options.calibration.is_some() {
            return Ok(());
        }
        let segments = borders::SegmentedNetwork {
            graph,
            network,
            observed,
            calibration,
            host: &options.host,
        };
        let found = self.borders.more(&segments);
        self.send(found)
    }
}
