//! The text of a graph: a node a line, as `--dump-ir` writes it.

use crate::graph::{Conv, Function, Graph, Layer, Op, Pool};
use scnn_isa::layer::{OperandKind, OperandShape, PoolKind};
use scnn_isa::plane::Axis;
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name)?;
        for id in self.order() {
            let node = &self.dag[id];
            let operands: Vec<String> = self
                .operands(id)
                .iter()
                .map(|o| format!("%{}", o.index()))
                .collect();
            write!(
                f,
                "%{} {:?} {:?} = {}({})",
                id.index(),
                node.tensor,
                node.dims,
                word(&node.op),
                operands.join(", ")
            )?;
            if let Op::Layer(layer) = &node.op {
                write!(f, "{layer}")?;
            }
            if let Some(placement) = node.permuted() {
                write!(f, " at {placement}")?;
            }
            if let Some(grid) = node.grid {
                let [low, high] = grid.range;
                write!(f, " on {low}..{high} x {:e}", grid.scale)?;
            }
            if !node.onnx_nodes.is_empty() {
                write!(f, "  <- {}", node.onnx_nodes.join(", "))?;
            }
            writeln!(f)?;
        }
        for (name, id) in &self.outputs {
            writeln!(f, "output {name:?} = %{}", id.index())?;
        }
        Ok(())
    }
}

fn word(op: &Op) -> String {
    match op {
        Op::Input => "input".to_owned(),
        Op::Layer(_) => "layer".to_owned(),
        Op::Concat => "concat".to_owned(),
        Op::Slice(range) => format!("channels {range} of "),
        Op::Rename(None) => "rename".to_owned(),
        Op::Rename(Some(transposition)) => format!("axes {:?} of ", transposition.order),
        Op::Map(map) => format!("map {}", map.expression),
        Op::Host(host) => {
            let names: Vec<&str> = host.nodes.iter().map(|n| n.op_type.as_str()).collect();
            format!("host {}", names.join("+"))
        }
        Op::HostOutput(index) => format!("result {index} of "),
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(conv) = &self.conv {
            write!(f, " {conv}")?;
        }
        if let Some(affine) = &self.affine {
            f.write_str(if affine.scale.iter().all(|&s| s == 1.0) {
                " + bias"
            } else {
                " + affine"
            })?;
        }
        if let Some(operand) = &self.operand {
            f.write_str(match (operand.kind, operand.shape) {
                (OperandKind::Add, OperandShape::Same) => " + operand",
                (OperandKind::Add, OperandShape::PerChannel) => " + operand per channel",
                (OperandKind::Multiply, OperandShape::Same) => " * operand",
                (OperandKind::Multiply, OperandShape::PerChannel) => " * operand per channel",
            })?;
        }
        match &self.function {
            None => {}
            Some(Function::Leaky(_)) => f.write_str(" + leaky")?,
            Some(Function::Curve(curve)) => write!(f, " + {}", curve.expression)?,
        }
        if let Some((low, high)) = self.clamp {
            write!(f, " + clamp {low}..{high}")?;
        }
        if let Some(pool) = &self.pool {
            write!(f, " + {pool}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zeros = self.weights.iter().filter(|w| **w == 0.0).count();
        let density = 1.0 - zeros as f64 / self.weights.len().max(1) as f64;
        write!(
            f,
            "conv {}x{}x{}x{}",
            self.k,
            self.c / self.groups,
            self.y.kernel,
            self.x.kernel
        )?;
        if self.groups > 1 {
            write!(f, " groups {}", self.groups)?;
        }
        axes(f, &self.y, &self.x)?;
        write!(f, " density {density:.2}")
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PoolKind::Max => "max",
            PoolKind::Average => "average",
            PoolKind::AverageWithPadding => "average with padding",
        };
        write!(f, "{kind} {}x{}", self.y.kernel, self.x.kernel)?;
        axes(f, &self.y, &self.x)
    }
}

/// What differs from a unit-stride, unpadded window.
fn axes(f: &mut fmt::Formatter<'_>, y: &Axis, x: &Axis) -> fmt::Result {
    if (y.stride, x.stride) != (1, 1) {
        write!(f, " stride {}x{}", y.stride, x.stride)?;
    }
    if (y.upsample, x.upsample) != (1, 1) {
        write!(f, " upsample {}x{}", y.upsample, x.upsample)?;
    }
    if (y.dilation, x.dilation) != (1, 1) {
        write!(f, " dilation {}x{}", y.dilation, x.dilation)?;
    }
    if [y.pad, x.pad] != [[0, 0]; 2] {
        write!(
            f,
            " pad {},{},{},{}",
            y.pad[0], x.pad[0], y.pad[1], x.pad[1]
        )?;
    }
    Ok(())
}
