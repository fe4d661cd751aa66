//! The page and the figures of a sweep: they show what the table has. The page is opened in a headless Chromium; skipped,
//! and said so, where there is none.

use crate::binary::{printed, refused};
use crate::page::{chromium, open};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// Two networks, a point that fails, and points of which some are better than others.
const SPEC: &str = "
models: [{file: m.onnx, input: d.npz, labels: l.npz, name: one}, {file: m.onnx, input: d.npz, labels: l.npz, name: two, calibrate: d.npz}]
base: {fidelity: fast, samples: 2}
grid: {pe.accumulator_bits: [8, 24], pe.banks: [16, 32], array.rows: [4, 8], mapping: [paper, search]}
";

fn swept() -> TempDir {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(scnn_models::lenet5(), file("m.onnx")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("d.npz")).unwrap();
    std::fs::copy(scnn_models::lenet5_digits(), file("l.npz")).unwrap();
    std::fs::write(file("s.yaml"), SPEC).unwrap();
    printed(folder.path(), &["sweep", "s.yaml", "-o", "out", "-q"]);
    folder
}

/// A point of `points.csv`: number, model, and cycles, energy, area, accuracy if it was measured.
struct Point {
    number: i64,
    model: String,
    measures: Option<[f64; 4]>,
}

fn points(folder: &Path) -> Vec<Point> {
    let text = std::fs::read_to_string(folder.join("out/points.csv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let read = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |name: &str| cells[names.iter().position(|known| *known == name).unwrap()];
        let columns = ["total_cycles", "total_energy_pj", "area_mm2", "top1_ratio"];
        let numbers: Vec<f64> = columns
            .iter()
            .filter_map(|name| cell(name).parse().ok())
            .collect();
        Point {
            number: cell("point").parse().unwrap(),
            model: cell("model").to_owned(),
            measures: numbers.try_into().ok(),
        }
    };
    lines.map(read).collect()
}

/// The points of a model that no other is at least as good as in all measures, and better in one.
fn front(points: &[Point], model: &str) -> Vec<i64> {
    let measured: Vec<(i64, [f64; 4])> = points
        .iter()
        .filter(|point| point.model == model)
        .filter_map(|point| Some((point.number, point.measures?)))
        .map(|(number, [cycles, energy, area, top1])| (number, [cycles, energy, area, -top1]))
        .collect();
    let better = |a: &[f64; 4], b: &[f64; 4]| {
        a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
    };
    let kept = measured
        .iter()
        .filter(|(_, point)| !measured.iter().any(|(_, other)| better(other, point)));
    kept.map(|(number, _)| *number).collect()
}

#[test]
fn the_page_shows_the_points_their_front_and_what_is_chosen() {
    let Some(chromium) = chromium() else {
        return;
    };
    let folder = swept();
    let path = folder.path();
    printed(path, &["sweep", "report", "out", "-o", "s.html"]);
    let seen = open(
        &chromium,
        path,
        &path.join("s.html"),
        include_str!("page/sweep.js"),
    );
    let points = points(path);
    let of_model = |model: &'static str| points.iter().filter(move |point| point.model == model);
    let measured = of_model("one").filter(|p| p.measures.is_some()).count();
    assert!(measured >= 8 && measured < of_model("one").count());
    assert_eq!(seen["models"], json!(["one", "two"]));
    assert_eq!(seen["pairs"].as_array().unwrap().len(), 6);
    // Those of the front are drawn twice, above the others.
    assert!(seen["dots"].as_u64().unwrap() as usize > measured);
    assert!(!seen["names"].as_array().unwrap().is_empty());
    assert!(seen["tip"].as_str().unwrap().contains("top-1 accuracy: "));
    assert_eq!(seen["lines"], json!(measured));
    assert!(seen["across"].as_u64().unwrap() > 0);
    assert_eq!(
        seen["effects"].as_array().unwrap().len(),
        3,
        "what varies where anything is measured"
    );
    let sorted = |value: &Value| {
        let numbers = value.as_array().unwrap().iter();
        let mut numbers: Vec<i64> = numbers.map(|n| n.as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(sorted(&seen["best"]), front(&points, "one"));
    let numbers = |model: &'static str| of_model(model).map(|p| p.number).collect::<Vec<_>>();
    assert_eq!(seen["rows"], json!(numbers("one")));
    assert_eq!(sorted(&seen["second"]), numbers("two"));
    let cycles = |value: &Value| -> Vec<f64> {
        let numbers = value.as_array().unwrap().iter();
        let find = |number: &Value| points.iter().find(|p| Some(p.number) == number.as_i64());
        let cycles = numbers.filter_map(|number| Some(find(number)?.measures?[0]));
        cycles.collect()
    };
    assert!(cycles(&seen["byCycles"]).is_sorted_by(|a, b| a <= b));
    assert!(cycles(&seen["byCyclesDown"]).is_sorted_by(|a, b| a >= b));
    let failed = of_model("one").filter(|p| p.measures.is_none());
    assert_eq!(
        seen["failed"],
        json!(failed.map(|p| p.number).collect::<Vec<_>>())
    );
    assert!(seen["chosen"].as_str().unwrap().contains("one on scnn"));
    assert!(seen["marked"].as_u64().unwrap() >= 1);
    let fastest = cycles(&seen["fastest"]);
    let least = of_model("one").filter_map(|p| Some(p.measures?[0]));
    let least = least.fold(f64::INFINITY, f64::min);
    assert!(!fastest.is_empty() && fastest.iter().all(|cycles| *cycles == least));
}

#[test]
fn figures_have_titles_of_axes_every_network_and_the_title_that_was_chosen() {
    let folder = swept();
    let path = folder.path();
    printed(path, &["sweep", "report", "out", "--svg", "svg"]);
    let read = |name: &str| std::fs::read_to_string(path.join("svg").join(name)).unwrap();
    let measured = points(path).iter().filter(|p| p.measures.is_some()).count();
    let front = read("front-cycles-area.svg");
    assert!(front.contains(">cycles<") && front.contains(">area, mm\u{b2}<"));
    assert!(front.contains(">one<") && front.contains(">two<"));
    let dots = front.matches("r=\"2\"").count();
    assert_eq!(dots, measured);
    assert!(!front.contains("font-size=\"12\""), "nobody chose a title");
    let machines = read("machines-energy.svg");
    assert!(machines.contains("<title>two "));
    let title = [
        "sweep",
        "report",
        "out",
        "--svg",
        "svg",
        "--title",
        "Ours & theirs",
    ];
    printed(path, &title);
    assert!(read("machines-energy.svg").contains(">Ours &amp; theirs<"));
    let said = refused(path, &["sweep", "report", "svg", "-o", "x.html"], 1);
    assert!(said.contains("there is no sweep.json in it"), "{said}");
    let said = refused(path, &["sweep", "report", "out"], 2);
    assert!(said.contains("--output"), "{said}");
}
