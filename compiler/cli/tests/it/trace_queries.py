"""Runs queries of Perfetto's trace processor on a trace: trace_queries.py TRACE.pftrace QUERY.sql...

Prints {"engine": ..., "rows": [[row, ...] of each query], "tracks": N, "slices": N} as JSON. The engine is Perfetto's own
where its Python package and its trace processor are there; else SQLite over the tables that it would make, filled from the
protobuf by the rules of its documentation, which are few: packets in order of time, slices of a track as a stack. A slice
that does not nest, an unknown track and a text that was never interned are errors in either case.
"""

import json
import shutil
import sqlite3
import struct
import sys

DOUBLE, BYTES = 1, 2


def fields(data):
    """(number, wire type, value) of each field of a message."""
    at = 0

    def varint():
        nonlocal at
        shift = value = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        number, wire = key >> 3, key & 7
        if wire == 0:
            yield number, varint()
        elif wire == DOUBLE:
            yield number, struct.unpack("<d", data[at : at + 8])[0]
            at += 8
        elif wire == BYTES:
            size = varint()
            yield number, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def one(message, number, default=None):
    found = [value for n, value in fields(message) if n == number]
    return found[-1] if found else default


class Tables:
    """What the trace processor makes of a trace."""

    def __init__(self, data):
        self.interned = {2: {}, 3: {}, 29: {}}
        self.tracks = {}
        self.slices = []
        self.args = []
        events = []
        for position, (_, packet) in enumerate(fields(data)):
            for kind, texts in self.interned.items():
                for number, entry in fields(one(packet, 12, b"")):
                    if number == kind:
                        texts[one(entry, 1)] = one(entry, 2).decode()
            descriptor = one(packet, 60)
            if descriptor is not None:
                self.tracks[one(descriptor, 1)] = one(descriptor, 2, b"").decode()
            event = one(packet, 11)
            if event is not None:
                events.append((one(packet, 8), position, event))
        stacks = {}
        for time, _, event in sorted(events):
            self.event(time, event, stacks)
        assert not any(stacks.values()), "slices without an end"

    def event(self, time, event, stacks):
        track, kind = one(event, 11), one(event, 9)
        assert track in self.tracks, f"track {track} has no name"
        stack = stacks.setdefault(track, [])
        if kind == 1:
            number = len(self.slices)
            self.slices.append([number, time, None, track, self.interned[2][one(event, 10)], number])
            stack.append(number)
            for n, annotation in fields(event):
                if n == 4:
                    self.annotation(number, "debug", annotation)
        elif kind == 2:
            begun = self.slices[stack.pop()]
            begun[2] = time - begun[1]

    def annotation(self, number, prefix, annotation, index=None):
        name = self.interned[3].get(one(annotation, 1))
        key = f"{prefix}[{index}]" if index is not None else f"{prefix}.{name}"
        whole, real, text = one(annotation, 3), one(annotation, 5), one(annotation, 17)
        for n, entry in fields(annotation):
            if n == 11:
                self.annotation(number, key, entry)
        entries = [entry for n, entry in fields(annotation) if n == 12]
        for index, entry in enumerate(entries):
            self.annotation(number, key, entry, index)
        if text is not None:
            text = self.interned[29][text]
        if (whole, real, text) != (None, None, None):
            self.args.append((number, key, whole, text, real))

    def database(self):
        base = sqlite3.connect(":memory:")
        base.execute("CREATE TABLE track (id, name)")
        base.execute("CREATE TABLE slice (id, ts, dur, track_id, name, arg_set_id)")
        base.execute("CREATE TABLE args (arg_set_id, key, int_value, string_value, real_value)")
        base.executemany("INSERT INTO track VALUES (?, ?)", self.tracks.items())
        base.executemany("INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?)", self.slices)
        base.executemany("INSERT INTO args VALUES (?, ?, ?, ?, ?)", self.args)
        values = {(number, key): next((v for v in rest if v is not None), None) for number, key, *rest in self.args}
        base.create_function("EXTRACT_ARG", 2, lambda number, key: values.get((number, key)))
        return base


def processor(trace):
    """Perfetto's trace processor, or None where the package or its program is not there; nothing is downloaded."""
    program = shutil.which("trace_processor_shell") or shutil.which("trace_processor")
    try:
        from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig
    except ImportError:
        return None
    return program and TraceProcessor(trace=trace, config=TraceProcessorConfig(bin_path=program))


def main(trace, queries):
    with open(trace, "rb") as file:
        tables = Tables(file.read())
    perfetto = processor(trace)
    base = tables.database()
    rows = []
    for query in queries:
        with open(query) as file:
            text = file.read().strip().rstrip(";")
        ours = [list(row) for row in base.execute(text)]
        if perfetto is not None:
            found = [list(row.__dict__.values()) for row in perfetto.query(text)]
            assert found == ours, (query, found[:3], ours[:3])
        rows.append(ours)
    engine = "sqlite" if perfetto is None else "perfetto"
    print(json.dumps({"engine": engine, "rows": rows, "tracks": len(tables.tracks), "slices": len(tables.slices)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
