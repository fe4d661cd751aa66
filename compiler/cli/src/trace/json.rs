//! A trace as JSON: the Chrome trace event format, object form. Text that any tool reads; Perfetto's own form is smaller.

use super::content::{Content, Counter, Value};
use super::lanes::Slice;
use serde_json::{Map, json};

/// The head of the file.
pub fn head(tool: &str, machine: &str) -> String {
    let begin = json!({"tool": tool, "machine": machine, "unit": "1 us is 1 cycle"});
    let process = json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": machine}});
    format!("{{\"otherData\":{begin},\n\"traceEvents\":[\n{process}")
}

/// The end of the file.
pub const END: &str = "\n]}\n";

/// Names a track; tracks are drawn in the order of `rank`.
pub fn track(number: u64, name: &str, rank: u64) -> String {
    let name =
        json!({"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}});
    let order = json!({"ph": "M", "pid": 1, "tid": number, "name": "thread_sort_index", "args": {"sort_index": rank}});
    format!(",\n{name},\n{order}")
}

/// Slices of a track.
pub fn slices(track: u64, slices: &[Slice<Content>]) -> String {
    let event = |slice: &Slice<Content>| {
        let event = json!({
            "ph": "X", "pid": 1, "tid": track, "name": slice.content.name.to_string(),
            "ts": slice.begin, "dur": slice.end - slice.begin, "args": record(&slice.content.values),
        });
        format!(",\n{event}")
    };
    slices.iter().map(event).collect()
}

/// A value of a counter at a cycle.
pub fn counter(counter: Counter, at: u64, value: f64) -> String {
    let event = json!({"ph": "C", "pid": 1, "name": counter.name, "ts": at, "args": {counter.series: value}});
    format!(",\n{event}")
}

fn record(values: &[(&str, Value)]) -> serde_json::Value {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), of(value)));
    serde_json::Value::Object(values.collect::<Map<_, _>>())
}

fn of(value: &Value) -> serde_json::Value {
    match value {
        Value::Count(count) => (*count).into(),
        Value::Number(number) => (*number).into(),
        Value::Text(text) => (*text).into(),
        Value::Texts(texts) => (*texts).into(),
        Value::Record(values) => record(values),
    }
}
