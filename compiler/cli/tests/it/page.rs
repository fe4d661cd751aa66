//! The page of a report, opened in a headless Chromium: it loads without a complaint, its charts have the report's
//! numbers, sorting, filtering and links work. Skipped, and said so, where there is no Chromium.

use crate::binary::printed;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

/// Drives the page of one report and leaves what it saw in an element of its own.
const DRIVER: &str = include_str!("page/driver.js");
/// The same for the page of two.
const TWO: &str = include_str!("page/two.js");

/// The browser; without one the test says that it skips.
pub fn chromium() -> Option<PathBuf> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders)
                .map(|folder| folder.join(name))
                .collect::<Vec<_>>()
        })
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: there is no chromium on the path");
    }
    found
}

fn scnnc(arguments: &[&str]) {
    printed(Path::new("."), arguments);
}

/// Finds labels that touch, and what leaves the page.
const FIT: &str = include_str!("page/fit.js");

/// What the driver saw on the page; the page must not have said anything on the console.
pub fn open(chromium: &Path, folder: &Path, page: &Path, driver: &str) -> Value {
    open_at(chromium, folder, page, driver, 1500)
}

/// The same in a window of a width, pixels.
fn open_at(chromium: &Path, folder: &Path, page: &Path, driver: &str, width: u32) -> Value {
    let text = std::fs::read_to_string(page).unwrap();
    let driven = folder.join("driven.html");
    let driver = format!("<script>{driver}</script></body>");
    std::fs::write(&driven, text.replace("</body>", &driver)).unwrap();
    // A browser that hangs is ended, and then the page was not driven.
    let output = std::process::Command::new("timeout")
        .arg("300")
        .arg(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--virtual-time-budget=20000",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--window-size={width},1000"))
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .arg(format!("file://{}", driven.display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    let (_, seen) = dom
        .split_once("id=\"seen\">")
        .unwrap_or_else(|| panic!("the page was not driven to its end:\n{log}"));
    let (seen, _) = seen.split_once("</script>").unwrap();
    serde_json::from_str(seen).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let items = value.as_array().unwrap().iter();
    items.map(|item| item.as_f64().unwrap()).collect()
}

/// The cells of a line of CSV.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().unwrap().push(other),
        }
    }
    cells
}

/// The sums under the table are those of the CSV, column by column, of one of two samples.
fn assert_sums(seen: &Value, csv: &Path) {
    let text = std::fs::read_to_string(csv).unwrap();
    let mut lines = text.lines().map(cells);
    let (names, rows): (Vec<String>, Vec<_>) = (lines.next().unwrap(), lines.collect());
    let mut summed = 0;
    for (name, shown) in seen["totals"].as_object().unwrap() {
        let column = names.iter().position(|known| known == name).unwrap();
        let sum: f64 = rows
            .iter()
            .filter_map(|row| row[column].parse::<f64>().ok())
            .sum();
        if let Ok(shown) = shown.as_str().unwrap().parse::<f64>()
            && name != "utilisation_ratio"
        {
            assert!(
                (shown - sum / 2.0).abs() <= 0.5 + 1e-9 * sum,
                "{name}: {shown} {sum}"
            );
            summed += 1;
        }
    }
    assert!(summed > 40, "{}", seen["totals"]);
}

/// Sorting, in the table and the charts alike.
fn assert_sorting(seen: &Value, layers: &[Value]) {
    let cycles = |layer: &Value| layer["cycles"]["total"].as_f64().unwrap();
    let names: Vec<String> = layers
        .iter()
        .map(|l| l["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts(&seen["inOrder"]), names);
    let down = numbers(&seen["byCycles"]);
    assert!(down.is_sorted_by(|a, b| a >= b), "{down:?}");
    assert!(numbers(&seen["byCyclesUp"]).is_sorted());
    let slowest = layers
        .iter()
        .max_by(|a, b| cycles(a).total_cmp(&cycles(b)))
        .unwrap();
    assert_eq!(texts(&seen["strip"])[0], slowest["name"].as_str().unwrap());
    assert!(texts(&seen["byName"]).is_sorted());
}

#[test]
fn the_page_shows_the_reports_numbers_and_sorts_and_filters_them() {
    let Some(chromium) = chromium() else {
        return;
    };
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, page, csv) = (file("r.json"), file("r.html"), file("r.csv"));
    let model = scnn_models::lenet5().display().to_string();
    let digits = scnn_models::lenet5_digits().display().to_string();
    scnnc(&[
        "run",
        &model,
        "--input",
        &digits,
        "--samples",
        "2",
        "--report",
        &json,
    ]);
    scnnc(&["report", &json, "-o", &page, "--csv", &csv]);
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let seen = open(&chromium, folder.path(), Path::new(&page), DRIVER);

    // The charts have the report's numbers: each tip is rounded to a cycle.
    let layers = report["layers"].as_array().unwrap();
    let cycles = |layer: &Value| layer["cycles"]["total"].as_f64().unwrap() / 2.0;
    let all: f64 = layers.iter().map(cycles).sum();
    let bars = seen["bars"].as_f64().unwrap();
    let near = |shown: &Value, value: f64| (shown.as_f64().unwrap() - value).abs() <= bars;
    assert!(near(&seen["cycles"], all), "{} {all}", seen["cycles"]);
    let dcnn = report["totals"]["baselines"]["dcnn"].as_f64().unwrap() / 2.0;
    assert!(near(&seen["dcnn"], dcnn), "{} {dcnn}", seen["dcnn"]);
    let predicted = report["totals"]["cycles"]["predicted"].as_f64().unwrap() / 2.0;
    let shown = &seen["predicted"];
    assert!(near(shown, predicted), "{shown} {predicted}");
    assert_sums(&seen, Path::new(&csv));
    // The cycles of every PE, of one of two samples; each number is rounded to a cycle.
    let pe_cycles: f64 = layers
        .iter()
        .flat_map(|layer| layer["pe_cycles"].as_object().unwrap().values())
        .flat_map(numbers)
        .sum();
    let shown = seen["peCycles"].as_f64().unwrap();
    let marks = seen["peMarks"].as_f64().unwrap();
    assert!(
        (shown - pe_cycles / 2.0).abs() <= marks,
        "{shown} {pe_cycles}"
    );
    assert_eq!(pe_cycles, 64.0 * 2.0 * all);
    // And their bars are as long as the numbers are large.
    let share = seen["firstWidth"].as_f64().unwrap() / seen["width"].as_f64().unwrap();
    assert!((share - cycles(&layers[0]) / all).abs() < 0.01, "{share}");
    assert_eq!(
        seen["charts"].as_array().unwrap().len(),
        11,
        "{}",
        seen["charts"]
    );
    assert!(
        seen["headline"]
            .as_str()
            .unwrap()
            .contains("fewer products")
    );

    let area: f64 = report["area_mm2"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_f64)
        .sum();
    let figures = seen["figures"].as_str().unwrap();
    assert!(figures.contains(&format!("{area:.2} mm")), "{figures}");
    assert_eq!(texts(&seen["bounds"]).len(), layers.len());
    assert_eq!(
        (&seen["keys"], &seen["searching"]),
        (&Value::Bool(true), &Value::from("search"))
    );

    assert_sorting(&seen, layers);

    // Searching by ONNX node, and filtering.
    let relu = |layer: &&Value| {
        texts(&layer["onnx_nodes"])
            .iter()
            .any(|node| node.to_lowercase().contains("relu"))
    };
    let with_relu = layers.iter().filter(relu).count();
    assert!(with_relu > 0 && with_relu < layers.len());
    assert_eq!(texts(&seen["searched"]).len(), with_relu);
    assert_eq!(seen["searchedStrip"], with_relu);
    let filtered = texts(&seen["filtered"]);
    assert!(!filtered.is_empty() && filtered.iter().all(|bound| *bound == seen["bound"]));

    // Every column of the CSV, links to instructions, both themes.
    let header = std::fs::read_to_string(&csv).unwrap();
    let header: Vec<&str> = header.lines().next().unwrap().split(',').skip(5).collect();
    assert_eq!(texts(&seen["columns"]), header);
    let (chosen, name) = (&seen["chosen"], layers[1]["name"].as_str().unwrap());
    assert!(chosen.as_str().unwrap().contains(name), "{chosen}");
    let code = seen["code"].as_str().unwrap();
    for line in layers[1]["code"].as_array().unwrap() {
        assert!(code.contains(line.as_str().unwrap()), "{line} in {code}");
    }
    assert_eq!(seen["themes"], true);
}

/// Two reports, one with accuracy, on wide and narrow pages.
#[test]
fn labels_do_not_touch_and_nothing_leaves_the_page() {
    let Some(chromium) = chromium() else {
        return;
    };
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (first, second, page) = (file("a.json"), file("b.json"), file("r.html"));
    let model = scnn_models::lenet5().display().to_string();
    scnnc(&["run", &model, "-q", "--check", "--report", &first]);
    let multicast = ["--machine", "scnn-multicast", "--report", &second];
    scnnc(&[&["run", &model, "-q"], &multicast[..]].concat());
    scnnc(&["report", &first, &second, "-o", &page]);
    for width in [1400, 900, 500] {
        let seen = open_at(&chromium, folder.path(), Path::new(&page), FIT, width);
        assert_eq!(seen["width"], width);
        assert!(seen["texts"].as_u64().unwrap() > 80, "{seen:#}");
        assert_eq!(seen["overlaps"], serde_json::json!([]), "at {width}");
        assert_eq!(seen["outside"], serde_json::json!([]), "at {width}");
        assert!(
            seen["scrolls"].as_u64().unwrap() <= u64::from(width),
            "{seen:#}"
        );
    }
}

#[test]
fn two_reports_stand_side_by_side_and_each_can_be_chosen() {
    let Some(chromium) = chromium() else {
        return;
    };
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (first, second, page) = (file("a.json"), file("b.json"), file("r.html"));
    let model = scnn_models::tiny().display().to_string();
    scnnc(&["run", &model, "-q", "--report", &first]);
    let paper = ["--mapping", "paper", "--machine", "scnn-16pe"];
    scnnc(&[&["run", &model, "-q", "--report", &second], &paper[..]].concat());
    scnnc(&["report", &first, &second, "-o", &page]);
    let cycles = [&first, &second].map(|file| {
        let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let layers = report["layers"].as_array().unwrap().clone();
        layers
            .iter()
            .map(|layer| layer["cycles"]["total"].as_f64().unwrap())
            .collect::<Vec<_>>()
    });
    let sums: Vec<f64> = cycles.iter().map(|cycles| cycles.iter().sum()).collect();
    let seen = open(&chromium, folder.path(), Path::new(&page), TWO);
    let all = cycles.concat();
    assert_eq!(numbers(&seen["rows"]), sums);
    assert_eq!(
        seen["bars"],
        all.iter().filter(|cycles| **cycles > 0.0).count()
    );
    assert_eq!(seen["cycles"].as_f64().unwrap(), all.iter().sum::<f64>());
    let subjects = texts(&seen["subjects"]);
    assert!(subjects[0].contains("On scnn (8 x 8"), "{subjects:?}");
    assert!(subjects[1].contains("On scnn-16pe (4 x 4"), "{subjects:?}");
}
