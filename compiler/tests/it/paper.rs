//! `scnnc paper`: its sections, files and refusals; the whole evaluation takes minutes and is no test.

use assert_cmd::Command;
use tempfile::tempdir;

fn paper(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("scnnc").unwrap();
    command.arg("paper").args(arguments).output().unwrap()
}

#[test]
fn files_hold_what_is_printed() {
    let folder = tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let output = paper(&["--only", "area", "--check", "-o", to]);
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("7.94 mm2"), "{printed}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("paper.json")).unwrap();
    let findings = json["sections"][0]["findings"].as_array().unwrap();
    let csv = read("findings.csv");
    for finding in findings {
        let row = format!("area,{},", finding["key"].as_str().unwrap());
        let line = csv.lines().find(|line| line.starts_with(&row)).unwrap();
        let fields: Vec<f64> = line
            .split(',')
            .skip(2)
            .take(2)
            .map(|f| f.parse().unwrap())
            .collect();
        for (field, name) in fields.iter().zip(["published", "ours"]) {
            // The reader of JSON rounds the last digit.
            assert!(
                (finding[name].as_f64().unwrap() - field).abs() < 1e-12,
                "{line}"
            );
        }
    }
    assert_eq!(csv.lines().count(), 1 + findings.len());
    assert_eq!(read("area.csv").lines().count(), 7);
}

#[test]
fn an_unknown_section_is_refused_with_those_there_are() {
    let output = paper(&["--only", "figure-11"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("`figure-11`") && error.contains("sweep"),
        "{error}"
    );
}
