//! What the binary says without a model: help, tables, machines.

use crate::binary::command;
use std::path::Path;

fn said(arguments: &[&str]) -> String {
    let output = command(Path::new("."))
        .env("COLUMNS", "110")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "scnnc {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

macro_rules! assert_said {
    ($name:expr, $arguments:expr) => {
        insta::with_settings!({
            snapshot_path => "../../../../snapshots/command-line", prepend_module_to_snapshot => false,
            omit_expression => true
        }, { insta::assert_snapshot!($name, said($arguments)) });
    };
}

#[test]
fn help() {
    assert_said!("help", &["--help"]);
    let verbs = said(&["--help"]);
    let listed = verbs
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // What a verb does may go on in the next line.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help");
    for verb in listed {
        assert_said!(format!("help-{verb}"), &[verb, "--help"]);
    }
}

#[test]
fn operators() {
    assert_said!("ops", &["ops"]);
}

#[test]
fn machines() {
    assert_said!("machine-list", &["machine", "list"]);
    assert_said!("machine-show", &["machine", "show", "scnn"]);
}
