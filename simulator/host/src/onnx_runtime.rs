//! ONNX Runtime, loaded at run time from a shared library that the person has.
//!
//! Sessions are made of bytes in memory; nothing of them can name a file, and no custom operators, plug-ins or other
//! execution providers than the CPU's are registered. A session computes on the thread that calls it, so results do
//! not depend on how many threads there are. What it allocates counts ([`allocator`]), and a run that does not end
//! ([`RUN_LIMIT`]) is ended.

mod allocator;
mod tensors;

use super::{HostError, Library, ResultType, Runtime, RuntimeName, Session, self_contained};
use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::Outlet;
use prost::Message;
use std::ffi::CStr;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tract_onnx::prelude::Tensor;

/// The longest that one run of a model may take: a `Loop` in a hostile file need not end.
const RUN_LIMIT: Duration = Duration::from_mins(10);

/// The runtime.
#[derive(Debug)]
pub(crate) struct OnnxRuntime {
    environment: Environment,
    version: String,
}

/// Loads the first of the libraries that is there.
pub(crate) fn load(libraries: &[Library]) -> Result<OnnxRuntime, HostError> {
    // A process has one library and one environment.
    static LOADED: OnceLock<Mutex<Option<(Environment, String)>>> = OnceLock::new();
    let mut loaded = LOADED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if loaded.is_none() {
        *loaded = Some(open_first(libraries)?);
    }
    let (environment, version) = loaded.as_ref().expect("it was just loaded");
    Ok(OnnxRuntime {
        environment: environment.clone(),
        version: version.clone(),
    })
}

fn open_first(libraries: &[Library]) -> Result<(Environment, String), HostError> {
    let mut tried = Vec::new();
    for library in libraries {
        match open(&library.path) {
            Ok(opened) => return Ok(opened),
            Err(error) => tried.push(error),
        }
        if library.named {
            break;
        }
    }
    let tried = if tried.is_empty() {
        "no library was named, and none lies in a virtual environment".to_owned()
    } else {
        tried.join("; ")
    };
    Err(HostError::NoOnnxRuntime(tried))
}

fn open(path: &Path) -> Result<(Environment, String), String> {
    let version = version(path)?;
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    // Its warnings are about what it optimises; errors come back as values.
    let silent = Arc::new(|_, _: &str, _: &str, _: &str, _: &str| {});
    let environment = builder
        .with_telemetry(false)
        .with_logger(silent)
        .build()
        .map_err(|error| error.to_string())?;
    allocator::register(&environment)?;
    Ok((environment, version))
}

/// The version of a library, which ort compares with what it needs and does not hand on.
fn version(path: &Path) -> Result<String, String> {
    // SAFETY: loading a library runs its initialisers. The path is one that the person chose: an option, a variable of
    // the environment, the active virtual environment, or the system's own folders.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| format!("{}: {error}", path.display()))?;
    // SAFETY: the symbol has this type in every version of ONNX Runtime, and returns a table that lives as long as the
    // library; the text that its first functions return does so too, and is copied before the library is let go.
    let text = unsafe {
        let base = library
            .get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase")
            .map_err(|_| format!("{} is no ONNX Runtime", path.display()))?;
        let base = base()
            .as_ref()
            .ok_or_else(|| format!("{} has no interface", path.display()))?;
        CStr::from_ptr((base.GetVersionString)()).to_owned()
    };
    Ok(text.to_string_lossy().into_owned())
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> RuntimeName {
        RuntimeName::OnnxRuntime
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, HostError> {
        // What was looked at is what is loaded.
        let model = self_contained(model)?.encode_to_vec();
        let session = self
            .builder()
            .and_then(|mut builder| builder.commit_from_memory(&model))
            .map_err(|error| failed(&error))?;
        Ok(Box::new(Loaded(Mutex::new(session))))
    }
}

impl OnnxRuntime {
    fn builder(&self) -> ort::Result<SessionBuilder> {
        Ok(OrtSession::builder(&self.environment)?
            // Rewritings that keep the values; the levels above choose kernels by the processor.
            .with_optimization_level(GraphOptimizationLevel::Level1)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_env_allocators()?
            .with_config_entry("session.load_model_format", "ONNX")?
            .with_config_entry("session.use_device_allocator_for_initializers", "1")?)
    }
}

/// A session; ONNX Runtime's wrapper has one run at a time.
struct Loaded(Mutex<OrtSession>);

impl Session for Loaded {
    fn run(&self, operands: Vec<Tensor>) -> Result<Vec<Tensor>, HostError> {
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = session.inputs().iter().map(|input| input.name().to_owned());
        let operands = names
            .zip(&operands)
            .map(|(name, operand)| Ok((name, tensors::to_value(operand)?.into())))
            .collect::<ort::Result<Vec<(String, SessionInputValue)>>>()
            .map_err(|error| failed(&error))?;
        let options = RunOptions::new().map_err(|error| failed(&error))?;
        within_limit(&options, || {
            let results = session.run_with_options(operands, &options)?;
            results
                .values()
                .map(|value| tensors::to_tensor(&value))
                .collect::<ort::Result<_>>()
        })
        .map_err(|error| failed(&error))
    }

    fn results(&self) -> Vec<ResultType> {
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |output: &Outlet| {
            let dims = output.dtype().tensor_shape();
            ResultType {
                datum: tensors::datum(output.dtype()),
                dims: dims.map(|dims| dims.iter().map(|&dim| usize::try_from(dim).ok()).collect()),
            }
        };
        session.outputs().iter().map(known).collect()
    }
}

/// Does `work`, and has ONNX Runtime give it up when the limit has passed.
fn within_limit<T>(options: &RunOptions, work: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    std::thread::scope(|scope| {
        let (done, waiting) = channel::<()>();
        scope.spawn(move || {
            if waiting.recv_timeout(RUN_LIMIT) == Err(RecvTimeoutError::Timeout) {
                // It has ended meanwhile if this fails.
                let _ = options.terminate();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn failed(error: &ort::Error) -> HostError {
    HostError::Failed {
        runtime: RuntimeName::OnnxRuntime,
        reason: error.message().trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Policy};
    use super::*;
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::pb::tensor_shape_proto::Dimension;
    use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
    use tract_onnx::pb::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
        ValueInfoProto, type_proto,
    };

    fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
        let dim = |&dim: &i64| Dimension {
            value: Some(DimValue::DimValue(dim)),
            ..Dimension::default()
        };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: DataType::Float as i32,
                    shape: Some(TensorShapeProto {
                        dim: dims.iter().map(dim).collect(),
                    }),
                })),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        }
    }

    /// A model of one node with one operand and one result.
    fn of_one(operator: &str, dims: &[i64]) -> Vec<u8> {
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                version: 17,
                ..OperatorSetIdProto::default()
            }],
            graph: Some(GraphProto {
                name: "g".to_owned(),
                node: vec![NodeProto {
                    op_type: operator.to_owned(),
                    input: vec!["x".to_owned()],
                    output: vec!["y".to_owned()],
                    ..NodeProto::default()
                }],
                input: vec![value("x", dims)],
                output: vec![value("y", dims)],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }

    /// The host with ONNX Runtime, where this machine has it; says so where it does not.
    fn host() -> Option<Host> {
        let libraries = Library::search(None, |name| std::env::var_os(name));
        let host = Host::new(Policy::OnnxRuntime, libraries);
        if let Err(error) = host.onnx_runtime() {
            eprintln!("skipped: {error}");
            return None;
        }
        Some(host)
    }

    #[test]
    fn both_runtimes_compute_the_same() {
        let Some(host) = host() else { return };
        let model = of_one("Sigmoid", &[2, 3]);
        let values: Vec<f32> = (0..6).map(|i| i as f32 - 2.5).collect();
        let operand = Tensor::from_shape(&[2, 3], &values).unwrap();
        let run = |host: &Host| {
            let session = host.load(RuntimeName::Tract, &model).unwrap();
            session.run(vec![operand.clone()]).unwrap().remove(0)
        };
        let (ours, theirs) = (run(&Host::default()), run(&host));
        assert_eq!(ours.shape(), theirs.shape());
        ours.close_enough(&theirs, true).unwrap();
    }

    #[test]
    fn a_tensor_without_elements_passes() {
        let Some(host) = host() else { return };
        let session = host
            .load(RuntimeName::Tract, &of_one("Relu", &[0, 3]))
            .unwrap();
        let empty = Tensor::from_shape::<f32>(&[0, 3], &[]).unwrap();
        let results = session.run(vec![empty]).unwrap();
        assert_eq!(results[0].shape(), [0, 3]);
    }

    #[test]
    fn what_it_does_not_have_is_an_error_in_its_words() {
        let Some(host) = host() else { return };
        let error = host
            .load(RuntimeName::Tract, &of_one("Nothing", &[1]))
            .err()
            .unwrap();
        assert!(error.to_string().contains("Nothing"), "{error}");
    }

    #[test]
    fn an_operand_of_another_shape_is_an_error() {
        let Some(host) = host() else { return };
        let session = host
            .load(RuntimeName::Tract, &of_one("Relu", &[2]))
            .unwrap();
        let operand = Tensor::from_shape(&[3], &[0f32; 3]).unwrap();
        assert!(session.run(vec![operand]).is_err());
    }
}
