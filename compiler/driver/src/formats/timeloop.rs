//! Timeloop's problems (version 0.4): a convolution's dimensions, the indices of each tensor, and an instance with the
//! densities of its tensors.
//!
//! `C` input channels, `M` output channels, `R` and `S` columns and rows of the kernel, `P` and `Q` of the output, `N` images,
//! `G` groups. Mappings are not translated: the two tools' machines are not the same.

use super::row::{BadTable, Row, Table};
use super::{quoted, shape_of};
use scnn_isa::yaml;
use scnn_simulator::report::{Layer, Report};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The problem of every layer of the array, by a name that is good for a file.
pub fn write(report: &Report) -> Vec<(String, String)> {
    let layers = report.array_layers().zip(1..);
    let problems = layers.filter_map(|(layer, number)| {
        let name: String = layer
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let file = format!("{number:02}-{}.yaml", name.trim_matches('_'));
        Some((file, problem(report, layer)?))
    });
    problems.collect()
}

fn problem(report: &Report, layer: &Layer) -> Option<String> {
    let shape = shape_of(layer)?;
    let density = &layer.density;
    let [sy, sx] = shape.stride;
    let [dy, dx] = shape.dilation;
    Some(format!(
        "# Layer {} of {}, densities as measured by {}.
problem:
  version: 0.4
  shape:
    name: CNN_Layer
    dimensions: [G, C, M, R, S, N, P, Q]
    coefficients:
      - {{name: Wstride, default: 1}}
      - {{name: Hstride, default: 1}}
      - {{name: Wdilation, default: 1}}
      - {{name: Hdilation, default: 1}}
    data_spaces:
      - name: Weights
        projection: [[[G]], [[C]], [[M]], [[R]], [[S]]]
      - name: Inputs
        projection: [[[N]], [[G]], [[C]], [[R, Wdilation], [P, Wstride]], [[S, Hdilation], [Q, Hstride]]]
      - name: Outputs
        projection: [[[N]], [[G]], [[M]], [[Q]], [[P]]]
        read_write: true
  instance:
    G: {}
    C: {}
    M: {}
    R: {}
    S: {}
    N: {}
    P: {}
    Q: {}
    Wstride: {sx}
    Hstride: {sy}
    Wdilation: {dx}
    Hdilation: {dy}
    densities:
      Weights: {{distribution: hypergeometric, density: {}}}
      Inputs: {{distribution: hypergeometric, density: {}}}
      Outputs: {{distribution: hypergeometric, density: {}}}
",
        quoted(&layer.name),
        quoted(&report.model),
        report.tool,
        shape.groups,
        shape.c / shape.groups,
        shape.k / shape.groups,
        shape.s,
        shape.r,
        shape.n,
        shape.out_w,
        shape.out_h,
        density.weights,
        density.input,
        density.output,
    ))
}

#[derive(Deserialize)]
struct ProblemFile {
    problem: Problem,
}

#[derive(Deserialize)]
struct Problem {
    instance: BTreeMap<String, serde_json::Value>,
}

/// Reads the shape of a problem, as `layer_shapes` of Timeloop's exercises have it; templates around it are not.
///
/// # Errors
/// A text of another form, or a layer that is impossible.
pub fn read(name: &str, text: &str) -> Result<Table, BadTable> {
    let bad = |reason: String| BadTable { line: None, reason };
    // Templates are for a preprocessor and are not YAML: they bring the shape, which is known here.
    let is_yaml = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("{{") && !line.starts_with("<<<")
    };
    let plain: Vec<&str> = text.lines().filter(is_yaml).collect();
    let plain = plain.join("\n");
    let file: ProblemFile = yaml::from_str(&plain).map_err(|error| bad(error.to_string()))?;
    let instance = &file.problem.instance;
    let number = |names: &[&str]| -> Result<u32, BadTable> {
        let value = names.iter().find_map(|name| instance.get(*name));
        let Some(value) = value else { return Ok(1) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| bad(format!("{} is {value}, no extent", names[0])))
    };
    let density = |tensor: &str| -> Result<Option<f64>, BadTable> {
        let Some(value) = instance
            .get("densities")
            .and_then(|densities| densities.get(tensor))
        else {
            return Ok(None);
        };
        let number = value.as_f64().or_else(|| value.get("density")?.as_f64());
        number
            .map(Some)
            .ok_or_else(|| bad(format!("the density of {tensor} is {value}")))
    };
    let groups = number(&["G"])?;
    let (kernel, outputs) = (
        [number(&["S"])?, number(&["R"])?],
        [number(&["Q"])?, number(&["P"])?],
    );
    let stride = [
        number(&["Hstride", "HStride"])?,
        number(&["Wstride", "WStride"])?,
    ];
    let dilation = [
        number(&["Hdilation", "HDilation"])?,
        number(&["Wdilation", "WDilation"])?,
    ];
    let plane = |axis: usize| {
        let window = u64::from(dilation[axis]) * u64::from(kernel[axis].saturating_sub(1)) + 1;
        let extent = u64::from(outputs[axis].saturating_sub(1)) * u64::from(stride[axis]) + window;
        u32::try_from(extent).map_err(|_| bad("the input is too large".to_owned()))
    };
    let channels = |name: &str| {
        let product = number(&[name])?.checked_mul(groups);
        product.ok_or_else(|| bad(format!("{name} is too large")))
    };
    let row = Row {
        name: name.to_owned(),
        input: [number(&["N"])?, channels("C")?, plane(0)?, plane(1)?],
        outputs: channels("M")?,
        kernel,
        stride,
        dilation,
        groups,
        weights: density("Weights")?,
        activations: density("Inputs")?,
    };
    row.check()
        .map_err(|reason| bad(format!("layer `{name}`: {reason}")))?;
    Ok(vec![row])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn what_is_written_is_read_again() {
        let mut report = report();
        report.layers[0].shape.as_mut().unwrap().dilation = [1, 2];
        let problems = write(&report);
        assert_eq!(problems[1].0, "02-conv2_Conv.yaml");
        let mut products = 0;
        for ((_, text), layer) in problems.iter().zip(report.array_layers()) {
            let row = read(&layer.name, text).unwrap().remove(0);
            let shape = layer.shape.unwrap();
            assert_eq!(
                (row.kernel, row.stride, row.dilation),
                ([shape.r, shape.s], shape.stride, shape.dilation)
            );
            assert_eq!(
                (row.weights, row.activations),
                (Some(layer.density.weights), Some(layer.density.input))
            );
            products += row.check().unwrap();
        }
        assert_eq!(products, report.totals.multiplies.dense);
    }

    #[test]
    fn shapes_of_the_exercises_are_read() {
        let text = "{{include_text('../problem_base.yaml')}}\nproblem:\n  <<<: *problem_base\n  \
                    instance: {C: 3, M: 96, P: 55, Q: 55, R: 11, S: 11, HStride: 4, WStride: 4}\n";
        let row = read("layer1", text).unwrap().remove(0);
        assert_eq!((row.input, row.outputs), ([1, 3, 227, 227], 96));
        assert_eq!(row.check().unwrap(), 105_415_200);
        for (text, reason) in [
            ("problem: 1\n", ""),
            ("problem:\n  instance: {C: -1}\n", "C is -1"),
            ("problem:\n  instance: {C: 0}\n", "an extent is zero"),
            (
                "problem:\n  instance: {C: 1, densities: {Inputs: x}}\n",
                "the density of Inputs",
            ),
        ] {
            let error = read("l", text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
