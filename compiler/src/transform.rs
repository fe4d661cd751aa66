//! The passes between import and quantisation. Each changes how a graph is expressed and none what it computes.

pub mod absorb_pad;
pub mod compose_functions;
mod enlarged;
pub mod fold_affine;
pub mod fuse_layers;
pub mod keep_grids;
pub mod lower_functions;
pub mod lower_renames;
pub mod partition_host;
pub mod place_rounding;
pub mod shuffle_channels;
pub mod skip_renames;

use crate::graph::{Graph, drop_dead};
use scnn_isa::machine::Machine;
use std::collections::BTreeSet;

/// A pass: its name, what it does, and the function, which returns how much it changed.
pub struct Pass {
    /// Name, as in `--dump-ir`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Whether a graph compiles without it, to a program that computes the same: it makes a network faster and no more.
    pub optional: bool,
    /// Runs it.
    pub run: fn(&mut Graph, &Machine) -> usize,
}

/// The passes in their order.
#[rustfmt::skip] // One pass a line.
pub const PASSES: &[Pass] = &[
    Pass { name: "compose-functions", about: "elementwise operators on one tensor become one function", optional: true, run: |graph, _| compose_functions::run(graph) },
    Pass { name: "lower-functions", about: "functions become stages of layers, or work for the host", optional: false, run: lower_functions::run },
    Pass { name: "place-rounding", about: "a quantised model's rounding is done where values come from", optional: false, run: |graph, _| place_rounding::run(graph) },
    Pass { name: "skip-renames", about: "use what a rename renames", optional: true, run: |graph, _| skip_renames::run(graph) },
    Pass { name: "shuffle-channels", about: "renames that reorder channels, or move blocks between channels and the plane, become convolutions by ones", optional: true, run: |graph, _| shuffle_channels::run(graph) },
    Pass { name: "absorb-pad", about: "zeros around a plane become the padding of convolutions", optional: true, run: |graph, _| absorb_pad::run(graph) },
    Pass { name: "fuse-layers", about: "join layers with their only consumer", optional: true, run: |graph, _| fuse_layers::run(graph) },
    Pass { name: "fold-affine", about: "multiply factors into weights", optional: true, run: |graph, _| fold_affine::run(graph) },
    Pass { name: "drop-dead", about: "remove what no output needs", optional: true, run: |graph, _| drop_dead::run(graph) },
    Pass { name: "keep-grids", about: "what only chooses among rounded values is rounded as they are", optional: false, run: |graph, _| keep_grids::run(graph) },
    Pass { name: "lower-renames", about: "renames that move values run on the host", optional: false, run: |graph, _| lower_renames::run(graph) },
    Pass { name: "partition-host", about: "join host nodes into maximal segments", optional: false, run: |graph, _| partition_host::run(graph) },
    Pass { name: "drop-dead-again", about: "remove results that no one reads any more", optional: true, run: |graph, _| drop_dead::run(graph) },
];

/// Runs all passes for a machine, but for optional ones of those names; `observe` is shown the graph after each.
pub fn run_all(
    graph: &mut Graph,
    machine: &Machine,
    skipped: &BTreeSet<String>,
    observe: &mut dyn FnMut(&str, &Graph),
) {
    let wanted = |pass: &&Pass| !(pass.optional && skipped.contains(pass.name));
    for pass in PASSES.iter().filter(wanted) {
        (pass.run)(graph, machine);
        debug_assert_eq!(
            crate::graph::check::check(graph),
            Ok(()),
            "after {}",
            pass.name
        );
        observe(pass.name, graph);
    }
}
