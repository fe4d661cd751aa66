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
    /// Extents of the result for one image: `[C, H, W]` of a plane, `[C, W]` of a line, `[T, C]` of tokens, `[C]`.
    pub shape: Vec<usize>,
}

/// Operators of the zoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Input,
    Conv(Conv),
    /// Transposed convolution whose windows touch: kernel and stride are the factor.
    ConvTranspose {
        outputs: usize,
        factor: usize,
    },
    /// Fully connected, on the flattened operand.
    Gemm {
        outputs: usize,
    },
    /// Matrix product over the last axis, with a bias.
    Linear {
        outputs: usize,
    },
    BatchNorm,
    /// Over the last axis.
    LayerNorm,
    /// Factors of the last axis.
    LayerScale,
    Relu,
    Relu6,
    HardSigmoid,
    HardSwish,
    Sigmoid,
    /// x times its sigmoid, in two operators.
    Silu,
    /// By the error function, in five operators.
    Gelu,
    MaxPool(Window),
    AveragePool(Window),
    GlobalAveragePool,
    /// Local response normalisation over five channels.
    Lrn,
    /// Of channels.
    Concat,
    /// Channels `from..to`.
    Slice {
        from: usize,
        to: usize,
    },
    Add,
    /// A gate of each channel, or two operands of one shape.
    Mul,
    /// Nearest neighbour, each value twice as wide and high.
    Upsample,
    /// `[C, H, W]` to `[H, W, C]`.
    ChannelsLast,
    /// `[H, W, C]` to `[C, H, W]`.
    ChannelsFirst,
    Flatten,
    /// `[C, H, W]` to `[1 + H W, C]`: tokens, with one for the class in front, and constants for each position.
    Embed,
    /// `[T, 3 C]`, queries, keys and values, to `[T, C]`.
    Attention {
        heads: usize,
    },
    /// The token of the class.
    ClassToken,
    /// Maps `[C, H, W]` of several scales to one list `[C, A]`.
    Anchors,
    /// Distributions `[4 x BINS, A]` over distances, of the maps of an image of this extent, to boxes `[4, A]`.
    Boxes {
        image: usize,
    },
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

impl Op {
    /// Extents of the result.
    fn shape(self, operands: &[&[usize]]) -> Vec<usize> {
        let (from, channels) = (operands[0], operands[0][0]);
        let plane = |channels: usize, extent: &dyn Fn(usize) -> usize| {
            let extents = from[1..].iter().map(|&old| extent(old));
            std::iter::once(channels).chain(extents).collect::<Vec<_>>()
        };
        let last = |outputs: usize| [&from[..from.len() - 1], &[outputs]].concat();
        match self {
            Self::Conv(conv) => plane(conv.outputs, &|extent| {
                (extent + 2 * conv.pad - conv.kernel) / conv.stride + 1
            }),
            Self::ConvTranspose { outputs, factor } => plane(outputs, &|extent| extent * factor),
            Self::Upsample => plane(channels, &|extent| 2 * extent),
            Self::MaxPool(window) | Self::AveragePool(window) => {
                plane(channels, &|extent| window.output(extent))
            }
            Self::GlobalAveragePool => plane(channels, &|_| 1),
            Self::Slice { from, to } => plane(to - from, &|extent| extent),
            Self::Concat => plane(operands.iter().map(|o| o[0]).sum(), &|extent| extent),
            Self::Gemm { outputs } => vec![outputs],
            Self::Linear { outputs } => last(outputs),
            Self::Attention { .. } => last(from[1] / 3),
            Self::ChannelsLast => vec![from[1], from[2], channels],
            Self::ChannelsFirst => vec![from[2], channels, from[1]],
            Self::Flatten => vec![from.iter().product()],
            Self::Embed => vec![1 + from[1] * from[2], channels],
            Self::ClassToken => vec![from[1]],
            Self::Anchors => {
                let places = operands.iter().map(|o| o[1..].iter().product::<usize>());
                vec![channels, places.sum()]
            }
            Self::Boxes { .. } => vec![4, from[1]],
            Self::Input
            | Self::BatchNorm
            | Self::LayerNorm
            | Self::LayerScale
            | Self::Relu
            | Self::Relu6
            | Self::HardSigmoid
            | Self::HardSwish
            | Self::Sigmoid
            | Self::Silu
            | Self::Gelu
            | Self::Lrn
            | Self::Add
            | Self::Mul
            | Self::Shuffle { .. }
            | Self::Softmax => from.to_vec(),
        }
    }
}

impl Plan {
    /// A network that reads `[C, H, W]` or `[C, W]`.
    pub fn new(name: &'static str, shape: &[usize]) -> Self {
        let input = Node {
            name: "data".to_owned(),
            op: Op::Input,
            operands: Vec::new(),
            shape: shape.to_vec(),
        };
        Self {
            name,
            nodes: vec![input],
        }
    }

    /// Adds an operator.
    pub fn add(&mut self, name: &str, op: Op, operands: &[Id]) -> Id {
        let operands_of: Vec<&[usize]> = operands
            .iter()
            .map(|&operand| self.nodes[operand].shape.as_slice())
            .collect();
        let shape = op.shape(&operands_of);
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

    /// Convolution with a bias and x times its sigmoid.
    pub fn conv_silu(&mut self, name: &str, conv: Conv, from: Id) -> Id {
        let conv = self.add(name, Op::Conv(conv), &[from]);
        self.add(&format!("{name}/silu"), Op::Silu, &[conv])
    }

    /// Squeeze and excitation: a factor of each channel from the means of all.
    pub fn gate(&mut self, name: &str, width: usize, [inner, outer]: [Op; 2], from: Id) -> Id {
        let part = |part: &str| format!("{name}/{part}");
        let channels = self.nodes[from].shape[0];
        let mean = self.add(&part("mean"), Op::GlobalAveragePool, &[from]);
        let x = self.add(
            &part("reduce"),
            Op::Conv(Conv::new(width, 1, 1, 0)),
            &[mean],
        );
        let x = self.add(&part("inner"), inner, &[x]);
        let x = self.add(
            &part("expand"),
            Op::Conv(Conv::new(channels, 1, 1, 0)),
            &[x],
        );
        let gate = self.add(&part("gate"), outer, &[x]);
        self.add(name, Op::Mul, &[from, gate])
    }

    /// Weights of a node.
    pub fn weights(&self, id: Id) -> usize {
        let node = &self.nodes[id];
        let operand = || self.nodes[node.operands[0]].shape.as_slice();
        match node.op {
            Op::Conv(conv) => {
                let window = conv.kernel.pow(operand().len() as u32 - 1);
                conv.outputs * (operand()[0] / conv.groups) * window
            }
            Op::ConvTranspose { outputs, factor } => outputs * operand()[0] * factor * factor,
            Op::Gemm { outputs } => outputs * operand().iter().product::<usize>(),
            Op::Linear { outputs } => outputs * operand().last().copied().unwrap_or(1),
            _ => 0,
        }
    }

    /// How often each weight of a node is multiplied for an image.
    fn uses(&self, id: Id) -> usize {
        let node = &self.nodes[id];
        match node.op {
            // Each input is multiplied by all of the window.
            Op::ConvTranspose { .. } => self.nodes[node.operands[0]].shape[1..].iter().product(),
            Op::Linear { outputs } => node.shape.iter().product::<usize>() / outputs,
            _ => node.shape[1..].iter().product(),
        }
    }

    /// The network's size.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for id in 0..self.nodes.len() {
            let weights = self.weights(id) as u64;
            size.layers += usize::from(weights > 0);
            size.weights += weights;
            size.multiplies += weights * self.uses(id) as u64;
        }
        size
    }
}
