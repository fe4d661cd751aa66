//! Failures as exceptions: the classes of `scnnc._errors`, with the diagnostics of the command line in fields.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use scnn_isa::diagnostic::{Code, Diagnostic, Place};
use scnnc_cli::library::Failure;
use serde_json::{Value, json};

/// The exception of a failure.
pub fn raised(py: Python<'_>, failure: &Failure) -> PyErr {
    let class = match failure {
        Failure::Refused(_) => "RefusedError",
        Failure::Usage(_) => "UsageError",
        Failure::Check(_) | Failure::Nothing(_) => "CheckError",
    };
    let diagnostics: Vec<Value> = failure.diagnostics().iter().map(fields).collect();
    exception(py, class, &failure.text(), &Value::Array(diagnostics))
}

/// The exception of an internal error.
pub fn internal(py: Python<'_>, message: &str) -> PyErr {
    let diagnostic = Diagnostic {
        code: Code::Internal.into(),
        message: format!("internal error: {message}"),
        location: None,
        attribute: None,
        allowed: None,
        notes: Vec::new(),
        help: Some("please report it with the model and the options".to_owned()),
    };
    let text = diagnostic.to_string();
    exception(py, "InternalError", &text, &json!([fields(&diagnostic)]))
}

fn exception(py: Python<'_>, class: &str, text: &str, diagnostics: &Value) -> PyErr {
    let make = || {
        let class = py.import("scnnc._errors")?.getattr(class)?;
        class.call1((text, diagnostics.to_string()))
    };
    match make() {
        Ok(exception) => PyErr::from_value(exception),
        // Only where the package is not installed whole.
        Err(_) => PyRuntimeError::new_err(text.to_owned()),
    }
}

/// A diagnostic in fields.
fn fields(diagnostic: &Diagnostic) -> Value {
    let location = diagnostic.location.as_ref();
    let (node, operator) = match location.map(|location| &location.place) {
        Some(Place::Node { name, operator }) => (Some(name), Some(operator)),
        _ => (None, None),
    };
    json!({
        "code": diagnostic.code.code,
        "title": diagnostic.code.title,
        "place": location.map(ToString::to_string),
        "node": node,
        "operator": operator,
        "attribute": diagnostic.attribute,
        "allowed": diagnostic.allowed,
        "reason": diagnostic.message,
        "notes": diagnostic.notes,
        "remedy": diagnostic.help,
    })
}
