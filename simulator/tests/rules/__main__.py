"""An independent model of the machine, written from isa/RULES.md alone: it shares no code with the simulator.

    python simulator/tests/rules check PROGRAM.s DUMPS REPORT.json FAST.json
    python simulator/tests/rules random --scnnc BINARY [--layers N] [--machines N] [--seed N] [--keep DIR]
    python simulator/tests/rules example --scnnc BINARY

The layers of one run; random layers on random machines; the layer that isa/RULES.md follows by hand. Each recomputes
counters, energies, slots and cycles of both timings from the program's text and the dumped tensors, compares them with
the report and fails where one differs. `random` then breaks one rule after the other (`change.py`) and expects that
each is noticed.
Needs numpy; `random` and `example` need onnx.
"""

import argparse
import sys

import compare


def main():
    parser = argparse.ArgumentParser(
        prog="rules", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    check = verbs.add_parser("check")
    for name in ("program", "dumps", "report", "fast"):
        check.add_argument(name)
    check.set_defaults(run=compare.check)
    random = verbs.add_parser("random")
    random.add_argument("--scnnc", required=True)
    random.add_argument("--layers", type=int, default=100)
    random.add_argument("--machines", type=int, default=10)
    random.add_argument("--seed", type=int, default=1)
    random.add_argument("--keep", help="keep the files of layers that differ in this folder")
    random.set_defaults(run=compare.random_layers)
    example = verbs.add_parser("example")
    example.add_argument("--scnnc", required=True)
    example.add_argument("--write", action="store_true", help="write the document's figures anew")
    example.set_defaults(run=compare.example)
    options = parser.parse_args()
    sys.exit(options.run(options))


if __name__ == "__main__":
    main()
