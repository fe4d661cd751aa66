//! Open dimensions of inputs whose first extent is no batch: a graph's nodes and edges, images that are looked at together.

use crate::binary::said;
use crate::onnx::{Model, ints, name_dims, noise, set_type};
use crate::refusals::folder;
use ndarray::{Array2, Array4, ArrayD};
use ndarray_npy::{NpzReader, NpzWriter};
use std::io::Cursor;
use std::path::Path;

const INT64: i32 = 7;
const WARNING: &str = "compiled for the whole arrays that are given as one sample";

/// What `run` computes as `y`, with the warning that arrays are one sample.
fn run(at: &Path) -> ArrayD<f32> {
    let arguments = "run m.onnx --input x.npz --check --output y.npz".split(' ');
    let said = said(at, arguments);
    assert_eq!(said.status, 0, "{}", said.error);
    assert!(said.error.contains(WARNING), "{}", said.error);
    let file = std::fs::File::open(at.join("y.npz")).unwrap();
    NpzReader::new(file).unwrap().by_name("y").unwrap()
}

/// Five nodes and seven edges: the array of edges says of its second axis that it is no batch.
#[test]
fn a_graph_of_nodes_and_edges_is_one_sample() {
    let model = Model::new("graph")
        .input("nodes", &[1, 3])
        .input("edges", &[2, 1])
        .floats("w", &[3, 4], &noise(12, 1, 1.0))
        .integers("first", &[0])
        .node("MatMul", &["nodes", "w"], "h", vec![])
        .node("Relu", &["h"], "r", vec![])
        .node("Gather", &["edges", "first"], "row", vec![])
        .integers("flat", &[-1])
        .node("Reshape", &["row", "flat"], "from", vec![])
        .node("Gather", &["r", "from"], "y", vec![])
        .output("y");
    let mut proto = model.proto();
    let inputs = &mut proto.graph.as_mut().unwrap().input;
    name_dims(&mut inputs[0], &[(0, "nodes")]);
    name_dims(&mut inputs[1], &[(1, "edges")]);
    set_type(&mut inputs[1], INT64);
    let mut file = Cursor::new(Vec::new());
    let mut npz = NpzWriter::new(&mut file);
    let nodes = Array2::from_shape_vec((5, 3), noise(15, 2, 1.0)).unwrap();
    npz.add_array("nodes", &nodes).unwrap();
    let edges = Array2::from_shape_fn((2, 7), |(side, edge)| ((edge + side) % 5) as i64);
    npz.add_array("edges", &edges).unwrap();
    npz.finish().unwrap();
    let bytes = prost::Message::encode_to_vec(&proto);
    let folder = folder(&[("m.onnx", bytes), ("x.npz", file.into_inner())]);
    let y = run(folder.path());
    assert_eq!(y.shape(), [7, 4]);
    // The edges begin at nodes 0 to 4, then again at 0.
    let row = |edge: usize| y.index_axis(ndarray::Axis(0), edge);
    assert_eq!(row(5), row(0));
    assert_ne!(row(1), row(0));
}

/// Four views of an image, whose results are one: for one image there is no such shape.
#[test]
fn a_model_that_joins_its_images_is_compiled_for_as_many_as_are_given() {
    let model = Model::new("views")
        .input("x", &[1, 2, 3, 3])
        .floats("w", &[3, 2, 3, 3], &noise(54, 1, 1.0))
        .integers("joined", &[1, 3, 4])
        .node("Conv", &["x", "w"], "c", vec![])
        .node("Transpose", &["c"], "t", vec![ints("perm", &[1, 0, 2, 3])])
        .node("Reshape", &["t", "joined"], "y", vec![])
        .output("y");
    let mut proto = model.proto();
    let inputs = &mut proto.graph.as_mut().unwrap().input;
    name_dims(&mut inputs[0], &[(0, "views")]);
    let mut file = Cursor::new(Vec::new());
    let mut npz = NpzWriter::new(&mut file);
    let x = Array4::from_shape_vec((4, 2, 3, 3), noise(72, 2, 1.0)).unwrap();
    npz.add_array("x", &x).unwrap();
    npz.finish().unwrap();
    let bytes = prost::Message::encode_to_vec(&proto);
    let folder = folder(&[("m.onnx", bytes), ("x.npz", file.into_inner())]);
    assert_eq!(run(folder.path()).shape(), [1, 3, 4]);
}
