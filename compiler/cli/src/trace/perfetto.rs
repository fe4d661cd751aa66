//! A trace in Perfetto's own form: protobuf packets, each text written once and referred to by number from then on.
//!
//! A microsecond is a cycle, as in JSON, so that the same queries of Perfetto's trace processor hold for both.

use super::content::{Content, Counter, Value};
use super::generated::{
    CounterDescriptor, DebugAnnotation, InternedData, InternedString, ProcessDescriptor, Trace,
    TracePacket, TrackDescriptor, TrackEvent,
};
use super::lanes::Slice;
use prost::Message;
use std::collections::HashMap;

/// Nanoseconds of the trace for a cycle of the machine.
const CYCLE: u64 = 1000;
/// The one sequence of all packets; interned data belongs to a sequence.
const SEQUENCE: u32 = 1;
/// The interned data begins anew.
const CLEARED: u32 = 1;
/// The packet refers to interned data.
const NEEDED: u32 = 2;
/// Types of events.
const BEGIN: u32 = 1;
const END: u32 = 2;
const COUNTER: u32 = 4;
/// Children are drawn by their rank.
const BY_RANK: u32 = 3;
/// Numbers of tracks: the process, then counters, then the trace's own.
const PROCESS: u64 = 1;
const COUNTERS: u64 = 2;
const TRACKS: u64 = 1 << 32;

/// Texts of one kind, numbered from 1.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u64>,
    new: Vec<InternedString>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.numbers.len() as u64 + 1;
        self.numbers.insert(text.to_owned(), number);
        self.new.push(InternedString {
            iid: number,
            str: text.as_bytes().to_vec(),
        });
        number
    }
}

/// Writes packets.
#[derive(Default)]
pub struct Perfetto {
    names: Texts,
    value_names: Texts,
    texts: Texts,
    counters: HashMap<Counter, u64>,
    began: bool,
    bytes: Vec<u8>,
}

impl Perfetto {
    /// The bytes that are new since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// The process that all tracks belong to.
    pub fn head(&mut self, tool: &str, machine: &str) {
        let descriptor = TrackDescriptor {
            uuid: PROCESS,
            name: machine.to_owned(),
            process: Some(ProcessDescriptor {
                pid: 1,
                process_name: format!("{machine} ({tool}, 1 us is 1 cycle)"),
            }),
            child_ordering: BY_RANK,
            ..TrackDescriptor::default()
        };
        self.describe(descriptor);
    }

    /// Names a track.
    pub fn track(&mut self, number: u64, name: &str, rank: u64) {
        self.describe(TrackDescriptor {
            uuid: TRACKS + number,
            name: name.to_owned(),
            parent_uuid: Some(PROCESS),
            sibling_order_rank: i32::try_from(rank).unwrap_or(i32::MAX),
            ..TrackDescriptor::default()
        });
    }

    /// Slices of a track that nest, in order: each begins inside the one before or behind it.
    pub fn slices(&mut self, track: u64, slices: &[Slice<Content>]) {
        let mut open: Vec<u64> = Vec::new();
        for slice in slices {
            while let Some(&end) = open.last().filter(|&&end| end <= slice.begin) {
                open.pop();
                self.end(track, end);
            }
            self.begin(track, slice);
            open.push(slice.end);
        }
        while let Some(end) = open.pop() {
            self.end(track, end);
        }
    }

    /// A value of a counter at a cycle.
    pub fn counter(&mut self, counter: Counter, at: u64, value: f64) {
        let next = COUNTERS + self.counters.len() as u64;
        let uuid = *self.counters.entry(counter).or_insert(next);
        if uuid == next {
            self.describe(TrackDescriptor {
                uuid,
                name: format!("{}: {}", counter.name, counter.series),
                parent_uuid: Some(PROCESS),
                counter: Some(CounterDescriptor {
                    unit_name: counter.unit.to_owned(),
                }),
                ..TrackDescriptor::default()
            });
        }
        let event = TrackEvent {
            r#type: COUNTER,
            track_uuid: uuid,
            double_counter_value: Some(value),
            ..TrackEvent::default()
        };
        self.event(at, event);
    }

    fn begin(&mut self, track: u64, slice: &Slice<Content>) {
        let name_iid = self.names.number(&slice.content.name.to_string());
        let values = self.annotations(&slice.content.values);
        let event = TrackEvent {
            r#type: BEGIN,
            track_uuid: TRACKS + track,
            name_iid,
            debug_annotations: values,
            ..TrackEvent::default()
        };
        self.event(slice.begin, event);
    }

    fn end(&mut self, track: u64, at: u64) {
        let event = TrackEvent {
            r#type: END,
            track_uuid: TRACKS + track,
            ..TrackEvent::default()
        };
        self.event(at, event);
    }

    fn annotations(&mut self, values: &[(&'static str, Value)]) -> Vec<DebugAnnotation> {
        let annotation = |(name, value): &(&'static str, Value)| {
            let mut annotation = self.annotation(value);
            annotation.name_iid = self.value_names.number(name);
            annotation
        };
        values.iter().map(annotation).collect()
    }

    fn annotation(&mut self, value: &Value) -> DebugAnnotation {
        let mut annotation = DebugAnnotation::default();
        match value {
            Value::Count(count) => annotation.uint_value = Some(*count),
            Value::Number(number) => annotation.double_value = Some(*number),
            Value::Text(text) => annotation.string_value_iid = Some(self.texts.number(text)),
            Value::Texts(texts) => {
                let texts = texts.iter();
                let texts = texts.map(|text| self.annotation(&Value::Text(text)));
                annotation.array_values = texts.collect();
            }
            Value::Record(values) => annotation.dict_entries = self.annotations(values),
        }
        annotation
    }

    fn event(&mut self, at: u64, event: TrackEvent) {
        let lists = [&mut self.names, &mut self.value_names, &mut self.texts];
        let [
            event_names,
            debug_annotation_names,
            debug_annotation_string_values,
        ] = lists.map(|texts| std::mem::take(&mut texts.new));
        let interned = InternedData {
            event_names,
            debug_annotation_names,
            debug_annotation_string_values,
        };
        let is_new = interned != InternedData::default();
        let first = !std::mem::replace(&mut self.began, true);
        self.packet(TracePacket {
            timestamp: Some(at * CYCLE),
            track_event: Some(event),
            interned_data: is_new.then_some(interned),
            sequence_flags: NEEDED | if first { CLEARED } else { 0 },
            ..TracePacket::default()
        });
    }

    fn describe(&mut self, descriptor: TrackDescriptor) {
        self.packet(TracePacket {
            track_descriptor: Some(descriptor),
            ..TracePacket::default()
        });
    }

    /// A packet as a field of the trace: traces are the sum of their packets.
    fn packet(&mut self, mut packet: TracePacket) {
        packet.trusted_packet_sequence_id = SEQUENCE;
        let trace = Trace {
            packet: vec![packet],
        };
        self.bytes.extend(trace.encode_to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Name;
    use super::*;

    fn slice(begin: u64, end: u64, name: &'static str) -> Slice<Content<'static>> {
        let content = Content {
            name: Name::Text(name),
            values: vec![("steps", Value::Count(end))],
        };
        Slice {
            begin,
            end,
            content,
        }
    }

    #[test]
    fn a_text_is_written_once_and_slices_end_before_the_next_begins() {
        let mut trace = Perfetto::default();
        trace.slices(
            7,
            &[
                slice(0, 5, "mac"),
                slice(1, 5, "mac"),
                slice(5, 5, "drn"),
                slice(5, 9, "mac"),
            ],
        );
        let bytes = trace.take();
        let packets = Trace::decode(bytes.as_slice()).unwrap().packet;
        let events: Vec<(u64, u32, u64)> = packets
            .iter()
            .map(|packet| {
                let event = packet.track_event.as_ref().unwrap();
                (
                    packet.timestamp.unwrap() / CYCLE,
                    event.r#type,
                    event.name_iid,
                )
            })
            .collect();
        assert_eq!(
            events,
            [
                (0, BEGIN, 1),
                (1, BEGIN, 1),
                (5, END, 0),
                (5, END, 0),
                (5, BEGIN, 2),
                (5, END, 0),
                (5, BEGIN, 1),
                (9, END, 0)
            ]
        );
        let interned: usize = packets
            .iter()
            .filter_map(|p| p.interned_data.as_ref())
            .map(|data| data.event_names.len())
            .sum();
        assert_eq!(interned, 2);
        assert_eq!(packets[0].sequence_flags, CLEARED | NEEDED);
    }
}
