//! Small graphs for the tests of quantisation, with ranges of their tensors.

use super::{IntLayer, Options, QuantiseError, Quantised, Tensor, quantise};
use crate::calibrate::{Calibration, Range};
use crate::graph::{Graph, Layer, Node, NodeId, Op, placement};
use scnn_isa::machine::Machine;
use scnn_isa::program::Dtype;

/// A graph of 2 x 2 planes, with the ranges and densities of its tensors.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) graph: Graph,
    pub(crate) calibration: Calibration,
}

impl Observed {
    /// Adds a tensor of values up to `max`, of which the share `density` is not zero.
    pub(crate) fn add(
        &mut self,
        (name, channels): (&str, u64),
        (max, density): (f32, f64),
        op: Op,
        operands: &[NodeId],
    ) -> NodeId {
        let (min, is_input) = (0.0, matches!(op, Op::Input));
        let range = Range { min, max, density };
        self.calibration.ranges.insert(name.to_owned(), range);
        let node = Node {
            tensor: name.to_owned(),
            observed_as: None,
            onnx_nodes: vec![format!("/{name}")],
            dtype: Dtype::F32,
            dims: vec![1, channels, 2, 2],
            placement: placement::positional(&[1, channels, 2, 2]),
            grid: None,
            op,
        };
        let id = self.graph.add(node, operands);
        if is_input {
            self.graph.inputs.push(id);
        }
        id
    }

    /// Makes a tensor an output.
    pub(crate) fn output(&mut self, name: &str, node: NodeId) {
        self.graph.outputs.push((name.to_owned(), node));
    }

    pub(crate) fn network(&self) -> Result<Quantised, QuantiseError> {
        let machine = Machine::preset("scnn").unwrap();
        quantise(
            &self.graph,
            &self.calibration,
            &machine,
            &Options::default(),
            &(),
        )
    }

    /// The tensor of the integer network that holds `name`.
    pub(crate) fn tensor(&mut self, name: &str, output: NodeId) -> Result<Tensor, QuantiseError> {
        self.output(name, output);
        let mut tensors = self.network()?.tensors.into_iter();
        Ok(tensors.find(|tensor| tensor.name == name).unwrap())
    }
}

/// The layers of a network.
pub(crate) fn layers(network: &Quantised) -> Vec<&IntLayer> {
    network.layers().collect()
}

pub(crate) fn rectifier() -> Op {
    layer(|layer| layer.clamp = Some((0.0, f32::INFINITY)))
}

pub(crate) fn layer(make: impl Fn(&mut Layer)) -> Op {
    let mut layer = Layer::default();
    make(&mut layer);
    Op::Layer(Box::new(layer))
}

/// The real value of one unit of a tensor of values up to `max`.
pub(crate) fn unit(max: f64) -> f64 {
    max * 1.5 / 32767.0
}

pub(crate) fn factor((multiplier, shift): (i32, u8)) -> f64 {
    f64::from(multiplier) / 2f64.powi(shift.into())
}

pub(crate) fn assert_near(found: f64, wanted: f64) {
    assert!((found / wanted - 1.0).abs() < 1e-4, "{found}, not {wanted}");
}
