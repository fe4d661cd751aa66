//! Which runtime runs what, and where the library of ONNX Runtime is looked for.

use super::onnx_runtime::{self, OnnxRuntime};
use super::tract::Tract;
use super::{HostError, Runtime, RuntimeName, Session};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Which runtime runs host segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// tract alone.
    #[default]
    Tract,
    /// ONNX Runtime alone.
    OnnxRuntime,
    /// tract runs what it has right, ONNX Runtime the rest.
    Auto,
}

/// A place where the library of ONNX Runtime may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// A file, or a bare name for the system's loader.
    pub path: PathBuf,
    /// Whether it was named by the person: then it has to be there, and nothing behind it in the list is tried.
    pub named: bool,
}

impl Library {
    /// Where the library is looked for: at `option`, else at what `ORT_DYLIB_PATH` says, in the active virtual
    /// environment, in the packages of the Python that is on the path, where the system keeps libraries. `variable` reads
    /// the environment.
    pub fn search(
        option: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(path) = option.or_else(|| variable("ORT_DYLIB_PATH").map(PathBuf::from)) {
            return vec![Self { path, named: true }];
        }
        let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter();
        let active = active.filter_map(&variable).map(PathBuf::from);
        let on_path = variable("PATH").map_or_else(Vec::new, |path| pythons(&path));
        let inside = active.chain(on_path).flat_map(|environment| {
            let mut files = python_packages(&environment);
            files.sort();
            files
        });
        let system = PathBuf::from(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}"));
        inside
            .chain([system])
            .map(|path| Self { path, named: false })
            .collect()
    }
}

/// The environments whose Python is on the path: a Python in `bin` has its packages beside that folder.
fn pythons(path: &OsStr) -> Vec<PathBuf> {
    let name = format!("python3{EXE_SUFFIX}");
    std::env::split_paths(path)
        .filter(|folder| folder.join(&name).is_file())
        .filter_map(|folder| folder.parent().map(Path::to_path_buf))
        .collect()
}

/// The libraries that the Python package `onnxruntime` has put into an environment.
fn python_packages(environment: &Path) -> Vec<PathBuf> {
    let list = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.flatten().map(|entry| entry.path())
    };
    let versions = list(environment.join("lib")).chain([environment.join("Lib")]);
    let name = format!("{DLL_PREFIX}onnxruntime");
    versions
        .flat_map(|python| {
            let packages = ["site-packages", "dist-packages"].into_iter();
            packages.flat_map(move |folder| list(python.join(folder).join("onnxruntime/capi")))
        })
        .filter(|file| {
            let file = file.file_name().and_then(|name| name.to_str());
            // `libonnxruntime.so.1.22.0`, and not `libonnxruntime_providers_shared.so`.
            file.is_some_and(|file| {
                file.strip_prefix(&name)
                    .is_some_and(|rest| rest.starts_with('.') && rest.contains(&DLL_SUFFIX[1..]))
            })
        })
        .collect()
}

/// The host's runtimes and the choice between them. Copies share the loaded library.
#[derive(Clone, Debug, Default)]
pub struct Host(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    policy: Policy,
    libraries: Vec<Library>,
    onnx_runtime: OnceLock<Result<OnnxRuntime, HostError>>,
}

impl Host {
    /// A choice; the libraries are tried in their order when ONNX Runtime is first needed.
    pub fn new(policy: Policy, libraries: Vec<Library>) -> Self {
        Self(Arc::new(Inner {
            policy,
            libraries,
            onnx_runtime: OnceLock::new(),
        }))
    }

    /// The choice.
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    /// ONNX Runtime, loaded when it is first asked for, whatever the choice.
    ///
    /// # Errors
    /// No library was found, or the named one cannot be loaded.
    pub fn onnx_runtime(&self) -> Result<&dyn Runtime, HostError> {
        let load = || onnx_runtime::load(&self.0.libraries);
        match self.0.onnx_runtime.get_or_init(load) {
            Ok(runtime) => Ok(runtime),
            Err(error) => Err(error.clone()),
        }
    }

    /// ONNX Runtime, if the choice lets it run what tract does not have and it can be loaded.
    pub fn second(&self) -> Option<&dyn Runtime> {
        match self.0.policy {
            Policy::Tract => None,
            Policy::OnnxRuntime | Policy::Auto => self.onnx_runtime().ok(),
        }
    }

    /// The runtime of a model that runs on `least`, and on ONNX Runtime too.
    ///
    /// # Errors
    /// It is ONNX Runtime, and that is not there or not wanted.
    pub fn runtime(&self, least: RuntimeName) -> Result<&dyn Runtime, HostError> {
        match (self.0.policy, least) {
            (Policy::Tract, RuntimeName::OnnxRuntime) => {
                Err(HostError::NoOnnxRuntime("`tract` was asked for".to_owned()))
            }
            (Policy::OnnxRuntime, _) | (Policy::Auto, RuntimeName::OnnxRuntime) => {
                self.onnx_runtime()
            }
            (Policy::Tract | Policy::Auto, RuntimeName::Tract) => Ok(&Tract),
        }
    }

    /// Loads a model into the runtime that [`Self::runtime`] names.
    ///
    /// # Errors
    /// As there; or the runtime cannot load the model.
    pub fn load(&self, least: RuntimeName, model: &[u8]) -> Result<Box<dyn Session>, HostError> {
        self.runtime(least)?.load(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(policy: Policy, least: RuntimeName) -> Option<RuntimeName> {
        // A library that is not there.
        let missing = Library {
            path: PathBuf::from("/nowhere/libonnxruntime.so"),
            named: true,
        };
        let host = Host::new(policy, vec![missing]);
        host.runtime(least).ok().map(Runtime::name)
    }

    #[test]
    fn the_library_of_the_python_on_the_path_is_found() {
        let environment = std::env::temp_dir().join(format!("scnn-host-{}", std::process::id()));
        let packages = environment.join("lib/python3.12/site-packages/onnxruntime/capi");
        let library = packages.join(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}"));
        let python = environment.join("bin").join(format!("python3{EXE_SUFFIX}"));
        std::fs::create_dir_all(&packages).unwrap();
        std::fs::create_dir_all(python.parent().unwrap()).unwrap();
        std::fs::write(&library, []).unwrap();
        std::fs::write(&python, []).unwrap();
        let path = python.parent().unwrap().as_os_str().to_owned();
        let found = Library::search(None, |name| (name == "PATH").then(|| path.clone()));
        std::fs::remove_dir_all(&environment).unwrap();
        assert_eq!(found[0].path, library);
    }

    #[test]
    fn tract_runs_what_it_has_and_nothing_runs_what_needs_a_library_that_is_missing() {
        for policy in [Policy::Tract, Policy::Auto] {
            assert_eq!(name(policy, RuntimeName::Tract), Some(RuntimeName::Tract));
            assert_eq!(name(policy, RuntimeName::OnnxRuntime), None);
        }
        assert_eq!(name(Policy::OnnxRuntime, RuntimeName::Tract), None);
    }
}
