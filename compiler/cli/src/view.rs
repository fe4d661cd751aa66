//! `--view KIND=FILE`: a report's numbers for other viewers and tools; their contents are in [`scnnc_driver::views`] and
//! [`scnnc_driver::formats`].

use super::codes::CompilerCode;
use super::failure::Failure;
use super::output;
use scnn_simulator::report::Report;
use scnnc_driver::formats::{accelergy, line, scale_sim, timeloop};
use scnnc_driver::views::{NotOnnx, annotate, folded, model_explorer, netron};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How a view is written on the command line.
pub const VIEW: &str = "KIND=FILE";

/// A view, and where it is written.
#[derive(Clone, Debug)]
pub struct View {
    kind: Viewer,
    /// The file.
    pub path: PathBuf,
}

/// A viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Viewer {
    Netron,
    Onnx,
    ModelExplorer,
    Folded,
    Accelergy,
    Timeloop,
    ScaleSim,
    Line,
}

/// The names of the views.
const KINDS: [(&str, Viewer); 8] = [
    ("netron", Viewer::Netron),
    ("onnx", Viewer::Onnx),
    ("model-explorer", Viewer::ModelExplorer),
    ("folded", Viewer::Folded),
    ("accelergy", Viewer::Accelergy),
    ("timeloop", Viewer::Timeloop),
    ("scale-sim", Viewer::ScaleSim),
    ("line", Viewer::Line),
];

impl FromStr for View {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        let expected = || format!("expected {VIEW}, KIND one of {}", names.join(", "));
        let (name, path) = text.split_once('=').ok_or_else(expected)?;
        let kind = KINDS.iter().find(|(known, _)| *known == name);
        let (_, kind) = kind.ok_or_else(expected)?;
        if path.is_empty() {
            return Err(expected());
        }
        Ok(Self {
            kind: *kind,
            path: path.into(),
        })
    }
}

impl View {
    /// Whether it is made of the model as well as of the report.
    fn needs_model(&self) -> bool {
        matches!(self.kind, Viewer::Onnx | Viewer::ModelExplorer)
    }

    /// Whether it is a folder of files.
    pub fn is_folder(&self) -> bool {
        self.kind == Viewer::Timeloop
    }
}

/// Refuses views that need a model where there is none.
pub fn check(views: &[View], model: Option<&Path>) -> Result<(), Failure> {
    match views.iter().find(|view| view.needs_model()) {
        Some(view) if model.is_none() => Err(Failure::usage(&format!(
            "the view for {} is made of the ONNX file: give the model (`run MODEL.onnx`, or `report --model MODEL.onnx`)",
            view.path.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes the views of a report, which [`check`] allows; `model` is the ONNX file that has run.
pub fn write(views: &[View], report: &Report, model: Option<&Path>) -> Result<(), Failure> {
    let bytes = match model {
        Some(path) if views.iter().any(View::needs_model) => output::read(path)?,
        _ => Vec::new(),
    };
    let not_onnx = |error: NotOnnx| {
        Failure::file(
            CompilerCode::NotOnnx,
            model.unwrap_or(Path::new("")),
            &error.to_string(),
        )
    };
    for view in views {
        let content = match view.kind {
            Viewer::Netron => json(&netron(report)),
            Viewer::Onnx => annotate(report, &bytes).map_err(not_onnx)?,
            Viewer::ModelExplorer => json(&model_explorer(report, &bytes).map_err(not_onnx)?),
            Viewer::Folded => folded(report).into_bytes(),
            Viewer::Accelergy => accelergy::write(report).into_bytes(),
            Viewer::ScaleSim => scale_sim::write(report).into_bytes(),
            Viewer::Line => format!("{}\n", Value::Object(line(report))).into_bytes(),
            Viewer::Timeloop => {
                output::folder(&view.path)?;
                for (name, problem) in timeloop::write(report) {
                    output::write(&view.path.join(name), problem.as_bytes())?;
                }
                continue;
            }
        };
        output::write(&view.path, &content)?;
    }
    Ok(())
}

fn json(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_a_kind_and_a_file() {
        let view: View = "netron=a=b.json".parse().unwrap();
        assert_eq!((view.kind, view.path), (Viewer::Netron, "a=b.json".into()));
        for wrong in ["netron", "netron=", "netro=x", "=x", ""] {
            let error = wrong.parse::<View>().unwrap_err();
            assert!(error.contains("model-explorer"), "{error}");
        }
    }
}
