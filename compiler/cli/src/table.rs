//! The report as a table for people, and units.

use super::grid;
use scnn_simulator::report::columns::memory_name;
use scnn_simulator::report::{Layer, Report};
use std::fmt::Write;

/// Columns of the table: name, whether it holds numbers, and how early it gives way on a narrow terminal (0: never).
const COLUMNS: [(&str, bool, u8); 12] = [
    ("layer", false, 0),
    ("shape", false, 3),
    ("w", true, 4),
    ("in", true, 5),
    ("out", true, 1),
    ("mapping", false, 2),
    ("cycles", true, 0),
    ("useful", true, 6),
    ("lost to", false, 7),
    ("vs DCNN", true, 0),
    ("energy", true, 0),
    ("SQNR", true, 8),
];

/// The layers of a report and its totals, as means per inference; the last line is the headline.
pub fn report(report: &Report) -> String {
    let mut table = grid::plain(&COLUMNS.map(|(name, _, _)| name));
    for layer in &report.layers {
        table.add_row(row(layer, f64::from(report.samples)));
    }
    let numbers = COLUMNS.iter().enumerate();
    grid::right(
        &mut table,
        numbers.filter_map(|(index, (_, number, _))| number.then_some(index)),
    );
    if !report.layers.iter().any(|layer| layer.accuracy.is_some()) {
        grid::hide(&mut table, COLUMNS.len() - 1);
    }
    let mut yields: Vec<usize> = (0..COLUMNS.len()).filter(|&c| COLUMNS[c].2 > 0).collect();
    yields.sort_by_key(|&column| COLUMNS[column].2);
    format!(
        "{} on {}, {}\n\n{}\n\n{}",
        report.model,
        report.machine,
        how_counted(report),
        grid::fitted(table, &yields),
        summary(report)
    )
}

/// The lines about what the results were compared with; nothing where they were not.
pub fn comparison(report: &Report) -> String {
    let Some(compared) = &report.comparison else {
        return String::new();
    };
    let mut text = String::new();
    // Writing to a string does not fail.
    if let Some(tensors) = compared.bit_exact_tensors {
        let _ = write!(
            text,
            "check     bit-exact: {tensors} tensors equal the integer interpreter's; "
        );
        if let Some(reference) = &compared.reference {
            let apart = compared.sqnr_db.map_or_else(
                || "no difference".to_owned(),
                |ratio| format!("{ratio:.1} dB"),
            );
            let _ = write!(
                text,
                "against {reference} {apart}, errors at most {:.3e} and {:.3e} in the mean, top-1 agrees on {} of {}",
                compared.largest_error.unwrap_or(0.0),
                compared.mean_error.unwrap_or(0.0),
                compared.agreeing.unwrap_or(0),
                compared.classified.unwrap_or(0)
            );
        } else {
            text.push_str(
                "it computes what the program says, so only the model tells whether its weights, scales and accuracy are right",
            );
        }
        text.push('\n');
    }
    if let Some(correct) = compared.correct {
        let percent = |part: u64| 100.0 * part as f64 / compared.images.max(1) as f64;
        let _ = write!(
            text,
            "accuracy  {:.1} % of {} samples",
            percent(correct),
            compared.images
        );
        if let Some(correct) = compared.reference_correct {
            let _ = write!(text, " (float model {:.1} %)", percent(correct));
        }
        text.push('\n');
    }
    text
}

fn summary(report: &Report) -> String {
    let samples = f64::from(report.samples);
    let totals = &report.totals;
    let cycles = totals.cycles.total as f64 / samples;
    let joules = totals.energy_pj.total / samples * 1e-12;
    let seconds = report.seconds();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "total     {} ({}), {}; useful multiplications {:.1} % of all slots",
        si(cycles, "cycles"),
        si(seconds, "s"),
        si(joules, "J"),
        100.0 * totals.utilisation
    );
    let [least, most] = totals
        .energy_pj
        .band
        .map(|pj| si(pj / samples * 1e-12, "J"));
    if totals.energy_pj.band[0] < totals.energy_pj.band[1] {
        let _ = writeln!(
            text,
            "energy    {least} to {most} by the band of a crossbar transfer, for which no figure is published"
        );
    }
    if !report.energy_outside_fit.is_empty() {
        let sentences = report.energy_outside_fit.join("; ");
        let _ = writeln!(text, "energy    less certain: {sentences}");
    }
    let _ = writeln!(text, "trust     {}", report.trust());
    if totals.cycles.total > 0 {
        let images = report
            .layers
            .iter()
            .find_map(|layer| layer.shape)
            .map_or(1, |shape| shape.n);
        let operations = 2.0 * totals.multiplies.dense as f64 / samples;
        let period = report.period_cycles() as f64 / samples / (report.clock_gigahertz * 1e9);
        let _ = writeln!(
            text,
            "rate      {} images/s, {}, {}, counting the multiplications and additions of a dense machine",
            si(f64::from(images) / period, ""),
            si(operations / period, "OPS"),
            si(operations / joules, "OPS/W"),
        );
    }
    let (baselines, array) = (&totals.baselines, report.array_cycles());
    let _ = writeln!(
        text,
        "DCNN      {}: {}; ideal dense {}; oracle {} (on {} of the array's layers)",
        si(baselines.dcnn as f64 / samples, "cycles"),
        times(ratio(baselines.dcnn, array)),
        times(ratio(baselines.dcnn_ideal, array)),
        times(ratio(baselines.dcnn, baselines.oracle)),
        si(array as f64 / samples, "cycles")
    );
    let errors = report.prediction_errors();
    if let (Some((median, _)), Some((worst, name)), "exact") = (
        errors.get(errors.len() / 2),
        errors.last(),
        report.timing.as_str(),
    ) {
        let _ = writeln!(
            text,
            "model     the mapper's predictions are off by {} a layer (median), {} at worst ({name})",
            percent(median.abs()),
            percent(worst.abs())
        );
    }
    let (dram, host) = (&totals.dram_bytes, totals.counters.host_bytes);
    let _ = writeln!(
        text,
        "DRAM      weights {}, activations in {}, out {}, spill {}; host link {}",
        si(dram.weights as f64 / samples, "B"),
        si(dram.read as f64 / samples, "B"),
        si(dram.written as f64 / samples, "B"),
        si(dram.spill as f64 / samples, "B"),
        si(host as f64 / samples, "B")
    );
    let _ = writeln!(text, "sparsity  {}", report.headline());
    grid::hanging(&text)
}

fn how_counted(report: &Report) -> String {
    let what = match report.timing.as_str() {
        "fast" => "timing fast (steps and barriers, a lower bound)".to_owned(),
        other => format!("timing {other}"),
    };
    if report.samples == 1 {
        what
    } else {
        format!("{what}, mean of {} samples", report.samples)
    }
}

fn row(layer: &Layer, samples: f64) -> [String; 12] {
    let blank = String::new;
    let share = |value: f64| format!("{value:.2}");
    let (on_array, on_machine) = (layer.on_array(), layer.mapping.is_some());
    let when = |condition: bool, text: &dyn Fn() -> String| {
        if condition { text() } else { String::new() }
    };
    let costs = &layer.costs;
    let cycles = costs.cycles.total;
    [
        layer.name.clone(),
        shape(layer),
        when(on_array, &|| share(layer.density.weights)),
        when(on_machine, &|| share(layer.density.input)),
        when(on_machine, &|| share(layer.density.output)),
        mapping(layer),
        when(cycles > 0, &|| si(cycles as f64 / samples, "")),
        when(on_array, &|| format!("{:.0} %", 100.0 * costs.utilisation)),
        when(cycles > 0, &|| {
            layer.lost_to.map_or_else(blank, |loss| loss.to_string())
        }),
        when(on_array, &|| times(ratio(costs.baselines.dcnn, cycles))),
        si(costs.energy_pj.total / samples * 1e-12, "J"),
        layer.accuracy.map_or_else(blank, |accuracy| {
            accuracy
                .sqnr_db
                .map_or_else(|| "exact".to_owned(), |ratio| format!("{ratio:.1} dB"))
        }),
    ]
}

/// Extents of a layer, as people write them.
pub fn shape(layer: &Layer) -> String {
    layer.shape.map_or_else(String::new, |s| {
        let mut text = format!("{}x{}x{} -> {}, {}x{}", s.c, s.h, s.w, s.k, s.r, s.s);
        if s.stride != [1, 1] {
            let _ = write!(text, "/{}", s.stride[0]);
        }
        if s.groups > 1 {
            let _ = write!(text, " g{}", s.groups);
        }
        text
    })
}

/// Mapping of a layer in a few words.
fn mapping(layer: &Layer) -> String {
    let Some(m) = &layer.mapping else {
        // tract is built in; of another runtime one wants to know.
        return match &layer.runtime {
            Some(runtime) if !runtime.starts_with("tract") => format!("host: {runtime}"),
            Some(_) | None => "host".to_owned(),
        };
    };
    let moves = format!(
        "{}>{}",
        memory_name(m.resident_in),
        memory_name(m.resident_out)
    );
    if !layer.on_array() {
        return format!("PPU {moves}");
    }
    let mut text = format!("{}x{} Kc {} ", m.tile_h, m.tile_w, m.kc);
    if m.pe_groups > 1 {
        let _ = write!(text, "{} groups ", m.pe_groups);
    }
    if m.temporal_tiles > 1 {
        let _ = write!(text, "{} tiles ", m.temporal_tiles);
    }
    text + &moves
}

/// A small share.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.0005 {
        "less than 0.1 %".to_owned()
    } else {
        format!("{:.1} %", 100.0 * share)
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// How many of something: `1 group`, `3 groups`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Units of things that are counted.
const WHOLE: [&str; 3] = ["", "B", "cycles"];

/// How many times one is another: `2.37x`, and of small ratios three figures, `0.00123x`.
pub fn times(ratio: f64) -> String {
    if ratio == 0.0 || !ratio.is_finite() || ratio >= 0.1 {
        return format!("{ratio:.2}x");
    }
    let places = 2 - ratio.log10().floor() as i32;
    format!("{ratio:.*}x", places.clamp(2, 12) as usize)
}

/// A number with three figures and a prefix: 12.3 k, 4.56 uJ.
pub fn si(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 8] = [
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "u"),
        (1e-9, "n"),
    ];
    if value == 0.0 {
        return format!("0 {unit}").trim_end().to_owned();
    }
    // Means of what is counted: there are no thousandths of a byte or a cycle.
    if value.abs() < 1.0 && WHOLE.contains(&unit) {
        return format!("{value:.2} {unit}").trim_end().to_owned();
    }
    let (factor, prefix) = PREFIXES
        .iter()
        .copied()
        .find(|(factor, _)| value.abs() >= *factor)
        .unwrap_or((1e-12, "p"));
    let scaled = value / factor;
    let digits = if scaled >= 100.0 || (factor == 1.0 && unit.is_empty()) {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$} {prefix}{unit}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{si, times};

    #[test]
    fn numbers_have_three_figures_and_a_prefix() {
        assert_eq!(
            [
                si(12_345.0, ""),
                si(4.56e-6, "J"),
                si(0.0, "B"),
                si(7.0, "")
            ],
            ["12.3 k", "4.56 uJ", "0 B", "7"]
        );
        assert_eq!([si(0.1, "B"), si(0.25, "")], ["0.10 B", "0.25"]);
    }

    #[test]
    fn a_small_ratio_is_not_nought() {
        let ratios = [2.371, 0.1, 0.0456, 0.001_234, 0.0];
        assert_eq!(
            ratios.map(times),
            ["2.37x", "0.10x", "0.0456x", "0.00123x", "0.00x"]
        );
    }
}
