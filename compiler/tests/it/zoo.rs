//! Every network of the zoo: made, compiled, executed, checked against interpreter and float model.

use assert_cmd::Command;
use scnn_models::zoo::{DENSITIES, Densities, NETWORKS, Network, Options, make};
use scnn_simulator::report::Report;
use std::fmt::Write;
use std::path::Path;
use tempfile::tempdir;

fn options() -> Options {
    Options {
        seed: 1,
        densities: scnn_isa::yaml::from_str::<Densities>(DENSITIES).unwrap(),
        weights: None,
        inputs: None,
    }
}

fn scnnc(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::cargo_bin("scnnc")
        .unwrap()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scnnc {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_network_of_the_zoo_agrees() {
    for Network { name, .. } in NETWORKS {
        let folder = tempdir().unwrap();
        scnnc(folder.path(), &["zoo", "make", name, "--quiet"]);
        let (model, image) = (format!("{name}.onnx"), format!("{name}.npy"));
        let text = scnnc(
            folder.path(),
            &[
                "run", &model, "--input", &image, "--check", "--quiet", "--report", "r.json",
            ],
        );
        slots_sum_exactly(&std::fs::read(folder.path().join("r.json")).unwrap());
        let line = text.lines().find(|line| line.starts_with("check")).unwrap();
        let ratio = line
            .split(" dB")
            .next()
            .and_then(|l| l.split(' ').next_back());
        let ratio: f64 = ratio.unwrap().parse().unwrap();
        assert!(
            line.contains("bit-exact") && ratio >= 50.0,
            "{name}: {line}"
        );
    }
}

/// The causes divide cycles x multipliers without remainder, in every layer and in total.
fn slots_sum_exactly(report: &[u8]) {
    let report: Report = serde_json::from_slice(report).unwrap();
    let all = |cycles: u64| cycles * report.multipliers;
    for layer in &report.layers {
        assert_eq!(
            layer.costs.cycles.slots.total(),
            all(layer.costs.cycles.total),
            "{}",
            layer.name
        );
    }
    let totals = &report.totals;
    assert_eq!(totals.cycles.slots.total(), all(totals.cycles.total));
    assert_eq!(
        totals.cycles.total,
        report
            .layers
            .iter()
            .map(|layer| layer.costs.cycles.total)
            .sum::<u64>()
    );
}

/// Half a point, wherever a density is published or decided by a `ReLU`.
#[test]
fn layers_read_activations_of_the_wanted_density() {
    let mut wanted = String::new();
    for network in NETWORKS {
        let made = make(network, &options(), &mut std::io::sink(), &mut |_| ()).unwrap();
        writeln!(wanted, "{}", network.name).unwrap();
        for layer in &made.layers {
            let input = layer
                .wanted_input
                .map_or_else(|| "-".to_owned(), |d| format!("{d:.3}"));
            writeln!(
                wanted,
                "  {:40} {:.3} {input}",
                layer.name, layer.wanted_weights
            )
            .unwrap();
            let near = |reached: f64, wanted: f64| (reached - wanted).abs() <= 0.0075;
            let name = format!("{}: {layer:?}", network.name);
            // A layer of a few hundred weights cannot hit every share.
            assert!(near(layer.reached.weights, layer.wanted_weights), "{name}");
            assert!(
                layer
                    .wanted_input
                    .is_none_or(|d| near(layer.reached.input, d)),
                "{name}"
            );
            if network.name == "alexnet" || network.name == "googlenet" || network.name == "vgg16" {
                let input = layer.wanted_input.unwrap_or(layer.reached.input);
                assert!((layer.reached.input - input).abs() <= 0.005, "{name}");
            }
        }
    }
    insta::with_settings!({
        snapshot_path => "../../../snapshots/zoo", prepend_module_to_snapshot => false, omit_expression => true
    }, { insta::assert_snapshot!("densities", wanted) });
}

#[test]
fn results_and_counts_do_not_depend_on_threads() {
    let folder = tempdir().unwrap();
    scnnc(folder.path(), &["zoo", "make", "squeezenet", "--quiet"]);
    let run = |threads: &str, number: u32| {
        let (report, program) = (format!("{number}.json"), format!("{number}.scnn"));
        let calibrate = [
            "--calibrate",
            "squeezenet.npy",
            "--quiet",
            "--threads",
            threads,
        ];
        let compile = ["compile", "squeezenet.onnx", "-o", &program];
        scnnc(folder.path(), &[&compile[..], &calibrate[..]].concat());
        let input = ["--input", "squeezenet.npy", "--threads", threads];
        let simulate = ["run", &program, "--report", &report];
        scnnc(folder.path(), &[&simulate[..], &input[..]].concat());
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        (read(&program), read(&report))
    };
    let first = run("1", 1);
    assert!(first == run("3", 2), "another number of threads");
    assert!(first == run("3", 3), "another run");
}
