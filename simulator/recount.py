"""Counts the steps and the dense baselines of dumped layers anew, from their integers alone.

    scnnc run MODEL.onnx --dump DIR
    python simulator/recount.py DIR

It shares no code with the simulator: only what `layer.json` says of the machine, the tiles and the output-channel
groups. Prints a line for each layer and fails when a number differs. Needs numpy.
"""

import json
import sys
from pathlib import Path

import numpy as np

AXIS = {"stride": 1, "upsample": 1, "dilation": 1, "pad": [0, 0]}


def main() -> None:
    wrong = 0
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob("*/layer.json")):
        facts = json.loads((folder / "layer.json").read_text())
        if facts["layer"].get("array"):
            wrong += not check(folder, facts)
    sys.exit(f"{wrong} layers differ" if wrong else 0)


def check(folder: Path, facts: dict) -> bool:
    array, report = facts["layer"]["array"], facts["report"]
    axes = [AXIS | array["y"], AXIS | array["x"]]
    activations = np.load(folder / "input.npy")
    weights = np.load(folder / "weights.npy")
    ours = {
        "steps": steps(facts, axes, activations, weights),
        "useful": useful(facts, axes, activations, weights),
        "dcnn": dcnn(facts, axes, weights, len(activations)),
        "dcnn_ideal": -(-dense(axes, weights, len(activations)) // multipliers(facts, whole=True)),
    }
    theirs = {
        "steps": report["counters"]["fifo_reads"],
        "useful": report["multiplies"]["useful"],
        "dcnn": report["baselines"]["dcnn"],
        "dcnn_ideal": report["baselines"]["dcnn_ideal"],
    }
    same = ours == theirs
    print(f"{'ok   ' if same else 'WRONG'} {report['name']}: {ours}" + ("" if same else f", reported {theirs}"))
    return same


def elements(values: np.ndarray, facts: dict, compressed: bool) -> int:
    """Stored elements of a block: its non-zeros, and placeholders for gaps longer than the index can say."""
    if not compressed:
        return values.size
    period = 1 << facts["machine"]["encoding"]["index_bits"]
    places = np.flatnonzero(values)
    gaps = np.diff(places, prepend=-1) - 1
    return int((1 + gaps // period).sum())


def steps(facts: dict, axes: list, activations: np.ndarray, weights: np.ndarray) -> int:
    """Over all blocks: activation vectors times weight vectors."""
    machine, array, layout = facts["machine"], facts["layer"]["array"], facts["input_layout"]
    encoding, pe = machine["encoding"], machine["pe"]
    rows, cols = layout["residues"]
    taps = [
        [
            (r, s)
            for r in range(axes[0]["kernel"])
            for s in range(axes[1]["kernel"])
            if meets(axes[0], y, rows, r) and meets(axes[1], x, cols, s)
        ]
        for y in range(rows)
        for x in range(cols)
    ]
    inputs, per_group = activations.shape[1], weights.shape[1]
    weight_vectors = np.zeros((inputs, len(taps)), dtype=np.int64)
    for begin, end in array["channel_groups"]:
        if begin == end:
            continue
        first = begin // (weights.shape[0] // array["groups"]) * per_group
        for c in range(per_group):
            for residue, of_residue in enumerate(taps):
                block = np.array([[weights[k, c, r, s] for r, s in of_residue] for k in range(begin, end)])
                block = block if array["order"] == "krs" else block.T
                count = elements(block.ravel(), facts, encoding["compress_weights"])
                weight_vectors[first + c, residue] += -(-count // pe["weights_per_vector"])
    total = 0
    for a_pass in facts["layer"]["passes"]:
        tile = layout["tiles"][a_pass["source_tile"]]
        for n0, n1 in zip(tile["n"], tile["n"][1:]):
            for y0, y1 in zip(tile["y"], tile["y"][1:]):
                for x0, x1 in zip(tile["x"], tile["x"][1:]):
                    for c in range(inputs):
                        for residue in range(len(taps)):
                            if weight_vectors[c, residue] == 0:
                                continue
                            y, x = y0 + (residue // cols - y0) % rows, x0 + (residue % cols - x0) % cols
                            block = activations[n0:n1, c, y:y1:rows, x:x1:cols].ravel()
                            count = elements(block, facts, encoding["compress_activations"])
                            vectors = -(-count // pe["activations_per_vector"])
                            total += vectors * int(weight_vectors[c, residue])
    return total


def meets(axis: dict, residue: int, residues: int, tap: int) -> bool:
    positions = (residue + step * residues for step in range(axis["stride"]))
    return any(
        (p * axis["upsample"] + axis["pad"][0] - tap * axis["dilation"]) % axis["stride"] == 0 for p in positions
    )


def useful(facts: dict, axes: list, activations: np.ndarray, weights: np.ndarray) -> int:
    """Pairs of non-zeros whose output is in the plane; a pass that needs more for its pooling counts it again."""
    nonzero_weights = (weights != 0).astype(np.int64)
    outputs, per_group = weights.shape[:2]
    groups = facts["layer"]["array"]["groups"]
    by_channel = nonzero_weights.reshape(groups, outputs // groups, *weights.shape[1:]).sum(axis=1)
    by_channel = by_channel.reshape(groups * per_group, *weights.shape[2:])
    nonzero = (activations != 0).astype(np.int64)
    total = 0
    for a_pass in facts["layer"]["passes"]:
        out = a_pass["output"]
        pool = facts["layer"]["ppu"].get("pool")
        spans = [out["y"], out["x"]]
        if pool:
            spans = [window(AXIS | pool[axis], span) for axis, span in zip("yx", spans)]
        lines = [
            [[i for i in range(axis["input"]) if lands(axis, i, tap, span)] for tap in range(axis["kernel"])]
            for axis, span in zip(axes, spans)
        ]
        images = nonzero[out["n"][0] : out["n"][1]]
        for r, rows in enumerate(lines[0]):
            for s, cols in enumerate(lines[1]):
                total += int((images[:, :, rows][:, :, :, cols].sum(axis=(0, 2, 3)) * by_channel[:, r, s]).sum())
    return total


def lands(axis: dict, position: int, tap: int, span: list) -> bool:
    output = position * axis["upsample"] + axis["pad"][0] - tap * axis["dilation"]
    return output % axis["stride"] == 0 and span[0] <= output // axis["stride"] < span[1]


def window(axis: dict, span: list) -> list:
    """What a pooling window reads for a span of outputs."""
    begin = span[0] * axis["stride"] - axis["pad"][0]
    end = (span[1] - 1) * axis["stride"] - axis["pad"][0] + (axis["kernel"] - 1) * axis["dilation"] + 1
    return [max(begin, 0), min(end, axis["input"])]


def multipliers(facts: dict, whole: bool) -> int:
    pe, array = facts["machine"]["pe"], facts["machine"]["array"]
    of_pe = pe["weights_per_vector"] * pe["activations_per_vector"]
    return of_pe * array["rows"] * array["cols"] if whole else of_pe


def dense(axes: list, weights: np.ndarray, images: int) -> int:
    positions = axes[0]["output"] * axes[1]["output"] * images
    return weights.size * positions // (axes[0]["upsample"] * axes[1]["upsample"])


def dcnn(facts: dict, axes: list, weights: np.ndarray, images: int) -> int:
    """A dense machine on the same grid: full lanes, and as long as its largest tile."""
    array = facts["machine"]["array"]
    tile = -(-axes[0]["output"] // array["rows"]) * -(-axes[1]["output"] // array["cols"])
    per_position = -(-weights.size // multipliers(facts, whole=False))
    return per_position * tile * images // (axes[0]["upsample"] * axes[1]["upsample"])


if __name__ == "__main__":
    main()
