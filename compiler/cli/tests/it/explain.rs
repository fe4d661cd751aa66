//! `scnnc explain`: what it says of a layer holds, as text and as JSON.

use crate::binary::printed;
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

fn explain(arguments: &[&str]) -> String {
    let lenet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/lenet5.onnx");
    let lenet = lenet.to_str().unwrap();
    printed(
        Path::new("."),
        &[&["explain", "-q", lenet], arguments].concat(),
    )
}

fn layers(arguments: &[&str]) -> Vec<Value> {
    let json: Value = serde_json::from_str(&explain(&[arguments, &["--json"]].concat())).unwrap();
    json["layers"].as_array().unwrap().clone()
}

/// The lines about a layer.
fn block<'a>(text: &'a str, layer: &str) -> &'a str {
    let start = text.find(&format!("\n{layer}\n")).unwrap() + 1;
    let end = text[start..].find("\n\n").unwrap();
    &text[start..start + end]
}

#[test]
fn text_and_json_tell_the_same_of_every_layer() {
    let text = explain(&[]);
    let layers = layers(&[]);
    assert_eq!(layers.len(), 4);
    for layer in &layers {
        let block = block(&text, layer["name"].as_str().unwrap());
        for field in ["mapping", "memory"] {
            let words = layer[field].as_str().unwrap();
            assert!(block.contains(words), "{field}: {words}\n{block}");
        }
        let loss = layer["lost_to"].as_str().unwrap().replace('_', " ");
        let line = format!("  lost to     {loss}:");
        assert!(block.to_lowercase().contains(&line), "{line}\n{block}");
        let runners_up = layer["runners_up"].as_array().unwrap();
        assert_eq!(block.matches(" cycles (").count(), runners_up.len());
        for other in runners_up {
            let line = format!(" {}", other["mapping"].as_str().unwrap());
            assert!(block.contains(&line), "{line}\n{block}");
        }
        for other in layer["excluded"].as_array().unwrap() {
            let line = format!(
                "{}: {} exceeded by {} bytes",
                other["mapping"].as_str().unwrap(),
                other["buffer"].as_str().unwrap(),
                other["exceeded_bytes"]
            );
            assert!(block.contains(&line), "{line}\n{block}");
        }
    }
}

#[test]
fn slots_are_shares_of_one_and_no_layer_is_below_its_bounds() {
    for layer in layers(&["--machine", "scnn-multicast"]) {
        let slots = layer["slots_ratio"].as_object().unwrap();
        let sum: f64 = slots.values().map(|share| share.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{layer:#}");
        for bound in layer["array"]["bound_cycles"].as_object().unwrap().values() {
            for cycles in ["predicted_cycles", "cycles"] {
                assert!(bound.as_u64() <= layer[cycles].as_u64(), "{layer:#}");
            }
        }
        assert!(
            layer["array"]["accumulators_used"].as_u64() <= layer["array"]["accumulators"].as_u64()
        );
    }
}

/// `fc2` has ten output channels and one cut: six ways to group them, of which one is chosen.
#[test]
fn runners_up_are_ten_other_mappings_where_there_are_as_many_the_best_first() {
    for layer in layers(&[]) {
        let others = layer["runners_up"].as_array().unwrap();
        let legal = if layer["name"] == "/fc2/Gemm" { 5 } else { 10 };
        assert_eq!(others.len(), legal, "{layer:#}");
        let cycles = others
            .iter()
            .map(|other| other["predicted_cycles"].as_u64());
        assert!(cycles.is_sorted(), "{layer:#}");
        let mut mappings: Vec<&str> = others
            .iter()
            .map(|other| other["mapping"].as_str().unwrap())
            .collect();
        mappings.sort_unstable();
        assert!(
            mappings.windows(2).all(|pair| pair[0] != pair[1]),
            "{layer:#}"
        );
    }
}

#[test]
fn runners_up_of_a_mapping_for_energy_are_ordered_by_energy() {
    for layer in layers(&["--objective", "energy"]) {
        let others = layer["runners_up"].as_array().unwrap();
        let energy = others
            .iter()
            .map(|other| other["predicted_energy_pj"].as_f64().unwrap());
        assert!(energy.clone().is_sorted(), "{layer:#}");
        assert!(energy.clone().all(|pj| pj > 0.0), "{layer:#}");
    }
}

/// A convolution of 12 x 12 inputs, whose 64 PEs are 16 groups: each position of the plane is in one PE of each.
#[test]
fn the_tiles_that_are_drawn_hold_the_plane_once() {
    let text = explain(&["--machine", "scnn-multicast", "--layer", "/conv2/Conv"]);
    assert!(text.contains("4 x 4 PE groups"), "{text}");
    assert!(text.contains("16 such groups on the 8 x 8 array"), "{text}");
    let rows = text.lines().filter(|line| line.starts_with("    y"));
    let positions: u32 = rows
        .flat_map(|row| row.split('|').skip(1))
        .filter_map(|cell| cell.trim().parse::<u32>().ok())
        .sum();
    assert_eq!(positions, 144, "{text}");
    assert!(!text.contains("/conv1/Conv"), "{text}");
}

/// The bytes by which the buffer of `layer` that excludes `mapping` is too small on a machine like `scnn` with `changes`,
/// none where it is not.
fn missing_bytes(changes: &str, layer: &str, mapping: &str) -> Option<u64> {
    let folder = tempdir().unwrap();
    let machine = folder.path().join("small.yaml");
    let yaml = format!("extends: scnn\nname: small\n{changes}\n");
    std::fs::write(&machine, yaml).unwrap();
    let machine = machine.to_str().unwrap();
    let layers = layers(&["--machine", machine, "--mapping", "paper", "--layer", layer]);
    let excluded = layers[0]["excluded"].as_array().unwrap();
    let exceeded = excluded.iter().find(|other| other["mapping"] == mapping)?;
    exceeded["exceeded_bytes"].as_u64()
}

#[test]
fn a_ram_with_the_missing_bytes_excludes_the_layer_no_more() {
    let missing = |ram: u64| {
        let changes = format!("activation_ram: {{a_bytes: {ram}, b_bytes: {ram}}}");
        missing_bytes(&changes, "/conv2/Conv", "all of the source in a RAM")
    };
    let bytes = missing(200).unwrap();
    assert_eq!(missing(200 + bytes), None);
    assert!(missing(200 + bytes - 5).is_some());
}

/// A vector of the FIFO is ten bytes.
#[test]
fn a_fifo_with_the_missing_vectors_takes_the_block_in_one_piece() {
    let missing = |vectors: u64| {
        let changes = format!("weights: {{fifo_vectors: {vectors}}}");
        let mapping = "the largest block of weights in one piece";
        missing_bytes(&changes, "/conv2/Conv", mapping)
    };
    let vectors = missing(4).unwrap().div_ceil(10);
    assert_eq!(missing(4 + vectors), None);
    assert!(missing(4 + vectors - 1).is_some());
}

/// An accumulator has three bytes.
#[test]
fn accumulators_with_the_missing_bytes_exclude_the_cut_no_more() {
    let missing = |entries: u64| {
        let changes = format!("pe: {{banks: 1, entries_per_bank: {entries}}}");
        missing_bytes(&changes, "/conv2/Conv", "1 PE group")
    };
    let bytes = missing(20).unwrap();
    assert_eq!(bytes % 3, 0);
    assert_eq!(missing(20 + bytes / 3), None);
    assert!(missing(20 + bytes / 3 - 1).is_some());
}

/// The bytes that a RAM of `ram` bytes lacks for the tensor between the two convolutions, by the memory plan; none where the
/// tensor has a place.
fn missing_ram_bytes(ram: u64) -> Option<u64> {
    let folder = tempdir().unwrap();
    let machine = folder.path().join("small.yaml");
    let yaml =
        format!("extends: scnn\nname: small\nactivation_ram: {{a_bytes: {ram}, b_bytes: {ram}}}\n");
    std::fs::write(&machine, yaml).unwrap();
    let arguments = ["--machine", machine.to_str().unwrap(), "--mapping", "paper"];
    let text = explain(&[&arguments[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&text).unwrap();
    let plan = &json["memory_plan"];
    let of_tensor = |entry: &&Value| entry["tensor"] == "/pool1/MaxPool_output_0";
    let in_dram = plan["in_dram"].as_array().unwrap();
    let places = plan["places"].as_array().unwrap();
    let entry = in_dram.iter().find(of_tensor);
    let mut homes = places.iter().filter(of_tensor);
    assert_eq!(entry.is_none(), homes.any(|place| place["loaded"] == false));
    entry.map(|entry| {
        assert_eq!(entry["reason"], "exceeds", "{entry:#}");
        entry["missing_bytes"].as_u64().unwrap()
    })
}

#[test]
fn a_tensor_in_dram_lacks_the_bytes_that_the_plan_says() {
    let bytes = missing_ram_bytes(120).unwrap();
    // An element has 20 bits, and an eighth of a RAM is kept free for loads.
    let enough = 120 + bytes * 8 / 7 + 5;
    assert_eq!(missing_ram_bytes(enough), None);
    assert!(missing_ram_bytes(enough - 10).is_some());
}

#[test]
fn what_only_the_host_reads_or_writes_is_in_dram_for_that() {
    let json: Value = serde_json::from_str(&explain(&["--json"])).unwrap();
    let in_dram = json["memory_plan"]["in_dram"].as_array().unwrap();
    let reasons: Vec<[&str; 2]> = in_dram
        .iter()
        .map(|entry| ["tensor", "reason"].map(|field| entry[field].as_str().unwrap()))
        .collect();
    assert_eq!(reasons, [["image", "from_host"], ["logits", "to_host"]]);
}

/// A line of the memory plan: operations, the RAM, its elements.
fn planned(line: &str) -> Option<([u64; 2], char, [u64; 2])> {
    let mut words = line.split_whitespace();
    let range = |word: &str| {
        let (from, to) = word.split_once("..")?;
        Some([from.parse().ok()?, to.parse().ok()?])
    };
    let operations = range(words.next()?)?;
    let memory = words.next()?.chars().next()?;
    Some((operations, memory, range(words.next()?)?))
}

#[test]
fn what_the_memory_plan_holds_at_once_does_not_overlap_and_reaches_its_peak() {
    let text = explain(&[]);
    let places: Vec<_> = text.lines().filter_map(planned).collect();
    // One for each tensor that lives in a RAM, and one or two for the image that is loaded.
    assert!((4..=5).contains(&places.len()), "{text}");
    let meet = |a: [u64; 2], b: [u64; 2]| a[0] <= b[1] && b[0] <= a[1];
    for (index, (operations, memory, elements)) in places.iter().enumerate() {
        for (other_steps, other_memory, other_elements) in &places[..index] {
            let apart = elements[0] >= other_elements[1] || other_elements[0] >= elements[1];
            assert!(
                memory != other_memory || !meet(*operations, *other_steps) || apart,
                "{text}"
            );
        }
    }
    for ram in ['A', 'B'] {
        let of_ram = || places.iter().filter(|(_, memory, _)| *memory == ram);
        let held = |operation| {
            of_ram()
                .filter(|(operations, ..)| meet(*operations, [operation, operation]))
                .map(|(_, _, [from, to])| to - from)
                .sum::<u64>()
        };
        let peak = (0..4).map(held).max().unwrap();
        let line = format!("peak of RAM {ram}: {peak} of 4096 elements");
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[test]
fn what_crosses_the_host_link_is_told_with_its_placement_and_its_reason() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny.onnx");
    let arguments = ["explain", "-q", tiny.to_str().unwrap()];
    let text = printed(Path::new("."), &arguments);
    let json = printed(Path::new("."), &[&arguments[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let [segment] = &json["host_segments"].as_array().unwrap()[..] else {
        panic!("{json}");
    };
    assert_eq!(segment["takes"][0]["shape"], serde_json::json!([1, 10]));
    // The model's own output is no traffic of the link.
    assert_eq!(segment["gives"], serde_json::json!([]));
    let reason = segment["reasons"][0].as_str().unwrap();
    assert!(reason.contains("Softmax"), "{reason}");
    assert!(text.contains(&format!("because   {reason}")), "{text}");
}
