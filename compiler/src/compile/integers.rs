//! From a graph and the ranges of its activations to a program: quantisation, mapping, emission.

use super::CompileError;
use super::fallback::{self, Failed};
use super::observer::{Observer, Stage};
use super::options::{Options, describe};
use crate::calibrate::Calibration;
use crate::emit::emit;
use crate::graph::Graph;
use crate::map::occupancy::Occupancy;
use crate::map::{self, Mapped, Strategy};
use crate::quantise::{self, Quantised};
use scnn_isa::program::{Program, Provenance};
use scnn_isa::progress::Progress;
use scnn_isa::verify::verify;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What follows from a graph and the ranges of its activations.
#[derive(Debug)]
pub struct Integers {
    /// The integer network.
    pub network: Quantised,
    /// Where its activations are not zero.
    pub occupancy: Occupancy,
    /// Its mapping.
    pub mapped: Mapped,
    /// The program.
    pub program: Program,
}

/// Quantises, maps and emits a transformed graph; `hash` is that of the model's file, `occupancy` tells where the
/// activations of the integer network are not zero.
///
/// # Errors
/// See [`CompileError`].
pub fn integers(
    graph: &Graph,
    calibration: &Calibration,
    hash: &str,
    options: &Options,
    occupancy: impl FnOnce(&Quantised) -> Occupancy,
    observer: &mut dyn Observer,
) -> Result<Integers, CompileError> {
    let occupancy = |network: &Quantised| Ok(occupancy(network));
    integers_or_culprits(graph, calibration, hash, options, occupancy, observer)
        .map_err(Failed::give_up)
}

/// The same; a failure says which nodes it is because of. `occupancy` is the first to see the integer network, and may refuse
/// it.
pub(super) fn integers_or_culprits(
    graph: &Graph,
    calibration: &Calibration,
    hash: &str,
    options: &Options,
    occupancy: impl FnOnce(&Quantised) -> Result<Occupancy, Failed>,
    observer: &mut dyn Observer,
) -> Result<Integers, Failed> {
    observer.stage(Stage::Quantise);
    let (machine, choices) = (&options.machine, &options.quantise);
    let network = quantise::quantise(graph, calibration, machine, choices, observer.layers())
        .map_err(|error| fallback::of_quantisation(error, options))?;
    let occupancy = occupancy(&network)?;
    let found = MapperInput {
        network: &network,
        occupancy: &occupancy,
        calibration,
        hash,
    };
    let (mapped, program) = mapped_or_culprits(&found, options, observer)?;
    Ok(Integers {
        network,
        occupancy,
        mapped,
        program,
    })
}

/// What a mapping is found for.
pub(super) struct MapperInput<'a> {
    pub(super) network: &'a Quantised,
    pub(super) occupancy: &'a Occupancy,
    pub(super) calibration: &'a Calibration,
    /// Of the model's file.
    pub(super) hash: &'a str,
}

/// Maps and emits an integer network; a failure says which nodes it is because of.
pub(super) fn mapped_or_culprits(
    found: &MapperInput<'_>,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<(Mapped, Program), Failed> {
    let MapperInput {
        network,
        occupancy,
        calibration,
        hash,
    } = *found;
    observer.stage(Stage::Map);
    let provenance = Provenance {
        tool: concat!("scnnc ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: network.name.clone(),
        model_hash: hash.to_owned(),
        options: Vec::new(),
        ranges: options.quantise.ranges,
    };
    let mut mapped_and_emitted = || {
        let (mapped, mapping) = map_network(network, occupancy, options, observer.layers())?;
        observer.stage(Stage::Emit);
        let provenance = Provenance {
            options: describe(options, calibration, &mapping),
            ..provenance.clone()
        };
        let program = emit(
            network,
            &mapped,
            &options.machine,
            provenance,
            observer.layers(),
        );
        match verify(&program) {
            Ok(()) => Ok((mapped, program)),
            Err(problems) if options.mapping_file.is_some() => {
                Err(CompileError::IllegalMapping(problems))
            }
            Err(problems) => Err(CompileError::Invalid(problems)),
        }
    };
    let done = catch_unwind(AssertUnwindSafe(&mut mapped_and_emitted));
    let culprits = || fallback::culprits(network, occupancy, options);
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(CompileError::Map(error))) => Err(fallback::of_mapping(error, network)),
        Ok(Err(error @ CompileError::Invalid(_))) => Err(Failed::Because(culprits(), error)),
        Ok(Err(error)) => Err(Failed::Error(error)),
        Err(panic) => Err(Failed::Panic(culprits(), panic)),
    }
}

/// The mapping of an integer network, and nothing emitted of it.
///
/// # Errors
/// A layer that does not fit the machine, or a mapping file that does not fit the network.
pub fn mapping(
    network: &Quantised,
    occupancy: &Occupancy,
    options: &Options,
) -> Result<Mapped, CompileError> {
    map_network(network, occupancy, options, &()).map(|(mapped, _)| mapped)
}

/// The mapping, and how it was found, as the program says.
fn map_network(
    network: &Quantised,
    occupancy: &Occupancy,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Mapped, String), CompileError> {
    let machine = &options.machine;
    let Some(text) = &options.mapping_file else {
        let mapped = map::map(network, machine, occupancy, options.mapping, progress)?;
        let mut name = options.mapping.strategy.name().to_owned();
        if options.mapping.strategy == Strategy::Search {
            name = format!("{name} objective={}", options.mapping.objective.name());
        }
        return Ok((mapped, name));
    };
    let mut mapped = map::file::read(text, network, machine)?;
    let paper = map::Options {
        strategy: Strategy::Paper,
        ..options.mapping
    };
    // The paper's mapping is the paper's, wherever it was read.
    let is_paper = map::map(network, machine, occupancy, paper, &())
        .is_ok_and(|paper| paper.same_decisions(&mapped));
    mapped.predicted = map::predict(network, machine, occupancy, &mapped);
    Ok((mapped, if is_paper { "paper" } else { "file" }.to_owned()))
}
