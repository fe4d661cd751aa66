//! The architecture of a network, without weights.

use super::Size;

/// A node's place in [`Plan::nodes`].
pub type Id = usize;

/// An architecture: nodes in an order in which each follows its operands.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: &'static str,
    /// The first is the input.
    pub nodes: Vec<Node>,
}

/// One operator.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub op: Op,
    pub operands: Vec<Id>,
    /// `[C, H, W]` of the result.
    pub shape: [usize; 3],
}

/// Operators of the zoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Input,
    Conv(Conv),
    /// Fully connected, on the flattened operand.
    Gemm {
        outputs: usize,
    },
    BatchNorm,
    Relu,
    Relu6,
    MaxPool(Window),
    AveragePool(Window),
    GlobalAveragePool,
    /// Local response normalisation over five channels.
    Lrn,
    Concat,
    Add,
    /// Channel shuffle: reshape to groups, transpose, reshape back.
    Shuffle {
        groups: usize,
    },
    Softmax,
}

/// A convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
    /// Whether it has a bias of its own; where a batch normalisation follows it has none.
    pub bias: bool,
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub ceil: bool,
}

impl Conv {
    /// A square convolution with a bias.
    pub const fn new(outputs: usize, kernel: usize, stride: usize, pad: usize) -> Self {
        Self {
            outputs,
            kernel,
            stride,
            pad,
            groups: 1,
            bias: true,
        }
    }

    /// In groups.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Without a bias.
    pub const fn no_bias(self) -> Self {
        Self {
            bias: false,
            ..self
        }
    }
}

impl Window {
    /// A window without padding, floor mode.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self {
            kernel,
            stride,
            pad: 0,
            ceil: false,
        }
    }

    /// With padding on all sides.
    pub const fn pad(self, pad: usize) -> Self {
        Self { pad, ..self }
    }

    /// With the output's extent rounded up.
    pub const fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    fn output(self, extent: usize) -> usize {
        let steps = extent + 2 * self.pad - self.kernel;
        if self.ceil {
            steps.div_ceil(self.stride) + 1
        } else {
            steps / self.stride + 1
        }
    }
}

impl Plan {
    /// A network that reads `[C, H, W]`.
    pub fn new(name: &'static str, shape: [usize; 3]) -> Self {
        let input = Node {
            name: "data".to_owned(),
            op: Op::Input,
            operands: Vec::new(),
            shape,
        };
        Self {
            name,
            nodes: vec![input],
        }
    }

    /// Adds an operator.
    pub fn add(&mut self, name: &str, op: Op, operands: &[Id]) -> Id {
        let [c, h, w] = self.nodes[operands[0]].shape;
        let pooled = |window: Window| [c, window.output(h), window.output(w)];
        let shape = match op {
            Op::Input | Op::BatchNorm | Op::Relu | Op::Relu6 | Op::Lrn | Op::Add | Op::Softmax => {
                [c, h, w]
            }
            Op::Shuffle { .. } => [c, h, w],
            Op::Conv(conv) => {
                let output =
                    |extent: usize| (extent + 2 * conv.pad - conv.kernel) / conv.stride + 1;
                [conv.outputs, output(h), output(w)]
            }
            Op::Gemm { outputs } => [outputs, 1, 1],
            Op::MaxPool(window) | Op::AveragePool(window) => pooled(window),
            Op::GlobalAveragePool => [c, 1, 1],
            Op::Concat => [operands.iter().map(|&o| self.nodes[o].shape[0]).sum(), h, w],
        };
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            operands: operands.to_vec(),
            shape,
        });
        self.nodes.len() - 1
    }

    /// Convolution and `ReLU`.
    pub fn conv_relu(&mut self, name: &str, conv: Conv, from: Id) -> Id {
        let conv = self.add(name, Op::Conv(conv), &[from]);
        self.add(&format!("{name}/relu"), Op::Relu, &[conv])
    }

    /// Convolution without bias, and batch normalisation.
    pub fn conv_bn(&mut self, name: &str, conv: Conv, from: Id) -> Id {
        let conv = self.add(name, Op::Conv(conv.no_bias()), &[from]);
        self.add(&format!("{name}/bn"), Op::BatchNorm, &[conv])
    }

    /// Convolution, batch normalisation, and `activation`.
    pub fn conv_bn_act(&mut self, name: &str, conv: Conv, activation: Op, from: Id) -> Id {
        let normalised = self.conv_bn(name, conv, from);
        self.add(&format!("{name}/relu"), activation, &[normalised])
    }

    /// Weights of a node.
    pub fn weights(&self, id: Id) -> usize {
        let node = &self.nodes[id];
        let operand = || self.nodes[node.operands[0]].shape;
        match node.op {
            Op::Conv(conv) => {
                conv.outputs * (operand()[0] / conv.groups) * conv.kernel * conv.kernel
            }
            Op::Gemm { outputs } => outputs * operand().iter().product::<usize>(),
            _ => 0,
        }
    }

    /// The network's size.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for id in 0..self.nodes.len() {
            let weights = self.weights(id) as u64;
            let [_, h, w] = self.nodes[id].shape;
            size.layers += usize::from(weights > 0);
            size.weights += weights;
            size.multiplies += weights * (h * w) as u64;
        }
        size
    }
}
