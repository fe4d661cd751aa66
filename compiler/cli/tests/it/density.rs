//! The density model is right where its assumption holds: on tensors whose zeros are uniformly random.

use crate::binary::{json, printed};

const LAYERS: &str = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n\
                      wide, 30, 30, 3, 3, 64, 64, 1,\n\
                      pointwise, 14, 14, 1, 1, 192, 96, 1,\n\
                      strided, 29, 29, 3, 3, 48, 64, 2,\n\
                      large, 18, 18, 5, 5, 96, 32, 1,\n";

/// Products, steps of the fullest PE, cycles.
const COUNTS: [&str; 3] = ["products", "fullest_pe_steps", "cycles"];

/// The predicted and the counted sums over all layers.
fn sums(densities: &str, seed: &str, options: &[&str]) -> [[f64; 2]; 3] {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("t.csv"), LAYERS).unwrap();
    let make = [
        "zoo",
        "make",
        "--table",
        "t.csv",
        "--density",
        densities,
        "--seed",
        seed,
        "-q",
    ];
    printed(at, &make);
    let run = [
        "run", "t.onnx", "--input", "t.npz", "-q", "--timing", "fast", "--report", "r.json",
    ];
    printed(at, &[&run[..], options].concat());
    let report = json(&at.join("r.json"));
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    let mut sums = [[0.0; 2]; 3];
    for layer in layers {
        let model = &layer["density_model"];
        assert_eq!(model["products"], layer["multiplies"]["useful"]);
        for (sums, count) in sums.iter_mut().zip(COUNTS) {
            sums[0] += model[format!("predicted_{count}")].as_f64().unwrap();
            sums[1] += model[count].as_f64().unwrap();
        }
    }
    sums
}

/// A single layer's fullest PE varies by more than a hundredth from one draw to the next; sums over some draws do not.
#[test]
fn on_random_tensors_the_density_model_is_within_one_percent() {
    let paper = ["--mapping", "paper"];
    let barrier = ["--mapping", "paper", "--set", "sync.drift=group"];
    let multicast = ["--machine", "scnn-multicast"];
    for densities in ["0.35,0.45", "0.2,0.3"] {
        for options in [&paper[..], &barrier, &multicast] {
            let draws = ["1", "2", "3", "4"].map(|seed| sums(densities, seed, options));
            for (count, of) in COUNTS.iter().enumerate() {
                let [predicted, counted] =
                    [0, 1].map(|side| draws.iter().map(|draw| draw[count][side]).sum::<f64>());
                let error = predicted / counted - 1.0;
                assert!(
                    error.abs() < 0.01,
                    "{of} at {densities}, {options:?}: {error:+.4}"
                );
            }
        }
    }
}
