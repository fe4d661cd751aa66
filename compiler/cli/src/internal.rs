//! Internal errors: what a person needs to report one, and what a developer needs to repeat it.
//!
//! A panic anywhere ends the command with a diagnostic and exit status 101, and leaves a folder with the command, the
//! message with its place and backtrace, and the file it was about: a model is first reduced ([`super::reduce`]) to
//! the nodes that make it fail, by repeating the command in child processes that write nothing.

use super::args::Arguments;
use super::invocation::Invocation;
use super::reduce;
use super::{interrupt, messages};
use crate::codes::IsaCode;
use prost::Message;
use scnn_isa::diagnostic::{Diagnostic, Location, Place};
use std::backtrace::Backtrace;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tract_onnx::pb::ModelProto;

/// Exit status after an internal error, as of any Rust program that panics.
const INTERNAL: u8 = 101;

/// How long a model is reduced at most, and how long one repetition may take.
const REDUCE_FOR: Duration = Duration::from_mins(1);
const ONE_RUN: Duration = Duration::from_secs(10);

/// The options that name files which no longer fit once a model's inputs were cut.
const INPUT_OPTIONS: [&str; 5] = [
    "--input",
    "--calibrate",
    "--labels",
    "--expect",
    "--calibration",
];

/// What a panic said.
#[derive(Clone, Debug)]
struct Caught {
    message: String,
    place: String,
    backtrace: String,
}

static CAUGHT: Mutex<Option<Caught>> = Mutex::new(None);

/// Runs a command; a panic becomes a diagnostic and a folder that repeats it.
pub fn guard(arguments: &Arguments, invocation: &Invocation, command: impl FnOnce() -> u8) -> u8 {
    std::panic::set_hook(Box::new(|panic| {
        let mut caught = CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
        *caught = Some(Caught {
            message: panic
                .payload_as_str()
                .unwrap_or("a panic without a message")
                .to_owned(),
            place: panic
                .location()
                .map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
            backtrace: Backtrace::force_capture().to_string(),
        });
    }));
    if let Ok(status) = catch_unwind(AssertUnwindSafe(command)) {
        return status;
    }
    let caught = CAUGHT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .unwrap_or_else(|| Caught {
            message: "a panic without a message".to_owned(),
            place: "an unknown place".to_owned(),
            backtrace: String::new(),
        });
    interrupt::remove_temporaries();
    report(arguments, invocation, &caught);
    INTERNAL
}

/// The line by which a repetition shows that it fails in the same way.
fn signature(caught: &Caught) -> String {
    format!("internal error at {}", caught.place)
}

fn report(arguments: &Arguments, invocation: &Invocation, caught: &Caught) {
    if arguments.reducing {
        messages::tell(&signature(caught));
        return;
    }
    let subject = arguments.subject();
    let reproducer = Reproducer::write(subject.as_deref(), invocation, caught);
    let mut notes = vec![format!("at {}", caught.place)];
    let help = match reproducer {
        Ok(reproducer) => {
            notes.extend(reproducer.notes);
            format!(
                "please report it with the folder `{}`",
                reproducer.folder.display()
            )
        }
        Err(error) => {
            notes.push(format!("no reproducer could be written: {error}"));
            "please report it with the model and the command".to_owned()
        }
    };
    let diagnostic = Diagnostic {
        code: IsaCode::Internal.into(),
        message: format!("internal error: {}", caught.message),
        location: subject.map(|path| Location {
            file: Some(path.display().to_string()),
            place: Place::File,
        }),
        attribute: None,
        allowed: None,
        notes,
        help: Some(help),
    };
    messages::tell(&super::failure::drawn(&diagnostic));
}

/// A folder from which the error can be repeated.
struct Reproducer {
    folder: PathBuf,
    notes: Vec<String>,
}

impl Reproducer {
    fn write(
        subject: Option<&Path>,
        invocation: &Invocation,
        caught: &Caught,
    ) -> std::io::Result<Self> {
        let folder = new_folder()?;
        let words = &invocation.words;
        let mut notes = Vec::new();
        let mut words_of_command = words.clone();
        if let Some(subject) = subject {
            let extension = subject.extension().unwrap_or_default();
            let copy = folder.join(Path::new("failing").with_extension(extension));
            let reduced = (extension == "onnx")
                .then(|| reduced(subject, invocation, &folder, caught))
                .flatten();
            if let Some(reduced) = reduced {
                std::fs::write(&copy, reduced.model.encode_to_vec())?;
                notes.push(reduced.note);
                words_of_command = reduced.words;
            } else {
                std::fs::copy(subject, &copy)?;
            }
            words_of_command = with_subject(&words_of_command, subject, copy.as_os_str());
        }
        let quoted = |words: &[OsString]| -> String {
            let quote = |word: &OsString| word.to_string_lossy().replace('\'', "'\\''");
            let words: Vec<String> = words.iter().map(|w| format!("'{}'", quote(w))).collect();
            words.join(" ")
        };
        std::fs::write(
            folder.join("command.sh"),
            format!(
                "# as it was given: scnnc {}\nscnnc {}\n",
                quoted(words),
                quoted(&words_of_command)
            ),
        )?;
        std::fs::write(
            folder.join("error.txt"),
            format!(
                "scnnc {}\n{}\nat {}\n\n{}\n",
                env!("CARGO_PKG_VERSION"),
                caught.message,
                caught.place,
                caught.backtrace
            ),
        )?;
        Ok(Self { folder, notes })
    }
}

/// A folder that was not there before: here, or where temporary files go.
fn new_folder() -> std::io::Result<PathBuf> {
    let mut last = std::io::Error::other("no folder can be created");
    for base in [PathBuf::from("."), std::env::temp_dir()] {
        for number in 1..100 {
            let folder = base.join(format!("scnnc-internal-error-{number}"));
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
    }
    Err(last)
}

/// A command line with another file in the place of the one it is about.
fn with_subject(words: &[OsString], subject: &Path, other: &std::ffi::OsStr) -> Vec<OsString> {
    let replace = |word: &OsString| {
        if word == subject.as_os_str() {
            other.to_owned()
        } else {
            word.clone()
        }
    };
    words.iter().map(replace).collect()
}

/// A command line without files of inputs.
fn without_inputs(words: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        if !INPUT_OPTIONS.contains(&name) {
            kept.push(word.clone());
        } else if !text.contains('=') {
            words.next();
        }
    }
    kept
}

/// A smaller model that fails in the same way.
struct Reduced {
    model: ModelProto,
    words: Vec<OsString>,
    note: String,
}

fn reduced(
    subject: &Path,
    invocation: &Invocation,
    folder: &Path,
    caught: &Caught,
) -> Option<Reduced> {
    let words = invocation.words.as_slice();
    let model = ModelProto::decode(std::fs::read(subject).ok()?.as_slice()).ok()?;
    let trial = folder.join("trial.onnx");
    let (begin, signature) = (Instant::now(), signature(caught));
    let still_fails = |model: &ModelProto, words: &[OsString]| {
        if begin.elapsed() > REDUCE_FOR || std::fs::write(&trial, model.encode_to_vec()).is_err() {
            return false;
        }
        let words = with_subject(words, subject, trial.as_os_str());
        repeat(invocation, &words, folder)
            .is_some_and(|said| said.lines().any(|line| line == signature))
    };
    messages::tell("scnnc: internal error; the model is being reduced to what makes it fail ...");
    let bare = without_inputs(words);
    let nodes = |model: &ModelProto| model.graph.as_ref().map_or(0, |graph| graph.node.len());
    let before = nodes(&model);
    let (model, words, noise) = if still_fails(&model, &bare) {
        let model =
            reduce::to_failing_nodes(subject, model, &mut |model| still_fails(model, &bare));
        let (model, noise) = reduce::to_noise(model, &mut |model| still_fails(model, &bare));
        (model, bare, noise)
    } else if still_fails(&model, words) {
        let (model, noise) = reduce::to_noise(model, &mut |model| still_fails(model, words));
        (model, words.to_vec(), noise)
    } else {
        let _ = std::fs::remove_file(&trial);
        return None;
    };
    let _ = std::fs::remove_file(&trial);
    let note = format!(
        "reduced from {before} nodes to {}; {}",
        nodes(&model),
        if noise {
            "its weights are seeded noise"
        } else {
            "some weights are the model's own, as noise does not fail"
        }
    );
    Some(Reduced { model, words, note })
}

/// What the command says on standard error; nothing when it takes too long.
fn repeat(invocation: &Invocation, words: &[OsString], folder: &Path) -> Option<String> {
    let said = folder.join("trial.txt");
    let mut child = invocation
        .command(words)?
        .arg("--reducing")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&said).ok()?)
        .spawn()
        .ok()?;
    let begin = Instant::now();
    let finished = loop {
        match child.try_wait() {
            Ok(Some(_)) => break true,
            Ok(None) if begin.elapsed() < ONE_RUN => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    let text = std::fs::read_to_string(&said).ok();
    let _ = std::fs::remove_file(&said);
    text.filter(|_| finished)
}
