//! The three guides, followed to the letter: every command in them runs, in a folder that has `models/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::tempdir;

/// The `sh` blocks of a text, in order.
fn commands(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

fn follow(guide: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let blocks = commands(&std::fs::read_to_string(root.join(guide)).unwrap());
    assert!(blocks.len() > 2, "{guide}: {blocks:?}");
    let folder = tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("models"), folder.path().join("models")).unwrap();
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_scnnc"));
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(binary.parent().unwrap().to_path_buf());
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&old))).unwrap();
    for block in blocks {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block])
            .current_dir(folder.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{guide}:\n{block}\n{error}");
    }
}

#[test]
fn an_architect_changes_the_machine() {
    follow("simulator/GUIDE.md");
}

#[test]
fn a_compiler_engineer_adds_a_pass() {
    follow("compiler/GUIDE.md");
}

#[test]
fn a_network_designer_brings_a_file() {
    follow("models/GUIDE.md");
}
