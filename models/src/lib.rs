//! The ONNX models that are small enough to be kept, and where the large ones are found.
//!
//! `models/README.md` tells how each was made.

pub mod zoo;

use std::path::{Path, PathBuf};

/// LeNet-5 (20-50-500-10), trained on MNIST digits and pruned.
pub fn lenet5() -> PathBuf {
    folder().join("lenet5.onnx")
}

/// 500 held-out digits for [`lenet5`]: arrays `image` and `labels`.
pub fn lenet5_digits() -> PathBuf {
    folder().join("lenet5-digits.npz")
}

/// A network with a residual add, a concatenation, a depthwise and a strided convolution, and a softmax.
pub fn tiny() -> PathBuf {
    folder().join("tiny.onnx")
}

/// All models of this folder, by name.
pub fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut models: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .collect();
    models.sort();
    models
}

/// A model that is too large for the repository, by its path under the folder that the environment variable
/// `SCNN_SHARED_MODELS` names; where it is not, this says on standard error that the caller skips.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SCNN_SHARED_MODELS").filter(|folder| !folder.is_empty());
    let found = folder
        .map(|folder| Path::new(&folder).join(path))
        .filter(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: set SCNN_SHARED_MODELS to a folder with {path}");
    }
    found
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
