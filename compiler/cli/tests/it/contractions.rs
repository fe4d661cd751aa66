//! `Einsum` of activations and constant weights: a matrix product on the array, or the host's where it has few rows;
//! and products of one-hot rows.

use crate::onnx::{Model, int, noise, text};
use crate::placement::hosted;

/// An `Einsum` of `x` [2, 36, 4, 6] and weights, with a product of the array behind it.
fn model(equation: &str, weights: &[i64], made: &[i64]) -> Model {
    let count: i64 = weights.iter().product();
    let channels = made[made.len() - 1];
    let dense = noise((channels * 3) as usize, 2, 0.6);
    let terms: Vec<&str> = equation.split(',').collect();
    let operands = if terms[0] == "btgi" {
        ["r", "w"]
    } else {
        ["w", "r"]
    };
    Model::new("contraction")
        .input("x", &[2, 36, 4, 6])
        .floats("w", weights, &noise(count as usize, 1, 0.6))
        .floats("dense", &[channels, 3], &dense)
        .node("Relu", &["x"], "r", vec![])
        .node("Einsum", &operands, "e", vec![text("equation", equation)])
        .node("MatMul", &["e", "dense"], "y", vec![])
        .output("y")
}

#[test]
fn weights_of_groups_and_of_all_are_products_of_the_array() {
    for (equation, weights, made) in [
        ("btgi,gih->btgh", &[4, 6, 5][..], &[2, 36, 4, 5][..]),
        ("btgi,gih->btgh", &[4, 6, 1], &[2, 36, 4, 1]),
        ("btgi,id->btgd", &[6, 7], &[2, 36, 4, 7]),
        ("btgi,dgi->btd", &[7, 4, 6], &[2, 36, 7]),
        ("hig,btgi->btgh", &[5, 6, 4], &[2, 36, 4, 5]),
        ("btgi,gihk->bthgk", &[4, 6, 2, 3], &[2, 36, 2, 4, 3]),
    ] {
        let (hosted, compiled) = hosted(model(equation, weights, made), &[2, 36, 4, 6]);
        let einsums = hosted.iter().filter(|operator| *operator == "Einsum");
        assert_eq!(einsums.count(), 0, "{equation}\n{}", compiled.graph);
    }
}

/// Eight rows for sixty-four PEs, and sums over what the weights do not have.
#[test]
fn few_rows_and_what_is_no_product_stay_on_the_host() {
    for (equation, weights, made) in [
        ("btgi,tgih->bgth", &[36, 4, 6, 5][..], &[2, 4, 36, 5][..]),
        ("btgi,ih->bth", &[6, 5], &[2, 36, 5]),
    ] {
        let (hosted, _) = hosted(model(equation, weights, made), &[2, 36, 4, 6]);
        assert!(
            hosted.contains(&"Einsum".to_owned()),
            "{equation}: {hosted:?}"
        );
    }
}

/// One-hot rows of seven values for three columns: the rows of the weights are chosen, and are zero for indices outside.
#[test]
fn a_product_of_one_hot_rows_chooses_rows_of_the_weights() {
    let model = Model::new("one-hot")
        .input("x", &[1, 40])
        .floats("twelve", &[], &[12.0])
        .integers("depth", &[7])
        .floats("values", &[2], &[0.0, 1.0])
        .floats("w", &[7, 3], &noise(21, 1, 0.6))
        .integers("rows", &[40, 7])
        .floats("dense", &[3, 4], &noise(12, 2, 0.6))
        .node("Mul", &["x", "twelve"], "m", vec![])
        .node("Cast", &["m"], "i", vec![int("to", 6)])
        .node("OneHot", &["i", "depth", "values"], "o", vec![])
        .node("Reshape", &["o", "rows"], "r", vec![])
        .node("MatMul", &["r", "w"], "p", vec![])
        .node("MatMul", &["p", "dense"], "y", vec![])
        .output("y");
    let (hosted, compiled) = hosted(model, &[1, 40]);
    assert!(hosted.contains(&"Gather".to_owned()), "{}", compiled.graph);
    assert!(!hosted.contains(&"OneHot".to_owned()), "{hosted:?}");
}
