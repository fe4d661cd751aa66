//! Files of other tools of this field, read and written: energies, areas, counts and shapes of layers.
//!
//! | format | out | in |
//! | --- | --- | --- |
//! | [`accelergy`] | a machine's energies and areas (ERT, ART), a run's action counts | ERT and ART as a machine file |
//! | [`timeloop`] | a problem for each layer, with measured densities | layer shapes |
//! | [`scale_sim`] | a topology: a line a layer | topologies |
//! | [`line`](fn@line) | one flat record of a run, for experiment trackers | |
//!
//! Readers give a [`Table`] of layers without weights; the models' crate makes networks of it.

pub mod accelergy;
mod line;
mod row;
pub mod scale_sim;
pub mod timeloop;

pub use line::line;
pub use row::{BadTable, Row, Table};

use scnn_simulator::report::{Layer, Shape};

/// The extents of a layer if it is one that these formats can have; a report from a file may hold extents of zero.
fn shape_of(layer: &Layer) -> Option<&Shape> {
    let shape = layer.shape.as_ref()?;
    let extents = [shape.r, shape.s, shape.groups, shape.out_h, shape.out_w];
    (!extents.contains(&0)).then_some(shape)
}

/// A text as a YAML scalar: JSON's form is YAML's, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
