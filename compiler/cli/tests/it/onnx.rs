//! ONNX models, built in code for tests.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_shape_proto, type_proto,
};

/// A model under construction.
#[derive(Default)]
pub struct Model {
    pub graph: GraphProto,
}

impl Model {
    pub fn new(name: &str) -> Self {
        let graph = GraphProto {
            name: name.to_owned(),
            ..GraphProto::default()
        };
        Self { graph }
    }

    pub fn input(mut self, name: &str, dims: &[i64]) -> Self {
        self.graph.input.push(value_info(name, dims));
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        self.graph.output.push(value_info(name, &[]));
        if let Some(type_proto::Value::TensorType(tensor)) = self
            .graph
            .output
            .last_mut()
            .unwrap()
            .r#type
            .as_mut()
            .unwrap()
            .value
            .as_mut()
        {
            tensor.shape = None;
        }
        self
    }

    pub fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        assert_eq!(dims.iter().product::<i64>() as usize, values.len());
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: 1,
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
        self
    }

    /// A list of 64-bit integers.
    pub fn integers(mut self, name: &str, values: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: vec![values.len() as i64],
            data_type: 7,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
        self
    }

    /// Signed bytes.
    pub fn bytes_of(mut self, name: &str, dims: &[i64], values: &[i8]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: 3,
            raw_data: values.iter().map(|&v| v as u8).collect(),
            ..TensorProto::default()
        });
        self
    }

    /// A node called `/output/operator`.
    pub fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<AttributeProto>,
    ) -> Self {
        self.graph.node.push(NodeProto {
            name: format!("/{output}/{operator}"),
            op_type: operator.to_owned(),
            input: inputs.iter().map(|&s| s.to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attributes,
            ..NodeProto::default()
        });
        self
    }

    /// A node of several results, called after the first.
    pub fn node_of(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Self {
        self = self.node(operator, inputs, outputs[0], attributes);
        if let Some(node) = self.graph.node.last_mut() {
            node.output = outputs.iter().map(|&s| s.to_owned()).collect();
        }
        self
    }

    pub fn proto(self) -> ModelProto {
        let opset = OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        };
        ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(self.graph),
            ..ModelProto::default()
        }
    }

    pub fn bytes(self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }
}

pub fn value_info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&value: &i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(value)),
        ..tensor_shape_proto::Dimension::default()
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    let tensor = type_proto::Tensor {
        elem_type: 1,
        shape: Some(shape),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// Gives dimensions of an input names instead of numbers.
pub fn name_dims(input: &mut ValueInfoProto, names: &[(usize, &str)]) {
    let value = input.r#type.as_mut().and_then(|t| t.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = value {
        for (index, name) in names {
            let dim = &mut tensor.shape.as_mut().unwrap().dim[*index];
            dim.value = Some(tensor_shape_proto::dimension::Value::DimParam(
                (*name).to_owned(),
            ));
        }
    }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Float as i32,
        f: value,
        ..AttributeProto::default()
    }
}

pub fn graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..AttributeProto::default()
    }
}

/// Gives a declared tensor the element type of that number.
pub fn set_type(info: &mut ValueInfoProto, number: i32) {
    let value = info.r#type.as_mut().unwrap().value.as_mut().unwrap();
    let type_proto::Value::TensorType(tensor) = value;
    tensor.elem_type = number;
}

/// Seeded noise in -1..1, of which the share `density` is not zero.
pub fn noise(count: usize, seed: u64, density: f64) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    let value = |_| {
        let (keep, value) = (uniform() < density, uniform());
        if keep {
            (2.0 * value - 1.0) as f32
        } else {
            0.0
        }
    };
    (0..count).map(value).collect()
}
