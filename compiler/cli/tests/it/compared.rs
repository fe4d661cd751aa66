//! What a run is compared with, in its report: JSON, text and page say the same. A program is checked without its model.

use crate::binary::{json, printed, refused, said};
use crate::page::{chromium, open};
use serde_json::Value;
use tempfile::tempdir;

fn lenet() -> [String; 2] {
    [scnn_models::lenet5(), scnn_models::lenet5_digits()].map(|path| path.display().to_string())
}

#[test]
fn a_program_is_checked_without_its_model_and_the_check_says_what_it_cannot_judge() {
    let folder = tempdir().unwrap();
    let at = folder.path();
    let [model, digits] = lenet();
    printed(at, &["compile", "-q", &model, "-o", "p.scnn"]);
    let run = ["run", "-q", "p.scnn", "--input", &digits, "--samples", "2"];
    let text = printed(at, &[&run[..], &["--check", "--report", "p.json"]].concat());
    assert!(
        text.contains("8 tensors equal the integer interpreter's"),
        "{text}"
    );
    assert!(text.contains("only the model tells"), "{text}");
    assert!(!text.contains("float model"), "{text}");
    let compared = &json(&at.join("p.json"))["comparison"];
    assert_eq!(compared["bit_exact_tensors"], 8);
    for unknown in ["reference", "sqnr_db", "agreeing", "correct"] {
        assert_eq!(compared[unknown], Value::Null, "{unknown}");
    }
    let labelled = [&run[..], &["--check", "--labels", &digits]].concat();
    let text = printed(at, &labelled);
    assert!(text.contains("accuracy  100.0 % of 2 samples"), "{text}");
    assert!(!text.contains("float model"), "{text}");
    let other = [&run[..], &["--check", "--reference", "onnxruntime"]].concat();
    let text = refused(at, &other, 2);
    assert!(text.contains("give the .onnx file"), "{text}");
}

/// Six digits with labels, against the float model.
#[test]
fn text_json_csv_and_page_agree_on_accuracy() {
    let folder = tempdir().unwrap();
    let at = folder.path();
    let [model, digits] = lenet();
    let run = ["run", "-q", &model, "--input", &digits, "--samples", "6"];
    let checks = ["--check", "--labels", &digits, "--report", "r.json"];
    let text = printed(at, &[&run[..], &checks[..]].concat());
    let report = json(&at.join("r.json"));
    let compared = &report["comparison"];
    let number = |field: &str| compared[field].as_f64().unwrap();
    assert_eq!((number("images"), number("bit_exact_tensors")), (6.0, 24.0));
    let line = format!(
        "against the float model {:.1} dB, errors at most {:.3e} and {:.3e} in the mean, top-1 agrees on {} of 6",
        number("sqnr_db"),
        number("largest_error"),
        number("mean_error"),
        compared["agreeing"]
    );
    assert!(text.contains(&line), "{line}\n{text}");
    // The report printed again has the lines of the run.
    let again = printed(at, &["report", "r.json"]);
    assert!(again.contains(&line), "{again}");
    assert!(
        again.contains("accuracy  100.0 % of 6 samples (float model 100.0 %)"),
        "{again}"
    );
    assert_eq!((number("correct"), number("reference_correct")), (6.0, 6.0));

    printed(at, &["report", "r.json", "--csv", "r.csv", "-o", "r.html"]);
    let csv = std::fs::read_to_string(at.join("r.csv")).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    let column = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let layers = report["layers"].as_array().unwrap();
    let fields = [
        ("sqnr_db", "sqnr_db"),
        ("largest_error_value", "largest_error"),
        ("mean_error_value", "mean_error"),
        ("saturated_ratio", "saturated"),
    ];
    for (layer, cells) in layers.iter().zip(lines) {
        for (name, field) in fields {
            let cell: f64 = cells[column(name)].parse().unwrap();
            assert_eq!(Some(cell), layer["accuracy"][field].as_f64(), "{name}");
        }
    }

    let Some(chromium) = chromium() else {
        return;
    };
    let driver = r##"
        const done = document.createElement("script");
        done.type = "application/json";
        done.id = "seen";
        done.textContent = JSON.stringify({
          figures: document.getElementById("figures").textContent,
          sqnr: [...document.querySelectorAll("#sqnr-chart [data-tip]")].map((mark) => mark.dataset.tip.split("\n")[1]),
        });
        document.body.append(done);
    "##;
    let seen = open(&chromium, at, &at.join("r.html"), driver);
    let figures = seen["figures"].as_str().unwrap();
    for shown in [
        &format!("{:.1} dB", number("sqnr_db")),
        "100.0\u{a0}%top-1 accuracy on 6 images",
        "24 tensors equal",
    ] {
        assert!(figures.contains(shown), "{shown}\n{figures}");
    }
    let shown: Vec<String> = layers
        .iter()
        .map(|layer| {
            format!(
                "SQNR: {:.1} dB",
                layer["accuracy"]["sqnr_db"].as_f64().unwrap()
            )
        })
        .collect();
    assert_eq!(seen["sqnr"], serde_json::json!(shown));
}

#[test]
fn several_reports_begin_with_what_differs() {
    let folder = tempdir().unwrap();
    let at = folder.path();
    let [model, _] = lenet();
    let on = |machine: &[&str], file: &str| {
        let run = ["run", "-q", &model, "--report", file];
        printed(at, &[&run[..], machine].concat());
        json(&at.join(file))
    };
    let first = on(&[], "a.json");
    let second = on(&["--set", "pe.banks=16"], "b.json");
    let text = printed(at, &["report", "a.json", "b.json"]);
    let (head, rest) = text.split_once("lenet5 on scnn, timing").unwrap();
    assert!(head.contains("\npe.banks: 32 banks | 16 banks\n"), "{head}");
    assert!(!head.contains("array.rows"), "{head}");
    let cycles = |report: &Value| report["totals"]["cycles"]["total"].as_f64().unwrap();
    let factor = format!("{:.2}x", cycles(&second) / cycles(&first));
    let run = head
        .lines()
        .find(|line| line.contains(" 2: lenet5"))
        .unwrap();
    assert!(run.contains(&factor), "{factor}\n{head}");
    assert!(
        rest.contains("lenet5 on scnn+pe.banks=16, timing"),
        "{rest}"
    );

    let text = printed(at, &["report", "a.json", "a.json"]);
    assert!(text.contains("no setting differs"), "{text}");
    assert!(text.contains("no layer's cycles differ"), "{text}");
    let one = said(at, ["report", "a.json"]);
    assert!(one.out.starts_with("lenet5 on scnn, timing"), "{}", one.out);
}
