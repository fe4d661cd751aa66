//! Plan operators that are several ONNX nodes, as exporters write them.

use super::onnx::{attribute, float, floats, int, integers, ints, node};
use super::random::pruned_weights;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// Distances that the distribution of a box's side is over.
pub const BINS: usize = 16;
/// Pixels between the places of the three maps of a detector.
const STRIDES: [usize; 3] = [8, 16, 32];

/// ONNX nodes, and the constants among their inputs.
pub type Nodes = (Vec<NodeProto>, Vec<TensorProto>);

/// The nodes of one plan operator, named after it.
struct Parts<'a> {
    name: &'a str,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl<'a> Parts<'a> {
    const fn of(name: &'a str) -> Self {
        Self {
            name,
            nodes: Vec::new(),
            constants: Vec::new(),
        }
    }

    fn part(&self, part: &str) -> String {
        format!("{}/{part}", self.name)
    }

    fn constant(&mut self, part: &str, dims: &[usize], values: &[f32]) -> String {
        let name = self.part(part);
        self.constants.push(floats(&name, dims, values));
        name
    }

    fn indices(&mut self, part: &str, values: &[usize]) -> String {
        let name = self.part(part);
        self.constants.push(integers(&name, values));
        name
    }

    fn scalar(&mut self, part: &str, value: usize) -> String {
        let name = self.part(part);
        let scalar = TensorProto {
            dims: Vec::new(),
            ..integers(&name, &[value])
        };
        self.constants.push(scalar);
        name
    }

    /// What a slice of channels reads besides its operand.
    fn channels(&mut self, part: &str, [from, to]: [usize; 2]) -> [String; 3] {
        let limits = [("from", from), ("to", to), ("axis", 1)];
        limits.map(|(limit, value)| self.indices(&format!("{part}{limit}"), &[value]))
    }

    /// A node whose result is named after its part.
    fn add(
        &mut self,
        part: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.part(part);
        self.push(name, operator, inputs, attributes)
    }

    fn push(
        &mut self,
        name: String,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let inputs: Vec<String> = inputs.iter().map(|&input| input.to_owned()).collect();
        let made = node(&name, operator, &inputs, &name, attributes);
        self.nodes.push(made);
        name
    }

    /// A reshape; an extent of 0 is the operand's own, that of the images.
    fn reshape(&mut self, part: &str, input: &str, dims: &[usize]) -> String {
        let shape = self.indices(&format!("{part}_shape"), dims);
        self.add(part, "Reshape", &[input, &shape], Vec::new())
    }

    fn transpose(&mut self, part: &str, input: &str, order: &[usize]) -> String {
        self.add(part, "Transpose", &[input], vec![ints("perm", order)])
    }

    /// The last node, whose result has the name of the plan operator.
    fn end(mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Nodes {
        self.push(self.name.to_owned(), operator, inputs, attributes);
        (self.nodes, self.constants)
    }
}

/// A channel shuffle: to groups, the two axes exchanged, and back.
pub fn shuffle(name: &str, input: &str, groups: usize, shape: &[usize]) -> Nodes {
    let &[c, h, w] = shape else {
        return Nodes::default();
    };
    let mut parts = Parts::of(name);
    let split = parts.reshape("split", input, &[0, groups, c / groups, h, w]);
    let swapped = parts.transpose("swap", &split, &[0, 2, 1, 3, 4]);
    let join = parts.indices("join_shape", &[0, c, h, w]);
    parts.end("Reshape", &[&swapped, &join], Vec::new())
}

/// x times its sigmoid.
pub fn silu(name: &str, input: &str) -> Nodes {
    let mut parts = Parts::of(name);
    let sigmoid = parts.add("sigmoid", "Sigmoid", &[input], Vec::new());
    parts.end("Mul", &[input, &sigmoid], Vec::new())
}

/// x / 2 times one plus the error function of x / sqrt 2.
pub fn gelu(name: &str, input: &str) -> Nodes {
    let mut parts = Parts::of(name);
    let root = parts.constant("root", &[], &[std::f32::consts::SQRT_2]);
    let one = parts.constant("one", &[], &[1.0]);
    let half = parts.constant("half", &[], &[0.5]);
    let scaled = parts.add("div", "Div", &[input, &root], Vec::new());
    let error = parts.add("erf", "Erf", &[&scaled], Vec::new());
    let sum = parts.add("add", "Add", &[&error, &one], Vec::new());
    let product = parts.add("mul", "Mul", &[input, &sum], Vec::new());
    parts.end("Mul", &[&product, &half], Vec::new())
}

/// Patches in rows, a token for the class in front, and a constant added at each position.
pub fn embed(name: &str, input: &str, [c, places]: [usize; 2]) -> Nodes {
    let mut parts = Parts::of(name);
    let flat = parts.reshape("flat", input, &[0, c, places]);
    let rows = parts.transpose("rows", &flat, &[0, 2, 1]);
    let pads = parts.indices("pads", &[0, 1, 0, 0, 0, 0]);
    let padded = parts.add("class", "Pad", &[&rows, &pads], Vec::new());
    let values = pruned_weights((1 + places) * c, 1.0, c as u64);
    let positions = parts.constant("positions", &[1, 1 + places, c], &values);
    parts.end("Add", &[&padded, &positions], Vec::new())
}

/// Scaled dot products of queries and keys, their softmax, and the products with the values.
pub fn attention(name: &str, input: &str, heads: usize, [tokens, width]: [usize; 2]) -> Nodes {
    let depth = width / heads;
    let mut parts = Parts::of(name);
    let split = parts.reshape("split", input, &[0, tokens, 3, heads, depth]);
    let apart = parts.transpose("apart", &split, &[2, 0, 3, 1, 4]);
    let [queries, keys, values] =
        [("queries", 0), ("keys", 1), ("values", 2)].map(|(part, index)| {
            let index = parts.scalar(&format!("{part}_index"), index);
            parts.add(part, "Gather", &[&apart, &index], vec![int("axis", 0)])
        });
    let scale = parts.constant("scale", &[], &[(depth as f32).sqrt().recip()]);
    let scaled = parts.add("scaled", "Mul", &[&queries, &scale], Vec::new());
    let turned = parts.transpose("turned", &keys, &[0, 1, 3, 2]);
    let scores = parts.add("scores", "MatMul", &[&scaled, &turned], Vec::new());
    let shares = parts.add("shares", "Softmax", &[&scores], vec![int("axis", 3)]);
    let mixed = parts.add("mixed", "MatMul", &[&shares, &values], Vec::new());
    let back = parts.transpose("back", &mixed, &[0, 2, 1, 3]);
    let join = parts.indices("join_shape", &[0, tokens, width]);
    parts.end("Reshape", &[&back, &join], Vec::new())
}

/// The first token.
pub fn class_token(name: &str, input: &str) -> Nodes {
    let mut parts = Parts::of(name);
    let index = parts.scalar("index", 0);
    parts.end("Gather", &[input, &index], vec![int("axis", 1)])
}

/// Maps of several scales as one list.
pub fn anchors(name: &str, inputs: &[String], maps: &[&[usize]]) -> Nodes {
    let mut parts = Parts::of(name);
    let flat: Vec<String> = inputs
        .iter()
        .zip(maps)
        .enumerate()
        .map(|(scale, (input, map))| {
            let places = map[1..].iter().product();
            parts.reshape(&format!("map{scale}"), input, &[0, map[0], places])
        })
        .collect();
    let flat: Vec<&str> = flat.iter().map(String::as_str).collect();
    parts.end("Concat", &flat, vec![int("axis", 2)])
}

/// The expected distances of the four sides from each place, as centre and extent in pixels.
pub fn boxes(name: &str, input: &str, image: usize) -> Nodes {
    let [mut columns, mut rows, mut strides] = [const { Vec::new() }; 3];
    for stride in STRIDES {
        let side = image / stride;
        for place in 0..side * side {
            columns.push((place % side) as f32 + 0.5);
            rows.push((place / side) as f32 + 0.5);
            strides.push(stride as f32);
        }
    }
    let places = strides.len();
    let mut parts = Parts::of(name);
    let sides = parts.reshape("sides", input, &[0, 4, BINS, places]);
    let bins = parts.transpose("bins", &sides, &[0, 2, 1, 3]);
    let shares = parts.add("shares", "Softmax", &[&bins], vec![int("axis", 1)]);
    let distances: Vec<f32> = (0..BINS).map(|bin| bin as f32).collect();
    let distances = parts.constant("distances", &[1, BINS, 1, 1], &distances);
    let window = vec![ints("kernel_shape", &[1, 1])];
    let expected = parts.add("expected", "Conv", &[&shares, &distances], window);
    let sides = parts.reshape("distance", &expected, &[0, 4, places]);
    let [least, most] = [("least", [0, 2]), ("most", [2, 4])].map(|(part, range)| {
        let [from, to, axis] = parts.channels(&format!("{part}_"), range);
        parts.add(part, "Slice", &[&sides, &from, &to, &axis], Vec::new())
    });
    let centres = parts.constant("anchors", &[1, 2, places], &[columns, rows].concat());
    let from = parts.add("from", "Sub", &[&centres, &least], Vec::new());
    let to = parts.add("to", "Add", &[&centres, &most], Vec::new());
    let sum = parts.add("sum", "Add", &[&from, &to], Vec::new());
    let two = parts.constant("two", &[], &[2.0]);
    let centre = parts.add("centre", "Div", &[&sum, &two], Vec::new());
    let extent = parts.add("extent", "Sub", &[&to, &from], Vec::new());
    let joined = parts.add(
        "joined",
        "Concat",
        &[&centre, &extent],
        vec![int("axis", 1)],
    );
    let strides = parts.constant("strides", &[1, 1, places], &strides);
    parts.end("Mul", &[&joined, &strides], Vec::new())
}

/// Channels `from..to`.
pub fn slice(name: &str, input: &str, range: [usize; 2]) -> Nodes {
    let mut parts = Parts::of(name);
    let [from, to, axis] = parts.channels("", range);
    parts.end("Slice", &[input, &from, &to, &axis], Vec::new())
}

/// Each value twice as wide and high.
pub fn upsample(name: &str, input: &str) -> Nodes {
    let mut parts = Parts::of(name);
    let factors = parts.constant("factors", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let text = |name: &str, value: &str| AttributeProto {
        s: value.as_bytes().to_vec(),
        ..attribute(name, AttributeType::String)
    };
    let nearest = vec![
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    parts.end("Resize", &[input, "", &factors], nearest)
}

/// A matrix product over the last axis; the node of the product has the name of the operator.
pub fn linear(name: &str, input: &str) -> Nodes {
    let [weight, bias, product] = ["weight", "bias", "product"].map(|p| format!("{name}.{p}"));
    let inputs = [input.to_owned(), weight];
    let sum = format!("{name}/add");
    let nodes = vec![
        node(name, "MatMul", &inputs, &product, Vec::new()),
        node(&sum, "Add", &[product.clone(), bias], name, Vec::new()),
    ];
    (nodes, Vec::new())
}

/// Normalisation of the last axis.
pub fn layer_norm(name: &str, inputs: &[String], epsilon: f32) -> NodeProto {
    let axis = AttributeProto {
        i: -1,
        ..attribute("axis", AttributeType::Int)
    };
    let attributes = vec![axis, float("epsilon", epsilon)];
    node(name, "LayerNormalization", inputs, name, attributes)
}
