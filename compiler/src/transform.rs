//! The passes between import and quantisation. Each changes how a graph is expressed and none what it computes.

pub mod absorb_flatten;
pub mod absorb_pad;
pub mod fold_affine;
pub mod fuse_layers;
pub mod lower_renames;
pub mod partition_host;
pub mod skip_renames;

use crate::graph::{Graph, drop_dead};

/// A pass: its name, what it does, and the function, which returns how much it changed.
pub struct Pass {
    /// Name, as in `--dump-ir`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(&mut Graph) -> usize,
}

/// The passes in their order.
#[rustfmt::skip] // One pass a line.
pub const PASSES: &[Pass] = &[
    Pass { name: "skip-renames", about: "use what a rename renames", run: skip_renames::run },
    Pass { name: "absorb-flatten", about: "linear layers of a flattened plane become convolutions of the plane", run: absorb_flatten::run },
    Pass { name: "absorb-pad", about: "zeros around a plane become the padding of convolutions", run: absorb_pad::run },
    Pass { name: "fuse-layers", about: "join layers with their only consumer", run: fuse_layers::run },
    Pass { name: "fold-affine", about: "multiply factors into weights", run: fold_affine::run },
    Pass { name: "drop-dead", about: "remove what no output needs", run: drop_dead::run },
    Pass { name: "lower-renames", about: "renames that move values run on the host", run: lower_renames::run },
    Pass { name: "partition-host", about: "join host nodes into maximal segments", run: partition_host::run },
    Pass { name: "drop-dead-again", about: "remove results that no one reads any more", run: drop_dead::run },
];

/// Runs all passes; `observe` is shown the graph after each.
pub fn run_all(graph: &mut Graph, observe: &mut dyn FnMut(&str, &Graph)) {
    for pass in PASSES {
        (pass.run)(graph);
        debug_assert_eq!(
            crate::graph::check::check(graph),
            Ok(()),
            "after {}",
            pass.name
        );
        observe(pass.name, graph);
    }
}
