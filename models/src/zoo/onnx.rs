//! Plan nodes as ONNX nodes, and their evaluation by tract.

use super::composites::{self, Nodes};
use super::plan::{Id, Node, Op, Plan, Window};
use prost::Message;
use std::io::{self, Seek, SeekFrom, Write};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use tract_onnx::prelude::{
    Framework, InferenceModelExt, IntoRunnable, IntoTValue, IntoTensor, Tensor, TractResult,
};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
pub const EPSILON: f32 = 1e-5;

pub fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind as i32,
        ..AttributeProto::default()
    }
}

pub fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        i: value as i64,
        ..attribute(name, AttributeType::Int)
    }
}

pub fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|&v| v as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: value,
        ..attribute(name, AttributeType::Float)
    }
}

pub fn node(
    name: &str,
    operator: &str,
    inputs: &[String],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        name: name.to_owned(),
        op_type: operator.to_owned(),
        input: inputs.to_vec(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

/// A convolution without padding: kernel, strides and dilations, each along rows and columns.
pub fn convolution(
    name: &str,
    inputs: &[String; 2],
    output: &str,
    [kernel, strides, dilations]: [&[usize; 2]; 3],
    groups: usize,
) -> NodeProto {
    let attributes = vec![
        ints("kernel_shape", kernel),
        ints("strides", strides),
        ints("dilations", dilations),
        int("group", groups),
    ];
    node(name, "Conv", inputs, output, attributes)
}

/// A tensor of floats.
pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: FLOAT,
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

pub fn integers(name: &str, values: &[usize]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        int64_data: values.iter().map(|&v| v as i64).collect(),
        ..TensorProto::default()
    }
}

/// A tensor of floats that a graph takes or gives.
pub fn value_info(name: &str, dims: &[usize]) -> ValueInfoProto {
    let dim = |&extent: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(
            extent as i64,
        )),
        ..tensor_shape_proto::Dimension::default()
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: FLOAT,
                shape: Some(TensorShapeProto {
                    dim: dims.iter().map(dim).collect(),
                }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// The same with any number of images, N.
fn batched(name: &str, dims: &[usize]) -> ValueInfoProto {
    let mut info = value_info(name, dims);
    if let Some(TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..
    }) = &mut info.r#type
        && let Some(batch) = tensor.shape.as_mut().and_then(|s| s.dim.first_mut())
    {
        let name = "N".to_owned();
        batch.value = Some(tensor_shape_proto::dimension::Value::DimParam(name));
    }
    info
}

/// The ONNX nodes of a plan node, and the constants among their inputs that are not weights.
pub fn nodes(plan: &Plan, id: Id) -> Nodes {
    let Node {
        name,
        op,
        operands,
        shape,
    } = &plan.nodes[id];
    let inputs: Vec<String> = operands
        .iter()
        .map(|&operand| plan.nodes[operand].name.clone())
        .collect();
    let shapes: Vec<&[usize]> = operands
        .iter()
        .map(|&operand| plan.nodes[operand].shape.as_slice())
        .collect();
    let with = |parameters: &[&str]| -> Vec<String> {
        let parameters = parameters.iter().map(|p| format!("{name}.{p}"));
        inputs.iter().cloned().chain(parameters).collect()
    };
    let one = |operator: &str, inputs: &[String], attributes| {
        (
            vec![node(name, operator, inputs, name, attributes)],
            Vec::new(),
        )
    };
    let plain = |operator: &str| one(operator, &inputs, Vec::new());
    match *op {
        Op::Input => Nodes::default(),
        Op::Conv(conv) => {
            let parameters: &[&str] = if conv.bias {
                &["weight", "bias"]
            } else {
                &["weight"]
            };
            let mut attributes = window_of(conv.kernel, conv.stride, conv.pad, shape.len() - 1);
            attributes.push(int("group", conv.groups));
            one("Conv", &with(parameters), attributes)
        }
        Op::ConvTranspose { factor, .. } => {
            let window = ["kernel_shape", "strides"].map(|name| ints(name, &[factor; 2]));
            one("ConvTranspose", &with(&["weight", "bias"]), window.to_vec())
        }
        Op::Gemm { .. } => gemm(name, &inputs),
        Op::Linear { .. } => composites::linear(name, &inputs[0]),
        Op::BatchNorm => {
            let inputs = with(&["scale", "bias", "mean", "var"]);
            one(
                "BatchNormalization",
                &inputs,
                vec![float("epsilon", EPSILON)],
            )
        }
        Op::LayerNorm => {
            let inputs = with(&["scale", "bias"]);
            let norm = composites::layer_norm(name, &inputs, EPSILON);
            (vec![norm], Vec::new())
        }
        Op::LayerScale => one("Mul", &with(&["scale"]), Vec::new()),
        Op::Relu => plain("Relu"),
        Op::Relu6 => relu6(name, &with(&["min", "max"])),
        Op::HardSigmoid => {
            let slope = [float("alpha", 1.0 / 6.0), float("beta", 0.5)];
            one("HardSigmoid", &inputs, slope.to_vec())
        }
        Op::HardSwish => plain("HardSwish"),
        Op::Sigmoid => plain("Sigmoid"),
        Op::Silu => composites::silu(name, &inputs[0]),
        Op::Gelu => composites::gelu(name, &inputs[0]),
        Op::MaxPool(w) => one("MaxPool", &inputs, window(w, shape.len() - 1)),
        Op::AveragePool(w) => one("AveragePool", &inputs, window(w, shape.len() - 1)),
        Op::GlobalAveragePool => plain("GlobalAveragePool"),
        Op::Lrn => one(
            "LRN",
            &inputs,
            vec![
                int("size", 5),
                float("alpha", 1e-4),
                float("beta", 0.75),
                float("bias", 1.0),
            ],
        ),
        Op::Concat => one("Concat", &inputs, vec![int("axis", 1)]),
        Op::Slice { from, to } => composites::slice(name, &inputs[0], [from, to]),
        Op::Add => plain("Add"),
        Op::Mul => plain("Mul"),
        Op::Upsample => composites::upsample(name, &inputs[0]),
        Op::ChannelsLast => one("Transpose", &inputs, vec![ints("perm", &[0, 2, 3, 1])]),
        Op::ChannelsFirst => one("Transpose", &inputs, vec![ints("perm", &[0, 3, 1, 2])]),
        Op::Flatten => one("Flatten", &inputs, vec![int("axis", 1)]),
        Op::Embed => composites::embed(name, &inputs[0], [shape[1], shape[0] - 1]),
        Op::Attention { heads } => {
            composites::attention(name, &inputs[0], heads, [shape[0], shape[1]])
        }
        Op::ClassToken => composites::class_token(name, &inputs[0]),
        Op::Anchors => composites::anchors(name, &inputs, &shapes),
        Op::Boxes { image } => composites::boxes(name, &inputs[0], image),
        Op::Shuffle { groups } => composites::shuffle(name, &inputs[0], groups, shape),
        Op::Softmax => one("Softmax", &inputs, vec![int("axis", 1)]),
    }
}

fn window_of(kernel: usize, stride: usize, pad: usize, rank: usize) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &vec![kernel; rank]),
        ints("strides", &vec![stride; rank]),
        ints("pads", &vec![pad; 2 * rank]),
    ]
}

fn window(window: Window, rank: usize) -> Vec<AttributeProto> {
    let mut attributes = window_of(window.kernel, window.stride, window.pad, rank);
    if window.ceil {
        attributes.push(int("ceil_mode", 1));
    }
    attributes
}

fn gemm(name: &str, inputs: &[String]) -> Nodes {
    let flat = format!("{name}/flatten");
    let weights = [
        flat.clone(),
        format!("{name}.weight"),
        format!("{name}.bias"),
    ];
    let nodes = vec![
        node(&flat, "Flatten", inputs, &flat, vec![int("axis", 1)]),
        node(name, "Gemm", &weights, name, vec![int("transB", 1)]),
    ];
    (nodes, Vec::new())
}

fn relu6(name: &str, inputs: &[String]) -> Nodes {
    let constants = vec![
        floats(&inputs[1], &[], &[0.0]),
        floats(&inputs[2], &[], &[6.0]),
    ];
    (
        vec![node(name, "Clip", inputs, name, Vec::new())],
        constants,
    )
}

/// The oldest operator set that has all operators of a plan, 13 at least.
fn operator_set(plan: &Plan) -> i64 {
    let needs = plan.nodes.iter().map(|node| match node.op {
        Op::LayerNorm => 17,
        Op::HardSwish => 14,
        _ => 13,
    });
    needs.max().unwrap_or(13)
}

fn model(operator_set: i64, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 8,
        producer_name: "scnnc zoo".to_owned(),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: operator_set,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// The extents of a node's result, with those of one image.
fn dims(plan: &Plan, id: Id) -> Vec<usize> {
    [&[1], plan.nodes[id].shape.as_slice()].concat()
}

/// What a model is written to: its length is filled in at the end.
pub trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

/// Writes a model weight by weight, so that each leaves memory as soon as it is known.
///
/// The graph is one field, as Netron and other readers do not merge the parts of one that is cut: its length has a fixed
/// number of bytes, which [`Self::finish`] fills in.
pub struct Writer<'a> {
    out: &'a mut dyn Sink,
    /// Where the length of the graph stands.
    length_at: u64,
    /// Bytes of the graph.
    length: u64,
}

/// Field 7 of a model, with a length in front.
const GRAPH_TAG: u8 = 7 << 3 | 2;

/// Bytes of the length of the graph, which hold up to 32 GB.
const LENGTH_BYTES: u32 = 5;

impl<'a> Writer<'a> {
    /// Writes everything but the weights.
    pub fn new(out: &'a mut dyn Sink, plan: &Plan) -> io::Result<Self> {
        let mut graph = GraphProto {
            name: plan.name.to_owned(),
            input: vec![batched(&plan.nodes[0].name, &dims(plan, 0))],
            ..GraphProto::default()
        };
        let last = plan.nodes.len() - 1;
        graph.output = vec![batched(&plan.nodes[last].name, &dims(plan, last))];
        for id in 0..plan.nodes.len() {
            let (nodes, constants) = nodes(plan, id);
            graph.node.extend(nodes);
            graph.initializer.extend(constants);
        }
        let head = ModelProto {
            graph: None,
            ..model(operator_set(plan), GraphProto::default())
        };
        out.write_all(&head.encode_to_vec())?;
        out.write_all(&[GRAPH_TAG])?;
        let length_at = out.stream_position()?;
        out.write_all(&padded_length(0))?;
        let mut this = Self {
            out,
            length_at,
            length: 0,
        };
        this.append(&graph)?;
        Ok(this)
    }

    /// Writes a weight.
    pub fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> io::Result<()> {
        self.append(&GraphProto {
            initializer: vec![floats(name, dims, values)],
            ..GraphProto::default()
        })
    }

    /// Fills in the length of the graph.
    pub fn finish(self) -> io::Result<()> {
        let end = self.out.stream_position()?;
        self.out.seek(SeekFrom::Start(self.length_at))?;
        self.out.write_all(&padded_length(self.length))?;
        self.out.seek(SeekFrom::Start(end))?;
        Ok(())
    }

    /// Writes more fields of the graph: lists are appended.
    fn append(&mut self, fields: &GraphProto) -> io::Result<()> {
        let bytes = fields.encode_to_vec();
        self.length += bytes.len() as u64;
        self.out.write_all(&bytes)
    }
}

/// A length of [`LENGTH_BYTES`] whatever its value: seven bits in each byte, the lowest first, all but the last marked.
fn padded_length(length: u64) -> Vec<u8> {
    let byte = |index: u32| (length >> (7 * index)) as u8 & 0x7f;
    let marked = (0..LENGTH_BYTES - 1).map(|index| byte(index) | 0x80);
    marked.chain([byte(LENGTH_BYTES - 1)]).collect()
}

/// Evaluates a plan node on its operands; `weights` are its initializers.
pub fn evaluate(
    plan: &Plan,
    id: Id,
    operands: &[&[f32]],
    weights: Vec<TensorProto>,
) -> TractResult<Vec<f32>> {
    let (nodes, constants) = nodes(plan, id);
    let ids = &plan.nodes[id].operands;
    let mut names: Vec<Id> = ids.clone();
    names.dedup();
    let graph = GraphProto {
        name: "node".to_owned(),
        node: nodes,
        initializer: constants.into_iter().chain(weights).collect(),
        input: names
            .iter()
            .map(|&operand| value_info(&plan.nodes[operand].name, &dims(plan, operand)))
            .collect(),
        output: vec![value_info(&plan.nodes[id].name, &dims(plan, id))],
        ..GraphProto::default()
    };
    let plan_of_node = tract_onnx::onnx()
        .model_for_proto_model(&model(operator_set(plan), graph))?
        .into_optimized()?
        .into_runnable()?;
    let inputs = names
        .iter()
        .map(|name| {
            let index = ids.iter().position(|id| id == name).unwrap_or(0);
            Ok(Tensor::from_shape(&dims(plan, *name), operands[index])?.into_tvalue())
        })
        .collect::<TractResult<_>>()?;
    let mut results = plan_of_node.run(inputs)?;
    let result = results.remove(0).into_tensor();
    Ok(result
        .to_plain_array_view::<f32>()?
        .iter()
        .copied()
        .collect())
}

/// Operator of a max pool applied to another tensor of the shape of its operand.
pub fn evaluate_pool(
    plan: &Plan,
    pool: Id,
    shape: &[usize],
    values: &[f32],
) -> TractResult<(Vec<f32>, Vec<usize>)> {
    let mut small = Plan::new("pool", shape);
    let id = small.add("pool", plan.nodes[pool].op, &[0]);
    Ok((
        evaluate(&small, id, &[values], Vec::new())?,
        small.nodes.swap_remove(id).shape,
    ))
}
