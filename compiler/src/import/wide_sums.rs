//! Sums of integers that the host reads exactly, though a result of the machine has 16 bits.
//!
//! A product of integers (`ConvInteger`, `MatMulInteger`) gives sums of up to 24 bits, which a model that quantises its
//! activations as it runs multiplies by the scale of the run and rounds to 8 bits again. What 16 bits lose of them moves
//! values over the middle of two such integers, more in every layer. So the array computes the product twice:
//!
//! ```text
//! high = sum / unit, rounded                      unit = 2^n, so that it has 16 bits
//! low  = high * unit - sum                        what is left, at most half a unit
//! sum  = high * unit - low                        on the host
//! ```
//!
//! Sums that fit 16 bits are one layer, and those that do not fit the accumulators stay what they are.

use super::{Importer, NodeId, node_name};
use crate::graph::reason::OnHost;
use crate::graph::{FixedScale, HostOp, Layer, Op, Operand};
use scnn_isa::layer::{OperandKind, OperandShape};
use scnn_isa::program::Dtype;
use tract_onnx::pb::NodeProto;

/// Sums below this are added exactly, in the accumulators and in single precision.
const EXACT: f64 = (1 << 23) as f64;

impl Importer<'_> {
    /// The node of the exact sums of the layer `id`, which is `node`'s, if it is a product of integers whose zero points
    /// are subtracted and of which nothing is known but that.
    pub(super) fn with_exact_sums(&mut self, node: &NodeProto, id: NodeId) -> NodeId {
        let Some(bound) = self.sum_of_integers(id) else {
            return id;
        };
        if bound >= EXACT {
            return id;
        }
        let largest = f64::from(i16::MAX);
        let bits = (bound / largest).log2().ceil().max(0.0) as i32;
        let unit = 2f32.powi(bits);
        let reach = (bound / f64::from(unit)).ceil().min(largest) as i16;
        self.graph.dag[id].grid = Some(FixedScale {
            scale: unit,
            range: [-reach, reach],
        });
        if bits == 0 {
            return id;
        }
        let result = &node.output[0];
        let [high, low] = ["high", "low"].map(|part| self.part_name(result, part));
        self.graph.dag[id].tensor.clone_from(&high);
        let rest = self.rest_of_sums(node, id, low.clone(), (unit / 2.0) as i16);
        self.joined_on_host(node, [id, rest], &[high, low])
    }

    /// A bound of the sums of a layer that multiplies integers of scale 1 which come from the host.
    fn sum_of_integers(&self, id: NodeId) -> Option<f64> {
        let Op::Layer(layer) = &self.graph.dag[id].op else {
            return None;
        };
        let conv = layer.conv.as_ref()?;
        let source = *self.graph.operands(id).first()?;
        let grid = self.graph.dag[source]
            .grid
            .filter(|grid| grid.scale == 1.0)?;
        let ones = |units: &[f32]| units.iter().all(|&unit| unit == 1.0);
        let alone = layer.affine.is_none() && self.is_from_outside(source);
        if !alone || !conv.weights.units().is_some_and(ones) {
            return None;
        }
        let rows = conv.weights.chunks(conv.weights_per_output().max(1));
        let sums = rows.map(|row| row.iter().map(|&w| f64::from(w).abs()).sum::<f64>());
        let reach = grid.range.map(i16::unsigned_abs).into_iter().max()?;
        Some(sums.fold(0.0, f64::max) * f64::from(reach))
    }

    /// The layer of what the high parts leave.
    fn rest_of_sums(&mut self, node: &NodeProto, high: NodeId, name: String, reach: i16) -> NodeId {
        let source = self.graph.operands(high)[0];
        let Op::Layer(layer) = &self.graph.dag[high].op else {
            return high;
        };
        let mut conv = layer.conv.clone();
        if let Some(conv) = &mut conv {
            let (per_output, outputs) = (conv.weights_per_output(), conv.k as usize);
            conv.weights.scale_outputs(per_output, &vec![-1.0; outputs]);
        }
        let rest = Layer {
            conv,
            operand: Some(Operand {
                kind: OperandKind::Add,
                shape: OperandShape::Same,
                value: String::new(),
            }),
            ..Layer::default()
        };
        let rest = Op::Layer(Box::new(rest));
        let rest = self.add(
            &node.output[0],
            &[source, high],
            rest,
            vec![node_name(node)],
        );
        let data = &mut self.graph.dag[rest];
        data.tensor = name;
        data.grid = Some(FixedScale {
            scale: 1.0,
            range: [-reach, reach],
        });
        rest
    }

    fn joined_on_host(
        &mut self,
        node: &NodeProto,
        parts: [NodeId; 2],
        names: &[String; 2],
    ) -> NodeId {
        let result = &node.output[0];
        let difference = NodeProto {
            input: names.to_vec(),
            output: vec![result.clone()],
            name: format!("{result}:Sub"),
            op_type: "Sub".to_owned(),
            ..NodeProto::default()
        };
        let dims = self.graph.dag[parts[0]].dims.clone();
        let host = HostOp {
            nodes: vec![difference],
            inputs: names.to_vec(),
            outputs: vec![(result.clone(), Dtype::F32, dims)],
            reasons: vec![OnHost {
                node: node_name(node),
                operator: node.op_type.clone(),
                reason:
                    "its sums have more than 16 bits, the host puts them together of two results"
                        .into(),
            }],
            ..HostOp::default()
        };
        let host = Op::Host(Box::new(host));
        let host = self.add(result, &parts, host, vec![node_name(node)]);
        self.add(result, &[host], Op::HostOutput(0), Vec::new())
    }
}
