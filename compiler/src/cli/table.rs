//! Tables, units and progress for people.

use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use scnn_simulator::report::{Layer, Report};
use std::fmt::Write;

/// A progress bar on standard error; invisible in a pipe, when quiet, or when there is one thing to do.
pub fn progress(length: u64, what: &'static str, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if quiet || length < 2 {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(what);
    bar
}

/// The layers of a report and its totals, as means per inference.
pub fn report(report: &Report) -> String {
    let samples = f64::from(report.samples);
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "layer", "shape", "w", "in", "out", "mapping", "cycles", "useful", "vs DCNN", "energy",
        "SQNR",
    ]);
    for layer in &report.layers {
        table.add_row(row(layer, samples));
    }
    let compared = report.layers.iter().any(|layer| layer.accuracy.is_some());
    if let (false, Some(column)) = (compared, table.column_mut(10)) {
        column.set_constraint(comfy_table::ColumnConstraint::Hidden);
    }
    for column in 2..=10 {
        if column != 5
            && let Some(column) = table.column_mut(column)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "{} on {}, {}\n\n{}\n\n",
        report.model,
        report.machine,
        counted(report),
        table.trim_fmt()
    );
    let totals = &report.totals;
    let cycles = totals.cycles as f64 / samples;
    let seconds = cycles / (report.clock_gigahertz * 1e9);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "total     {} cycles ({}), {}; useful multiplications {:.1} % of all slots",
        si(cycles, ""),
        si(seconds, "s"),
        si(totals.energy_pj / samples * 1e-12, "J"),
        100.0 * totals.slots.useful as f64 / totals.slots.total().max(1) as f64
    );
    let _ = writeln!(
        text,
        "DCNN      {} cycles: {:.2}x; ideal dense {:.2}x; oracle {:.2}x",
        si(totals.dcnn_cycles as f64 / samples, ""),
        ratio(totals.dcnn_cycles, totals.cycles),
        ratio(totals.dcnn_ideal_cycles, totals.cycles),
        ratio(totals.dcnn_cycles, totals.oracle_cycles)
    );
    let slots = totals.slots.total().max(1) as f64;
    let lost: Vec<String> = totals
        .slots
        .entries()
        .iter()
        .skip(1)
        .map(|(name, count)| {
            format!(
                "{} {:.1} %",
                name.replace('_', " "),
                100.0 * *count as f64 / slots
            )
        })
        .collect();
    let _ = writeln!(text, "lost to   {}", lost.join(", "));
    let errors = report.prediction_errors();
    if let (Some((median, _)), Some((worst, name)), "exact") = (
        errors.get(errors.len() / 2),
        errors.last(),
        report.timing.as_str(),
    ) {
        let _ = writeln!(
            text,
            "model     the mapper's predictions are off by {:.1} % a layer (median), {:.1} % at worst ({name})",
            100.0 * median.abs(),
            100.0 * worst.abs()
        );
    }
    let c = &totals.counters;
    let _ = writeln!(
        text,
        "DRAM      weights {}, activations in {}, out {}, spill {}; host link {}",
        si(c.dram_weight_bytes as f64 / samples, "B"),
        si(c.dram_read_bytes as f64 / samples, "B"),
        si(c.dram_write_bytes as f64 / samples, "B"),
        si(c.dram_spill_bytes as f64 / samples, "B"),
        si(c.host_bytes as f64 / samples, "B")
    );
    text
}

fn counted(report: &Report) -> String {
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

fn row(layer: &Layer, samples: f64) -> Vec<String> {
    let shape = layer.shape.map_or_else(String::new, |s| {
        let mut text = format!("{}x{}x{} -> {}, {}x{}", s.c, s.h, s.w, s.k, s.r, s.s);
        if s.stride != [1, 1] {
            let _ = write!(text, "/{}", s.stride[0]);
        }
        if s.groups > 1 {
            let _ = write!(text, " g{}", s.groups);
        }
        text
    });
    let share = |value: f64| format!("{value:.2}");
    let on_array = layer.baselines.macs > 0;
    let mapping = match &layer.mapping {
        Some(m) if on_array => format!(
            "{}x{} Kc {}{} {}>{}",
            m.tile_h,
            m.tile_w,
            m.kc,
            if m.temporal_tiles > 1 {
                format!(" {} tiles", m.temporal_tiles)
            } else {
                String::new()
            },
            memory(m.resident_in),
            memory(m.resident_out)
        ),
        Some(m) => format!("PPU {}>{}", memory(m.resident_in), memory(m.resident_out)),
        None => "host".to_owned(),
    };
    let blank = String::new;
    vec![
        layer.name.clone(),
        shape,
        if on_array {
            share(layer.density.weights)
        } else {
            blank()
        },
        if layer.mapping.is_some() {
            share(layer.density.input)
        } else {
            blank()
        },
        if layer.mapping.is_some() {
            share(layer.density.output)
        } else {
            blank()
        },
        mapping,
        if on_array {
            si(layer.cycles as f64 / samples, "")
        } else {
            blank()
        },
        if on_array {
            format!("{:.0} %", 100.0 * layer.utilisation)
        } else {
            blank()
        },
        if on_array {
            format!("{:.2}x", ratio(layer.baselines.dcnn, layer.cycles))
        } else {
            blank()
        },
        si(layer.energy_total_pj / samples * 1e-12, "J"),
        layer.accuracy.map_or_else(blank, |accuracy| {
            accuracy
                .sqnr_db
                .map_or_else(|| "exact".to_owned(), |ratio| format!("{ratio:.1} dB"))
        }),
    ]
}

fn memory(memory: scnn_isa::program::Memory) -> &'static str {
    match memory {
        scnn_isa::program::Memory::A => "A",
        scnn_isa::program::Memory::B => "B",
        scnn_isa::program::Memory::Dram => "DRAM",
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
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
    use super::si;

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
    }
}
