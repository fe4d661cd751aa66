//! `--trace`: what the units did, cycle by cycle, as a Chrome trace, for Perfetto (ui.perfetto.dev).
//!
//! A microsecond of the trace is a cycle of the machine, so that all numbers are whole. Tracks are the layers and host
//! segments, the mover, the PPUs where a layer does without the array, the array, weight stream and PPUs of each PE group,
//! and the PEs; counters are utilisation, DRAM bandwidth and what the activation RAMs hold. The file is written as the
//! execution goes on, and is bounded: of a layer with many rounds every n-th is shown, which its slice says;
//! `--trace-layer` shows some layers alone.

use super::failure::Failure;
use super::program;
use crate::codes::Code;
use scnn_isa::program::Program;
use scnn_simulator::observe::Observer;
use scnn_simulator::timing::watch::{Event, Work};
use scnn_simulator::{StepCounts, StepId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Slices of rounds that a layer may have, over all its PEs.
const SLICES_PER_LAYER: u64 = 20_000;
/// Points of a counter in a layer, at most.
const POINTS: usize = 256;

/// Numbers of the tracks; weight streams, PPUs of PE groups and PEs follow from the last three.
const LAYERS: usize = 1;
const MOVER: usize = 2;
const PPUS: usize = 3;
const ARRAY: usize = 4;
const STREAMS: usize = 100;
const GROUP_PPUS: usize = 5_000;
const PES: usize = 10_000;

/// Writes a trace.
pub struct Trace<'a> {
    program: &'a Program,
    out: BufWriter<File>,
    /// Layers to show; all when empty.
    layers: BTreeSet<&'a str>,
    /// The first failure to write.
    failure: Option<std::io::Error>,
    named: BTreeSet<usize>,
    step: Step,
}

/// The step under way.
#[derive(Default)]
struct Step {
    begin: u64,
    /// Every how manieth round is shown.
    every: u64,
    bytes: Buckets,
    busy: Buckets,
}

impl<'a> Trace<'a> {
    /// A trace of `program` at `path`, of some layers or of all.
    pub fn create(program: &'a Program, path: &Path, layers: &[String]) -> Result<Self, Failure> {
        let mut shown = BTreeSet::new();
        for name in layers {
            shown.extend(program::find_layers(program, name)?);
        }
        let file = File::create(path)
            .map_err(|e| Failure::file(Code::CannotWrite, path, &e.to_string()))?;
        let mut trace = Self {
            program,
            out: BufWriter::new(file),
            layers: shown,
            failure: None,
            named: BTreeSet::new(),
            step: Step::default(),
        };
        let machine = &program.machine.name;
        let unit = "1 us is 1 cycle";
        let begin = json!({"tool": program.provenance.tool, "machine": machine, "unit": unit});
        trace.write(&format!("{{\"otherData\":{begin},\n\"traceEvents\":[\n"));
        let process =
            json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": machine}});
        trace.write(&process.to_string());
        for (track, name) in [
            (LAYERS, "layers"),
            (MOVER, "mover (DRAM to RAM and back)"),
            (PPUS, "PPUs"),
            (ARRAY, "array"),
        ] {
            trace.name_track(track, name);
        }
        Ok(trace)
    }

    /// Ends the file.
    pub fn finish(mut self, path: &Path) -> Result<(), Failure> {
        self.write("\n]}\n");
        let flushed = self.out.flush();
        match self.failure.map_or(flushed, Err) {
            Ok(()) => Ok(()),
            Err(e) => Err(Failure::file(Code::CannotWrite, path, &e.to_string())),
        }
    }

    fn write(&mut self, text: &str) {
        if self.failure.is_none() {
            self.failure = self.out.write_all(text.as_bytes()).err();
        }
    }

    fn event(&mut self, event: &Value) {
        let text = format!(",\n{event}");
        self.write(&text);
    }

    fn name_track(&mut self, track: usize, name: &str) {
        if self.named.insert(track) {
            self.event(
                &json!({"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": name}}),
            );
            self.event(
                &json!({"ph": "M", "pid": 1, "tid": track, "name": "thread_sort_index", "args": {"sort_index": track}}),
            );
        }
    }

    /// A slice on a track, at cycles of the execution.
    fn slice(&mut self, track: usize, name: &str, span: [u64; 2], args: &Value) {
        let [begin, end] = span;
        self.event(&json!({
            "ph": "X", "pid": 1, "tid": track, "name": name, "ts": begin, "dur": end - begin, "args": args,
        }));
    }

    fn counter(&mut self, name: &str, at: u64, values: &Value) {
        self.event(&json!({"ph": "C", "pid": 1, "name": name, "ts": at, "args": values}));
    }

    fn name_of(&self, step: StepId) -> &'a str {
        match step {
            StepId::Layer(id) => &self.program.layer(id).name,
            StepId::Segment(id) => &self.program.segment(id).name,
        }
    }

    /// The counters of the step that has ended at `end`.
    fn counters(&mut self, end: u64) {
        let step = std::mem::take(&mut self.step);
        let machine = &self.program.machine;
        let pes = f64::from(machine.pe_count());
        let series = [
            (
                "DRAM, GB/s",
                "bandwidth",
                &step.bytes,
                machine.clock.gigahertz,
            ),
            ("array, busy PEs %", "utilisation", &step.busy, 100.0 / pes),
        ];
        for (counter, name, buckets, factor) in series {
            for (begin, value, width) in buckets.points(end - step.begin) {
                let value = value / width as f64 * factor;
                self.counter(counter, step.begin + begin, &json!({name: value}));
            }
            self.counter(counter, end, &json!({name: 0}));
        }
    }
}

impl Observer for Trace<'_> {
    fn begin(&mut self, step: StepId, begin: u64, rounds: u64) -> bool {
        let slices = rounds * u64::from(self.program.machine.pe_count());
        self.step = Step {
            begin,
            every: slices.div_ceil(SLICES_PER_LAYER).max(1),
            ..Step::default()
        };
        let name = self.name_of(step);
        self.layers.is_empty() || self.layers.contains(name)
    }

    fn on_event(&mut self, event: &Event, instruction: u32) {
        let begin = self.step.begin;
        let span = [begin + event.begin, begin + event.end];
        let shown = |round: u64| round.is_multiple_of(self.step.every);
        let word = &self.program.code[instruction as usize];
        let args = json!({
            "instruction": instruction, "nodes": self.program.nodes_of(instruction),
        });
        match event.work {
            Work::Transfer { bytes } => {
                let at = event.end.saturating_sub(1);
                self.step.bytes.add([at, at + 1], bytes as f64);
            }
            Work::Round {
                pe,
                round,
                steps,
                stalls,
            } => {
                self.step.busy.add([event.begin, event.end], steps as f64);
                if shown(u64::from(round)) {
                    let cols = self.program.machine.array.cols as usize;
                    let track = format!("PE {} {}", pe / cols, pe % cols);
                    self.name_track(PES + pe, &track);
                    let args = json!({
                        "instruction": instruction, "steps": steps, "bank_stalls": stalls,
                        "waits": event.end - event.begin - steps - stalls,
                    });
                    self.slice(PES + pe, &format!("round {round}"), span, &args);
                }
            }
            Work::Weights { group, round } => {
                if shown(u64::from(round)) {
                    let track = STREAMS + group as usize;
                    self.name_track(track, &format!("weights of PE group {group}"));
                    self.slice(track, &format!("round {round}"), span, &args);
                }
            }
            Work::Drain { group, ordinal } => {
                if shown(ordinal as u64) {
                    let track = GROUP_PPUS + group;
                    self.name_track(track, &format!("PPUs of PE group {group}"));
                    self.slice(track, word.mnemonic(), span, &args);
                }
            }
            Work::Multiply => self.slice(ARRAY, word.mnemonic(), span, &args),
            Work::Process => self.slice(PPUS, word.mnemonic(), span, &args),
            Work::Move => self.slice(MOVER, word.mnemonic(), span, &args),
        }
    }

    fn end(&mut self, counts: &StepCounts, begin: u64) {
        let nodes = match counts.id {
            StepId::Layer(_) => json!(null),
            StepId::Segment(_) => json!("host"),
        };
        let end = begin + counts.cycles;
        let args = json!({
            "cycles": counts.cycles, "steps": counts.steps, "engine": nodes, "every": self.step.every,
            "useful": counts.slots.useful, "dram_bytes": counts.counters.dram_bytes(),
        });
        self.slice(LAYERS, self.name_of(counts.id), [begin, end], &args);
        self.counters(end);
        let [a, b] = counts.ram_elements;
        self.counter(
            "RAM elements of the fullest PE",
            end,
            &json!({"A": a, "B": b}),
        );
    }
}

/// Sums over equal stretches of time, which double in length whenever there would be too many.
struct Buckets {
    width: u64,
    sums: Vec<f64>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            width: 1,
            sums: Vec::new(),
        }
    }
}

impl Buckets {
    /// Spreads `amount` evenly over a span of cycles.
    fn add(&mut self, [begin, end]: [u64; 2], amount: f64) {
        if begin >= end {
            return;
        }
        while (end - 1) / self.width >= POINTS as u64 {
            self.width *= 2;
            self.sums = self.sums.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        let (first, last) = (begin / self.width, (end - 1) / self.width);
        self.sums
            .resize(self.sums.len().max(last as usize + 1), 0.0);
        let density = amount / (end - begin) as f64;
        for bucket in first..=last {
            let inside = end.min((bucket + 1) * self.width) - begin.max(bucket * self.width);
            self.sums[bucket as usize] += density * inside as f64;
        }
    }

    /// Begin, sum and length of every stretch, the last one cut at `end`.
    fn points(&self, end: u64) -> impl Iterator<Item = (u64, f64, u64)> {
        let width = self.width;
        let point = move |(index, &sum): (usize, &f64)| {
            let begin = index as u64 * width;
            (begin, sum, width.min(end.saturating_sub(begin).max(1)))
        };
        self.sums.iter().enumerate().map(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_keep_the_sum_however_often_they_double() {
        let mut buckets = Buckets::default();
        for begin in 0..10_000u64 {
            buckets.add([begin, begin + 1 + begin % 700], 3.0);
        }
        buckets.add([5, 5], 100.0);
        assert!(buckets.sums.len() <= POINTS);
        assert!((buckets.sums.iter().sum::<f64>() - 30_000.0).abs() < 1e-6);
    }
}
