//! What happens around a command: full disks, closed pipes, interrupts, too little memory, internal errors.

use crate::binary::{Said, said};
use crate::onnx::{Model, int, ints, noise};
use prost::Message;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tract_onnx::pb::{AttributeProto, ModelProto, TensorProto};

fn folder(model: Model) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), model.bytes()).unwrap();
    folder
}

/// Three convolutions; the nodes are called `/a/Conv`, `/b/Conv`, `/y/Conv`.
fn chain() -> Model {
    let conv = |model: Model, from: &str, to: &str| {
        let weights = format!("{to}.w");
        model
            .floats(&weights, &[4, 4, 3, 3], &noise(144, 1, 0.5))
            .node(
                "Conv",
                &[from, &weights],
                to,
                vec![ints("pads", &[1, 1, 1, 1])],
            )
    };
    let model = Model::new("chain").input("x", &[1, 4, 8, 8]);
    let model = conv(model, "x", "a");
    let model = conv(model, "a", "b");
    conv(model, "b", "y").output("y")
}

fn std_command(folder: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("scnnc"));
    command.current_dir(folder).args(arguments);
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_nothing_breaks() {
    let folder = folder(chain());
    let at = folder.path();
    let Said { status, error, .. } = said(at, ["compile", "model.onnx", "-q", "-o", "/dev/full"]);
    assert_eq!(status, 1);
    assert!(
        error.contains("E0102") && error.contains("--> /dev/full"),
        "{error}"
    );
    assert!(Path::new("/dev/full").exists());

    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let Said { status, error, .. } = said(at, ["compile", "model.onnx", "-q", "-o", "p.scnn"]);
    assert_eq!(status, 0, "{error}");
    for words in [["ops", ""], ["disasm", "p.scnn"], ["run", "--help"]] {
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let output = std_command(at, &words).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            error.contains("E0102") && error.contains("standard output"),
            "{words:?}: {error}"
        );
    }
    // With no one to tell, there is still the exit status.
    let status = std_command(at, &["check", "nothing.onnx"])
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

/// A file that is written is one of the user's, whatever that means to others.
#[cfg(unix)]
#[test]
fn a_file_has_the_permissions_that_the_mask_of_the_user_leaves() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(chain());
    let scnnc = assert_cmd::cargo::cargo_bin("scnnc");
    for (mask, wanted) in [("022", 0o644), ("077", 0o600)] {
        let script = format!("umask {mask}; exec \"$0\" compile model.onnx -q -o p.scnn");
        let mut shell = std::process::Command::new("sh");
        shell.current_dir(folder.path()).arg("-c").arg(script);
        let status = shell.arg(&scnnc).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0));
        let written = std::fs::metadata(folder.path().join("p.scnn")).unwrap();
        assert_eq!(written.permissions().mode() & 0o777, wanted, "{mask}");
    }
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = folder(chain());
    let mut child = std_command(folder.path(), &["machine", "show", "scnn"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(error, "");
}

#[test]
fn a_folder_in_the_place_of_a_file_is_told() {
    let folder = folder(chain());
    let at = folder.path();
    std::fs::create_dir(at.join("out.scnn")).unwrap();
    for arguments in [
        ["compile", "model.onnx", "-q", "-o", "out.scnn"].as_slice(),
        &["compile", "model.onnx", "-q", "-o", "nowhere/out.scnn"],
    ] {
        let Said { status, error, .. } = said(at, arguments);
        assert_eq!(status, 1, "{error}");
        assert!(
            error.contains("E0102") && error.contains("out.scnn"),
            "{error}"
        );
    }
    let Said { status, error, .. } = said(at, ["check", "out.scnn"]);
    assert_eq!(status, 1);
    assert!(error.contains("E0101"), "{error}");
}

/// An interrupt ends a command that would take minutes, and nothing is left of the file that it was writing.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_command_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = std_command(folder.path(), &["zoo", "make", "vgg16", "-q"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    while files() == 0 {
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "it ended before it could be interrupted"
        );
        std::thread::yield_now();
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(files(), 0);
}

/// 600 bytes that ask for 400 GB.
#[test]
fn a_small_model_cannot_ask_for_all_memory() {
    let shape = TensorProto {
        name: "shape".to_owned(),
        dims: vec![4],
        data_type: 7,
        int64_data: vec![1, 1, 40_000, 40_000],
        ..TensorProto::default()
    };
    let value = AttributeProto {
        name: "value".to_owned(),
        r#type: 4,
        t: Some(TensorProto {
            dims: vec![1],
            data_type: 1,
            float_data: vec![0.5],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    };
    let mut model = Model::new("huge")
        .input("x", &[1, 1, 8, 8])
        .floats("w", &[1, 1, 1, 1], &[1.0])
        .node("ConstantOfShape", &["shape"], "c", vec![value])
        .node("Conv", &["c", "w"], "d", vec![])
        .node("ReduceMax", &["d"], "m", vec![int("keepdims", 1)])
        .node("Conv", &["x", "w"], "e", vec![])
        .node("Add", &["e", "m"], "y", vec![])
        .output("y");
    model.graph.initializer.push(shape);
    let folder = folder(model);
    let Said { status, error, .. } = said(
        folder.path(),
        ["run", "model.onnx", "-q", "--limit-memory", "1GB"],
    );
    assert_eq!(status, 1, "{error}");
    assert!(
        error.contains("E0805") && error.contains("--> model.onnx"),
        "{error}"
    );
}

#[test]
fn the_limit_of_memory_is_a_size() {
    let folder = folder(chain());
    let Said { status, error, .. } = said(folder.path(), ["ops", "--limit-memory", "much"]);
    assert_eq!(status, 2);
    assert!(error.contains("--limit-memory"), "{error}");
}

/// The reproducer of an internal error in the second of three nodes: the model is reduced to that node, its weights
/// are noise, and the command in the folder fails in the same place.
#[test]
fn an_internal_error_leaves_what_repeats_it() {
    let folder = folder(chain());
    let at = folder.path();
    let Said { status, error, .. } = said(
        at,
        [
            "compile",
            "model.onnx",
            "-q",
            "-o",
            "out.scnn",
            "--provoke",
            "/b/Conv",
        ],
    );
    assert_eq!(status, 101, "{error}");
    assert!(
        error.contains("E0901") && error.contains("--> model.onnx"),
        "{error}"
    );
    assert!(error.contains("reduced from 3 nodes to 1"), "{error}");
    assert!(!at.join("out.scnn").exists());

    let left = at.join("scnnc-internal-error-1");
    let reduced =
        ModelProto::decode(std::fs::read(left.join("failing.onnx")).unwrap().as_slice()).unwrap();
    let graph = reduced.graph.unwrap();
    assert_eq!(graph.node.len(), 1);
    assert_eq!(graph.node[0].name, "/b/Conv");
    let original = noise(144, 1, 0.5);
    let raw: Vec<u8> = original.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_ne!(
        graph.initializer[0].raw_data, raw,
        "the weights are the model's own"
    );
    assert!(
        std::fs::read_to_string(left.join("error.txt"))
            .unwrap()
            .contains("asked to fail")
    );

    let command = std::fs::read_to_string(left.join("command.sh")).unwrap();
    let words: Vec<&str> = command
        .lines()
        .last()
        .unwrap()
        .split('\'')
        .skip(1)
        .step_by(2)
        .collect();
    let Said {
        status,
        error: again,
        ..
    } = said(at, [words.as_slice(), &["--reducing"]].concat());
    assert_eq!(status, 101);
    let place = error
        .lines()
        .find_map(|line| line.split("note: at ").nth(1))
        .unwrap();
    assert_eq!(again.trim(), format!("internal error at {place}"));
}
