"""The verbs: one run, random runs with sabotages, the document's example."""

import json
import shutil
import subprocess
import tempfile
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import generate
import program as text
from change import NAMES, Change
from twin import Twin, differences, reported_figures


@dataclass
class Run:
    """What the tool wrote of one run."""

    program: text.Program
    dumps: Path
    exact: list
    fast: list

    @staticmethod
    def of(program, dumps, report, fast) -> "Run":
        layers = lambda path: json.loads(Path(path).read_text())["layers"]
        return Run(text.read(Path(program).read_text()), Path(dumps), layers(report), layers(fast))

    def compare(self, change: Change = Change(), log: list | None = None):
        """For each step its report and what differs; None where a tensor is not in the dumps."""
        twin = Twin(self.program, self.dumps, change, log)
        for (report, ours), fast in zip(twin.layers(self.exact), self.fast):
            theirs = reported_figures(report, fast)
            yield report, None if ours is None else differences(theirs, ours)


class Tally:
    """Steps that agree, differ, and could not be looked at."""

    def __init__(self):
        self.layers = self.segments = self.skipped = 0
        self.wrong: list = []
        self.met: Counter = Counter()

    def add(self, where: str, report: dict, found):
        if found is None:
            self.skipped += 1
            return
        self.met.update({line.split()[0] for line in report["code"]})
        self.met.update(name for name, count in report["counters"].items() if count)
        self.layers += report["engine"] == "scnn"
        self.segments += report["engine"] != "scnn"
        if found:
            self.wrong.append(where)
            print(f"DIFFERS {where}, {report['name']}:")
            for name, theirs, ours in found:
                print(f"    {name}: reported {theirs}, by the rules {ours}")

    def __str__(self):
        return (
            f"{self.layers} layers and {self.segments} host segments: {len(self.wrong)} differ in counters, energies, "
            f"slots or cycles (exact and fast); {self.skipped} not looked at, as the dumps do not have all that they read"
        )


def check(options) -> int:
    tally = Tally()
    for report, found in Run.of(options.program, options.dumps, options.report, options.fast).compare():
        tally.add(options.report, report, found)
    print(tally)
    return bool(tally.wrong)


def scnnc(options, *arguments) -> bool:
    """Runs the binary; False where it refuses the model on the machine, which some are."""
    done = subprocess.run([options.scnnc, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 1 and "E09" not in done.stderr:
        return False
    if done.returncode:
        raise SystemExit(f"scnnc {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
    return True


def run_model(options, folder: Path, model: Path, inputs: tuple, machine, mapping: str):
    """Compiles and runs a model; what the tool wrote, or None if it refused."""
    program, listing, dumps = folder / "p.scnn", folder / "p.s", folder / "dump"
    if not scnnc(
        options, "compile", model, "--calibrate", inputs[1], "--machine", machine, "--mapping", mapping, "-o", program
    ):
        return None
    scnnc(options, "disasm", program, "-o", listing)
    reports = [folder / f"{timing}.json" for timing in ("exact", "fast")]
    for report, more in zip(reports, (["--dump", dumps], ["--timing", "fast"])):
        if not scnnc(options, "run", program, "--input", inputs[0], "--report", report, *more):
            return None
    return Run.of(listing, dumps, *reports)


class Session:
    """Random models on random machines, as many as are asked for."""

    def __init__(self, options, scratch: Path):
        self.options, self.scratch = options, scratch
        self.random, self.tally = Random(options.seed), Tally()
        self.machines = self.refused = 0
        self.runs: list = []

    def draw(self, layers: int, machines: int):
        """So many layers on so many machines more."""
        last, wanted = self.machines + machines, self.tally.layers + layers
        while self.machines < last or self.tally.layers < wanted:
            self.machines += 1
            machine = self.scratch / f"machine{self.machines}.yaml"
            generate.write_machine(generate.machine(self.random), machine)
            enough = self.tally.layers + layers / machines
            for number in range(MOST_MODELS):
                if self.tally.layers >= enough:
                    break
                self.compare(machine, number)

    def compare(self, machine: Path, number: int):
        folder = self.scratch / f"{self.machines}-{number}"
        folder.mkdir()
        inputs = generate.model(self.random, folder / "model.onnx")
        mapping = self.random.choice(["search", "paper"])
        run = run_model(self.options, folder, folder / "model.onnx", inputs, machine, mapping)
        if run is None:
            self.refused += 1
            return
        before = len(self.tally.wrong)
        where = f"seed {self.options.seed}, machine {self.machines}, model {number}, {mapping} mapping"
        for report, found in run.compare():
            self.tally.add(where, report, found)
        if len(self.tally.wrong) > before and self.options.keep:
            kept = Path(self.options.keep) / folder.name
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            shutil.copy(machine, kept)
        self.runs.append(run)


MOST_MODELS = 200
"""Models on one machine, if their layers stay fewer than are asked for."""

ROUNDS_OF_SABOTAGE = 4
"""How often more layers are drawn for sabotages that none has noticed."""


def random_layers(options) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(options, Path(scratch))
        session.draw(options.layers, options.machines)
        tally, missed, looked = session.tally, NAMES, 0
        print(f"{session.machines} machines, {session.refused} models refused; {tally}")
        print("steps with " + ", ".join(f"{name} {count}" for name, count in sorted(tally.met.items())))
        if tally.wrong:
            return 1
        for _ in range(ROUNDS_OF_SABOTAGE):
            missed = sabotages(session.runs[looked:], missed)
            if not missed:
                break
            looked = len(session.runs)
            session.draw(100, 20)
        for name in missed:
            print(f"MISSED sabotage {name}: no layer notices it")
        print(f"{len(NAMES) - len(missed)} of {len(NAMES)} sabotages caught")
    return bool(tally.wrong or missed)


def sabotages(runs: list, names: list) -> list:
    """Breaks one rule after the other; those that no layer notices."""
    missed = []
    for name in names:
        noticed = next(notices(runs, Change(**{name: 1})), None)
        if noticed is None:
            missed.append(name)
        else:
            report, (figure, theirs, ours) = noticed
            print(f"caught sabotage {name}: {report['name']} has {figure} {theirs}, with it {ours}")
    return missed


def notices(runs: list, change: Change):
    """The layers that differ under a sabotage, each with its first figure that does."""
    for run in runs:
        for report, found in run.compare(change):
            if found:
                yield report, found[0]


DOCUMENT = Path(__file__).parents[3] / "isa" / "RULES.md"


def example(options) -> int:
    """Runs the layer of the document's last section and compares all that the document says of it."""
    document = DOCUMENT.read_text()
    before, _, section = document.partition("## 13. ")
    machine, values, said = (part.split("```\n")[0] for part in section.split("```")[1:6:2])
    values = json.loads(values.partition("\n")[2])
    tally, log = Tally(), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "machine.yaml").write_text(machine.partition("\n")[2])
        inputs = generate.one_layer(values, folder / "model.onnx")
        run = run_model(options, folder, folder / "model.onnx", inputs, folder / "machine.yaml", "paper")
        for report, found in run.compare(log=log):
            tally.add("the example", report, found)
        found = "text\n" + story(log, run.exact[0])
    print(tally)
    if found == said:
        return bool(tally.wrong)
    if options.write:
        DOCUMENT.write_text(document.replace(said, found))
        return 0
    print(f"The document says otherwise; --write writes this:\n{found}")
    return 1


def story(log: list, report: dict) -> str:
    """What happens cycle by cycle, then what the report has."""
    lines = [f"{begin:4} to {end:<4} {what}" for begin, end, what in sorted(log, key=lambda entry: entry[:2])]
    lines += ["", f"cycles {report['cycles']['total']}"]
    for name, figures in (("slots", report["cycles"]["slots"]), ("counters", report["counters"])):
        lines.append(f"{name} " + ", ".join(f"{key} {value}" for key, value in figures.items() if value))
    return "\n".join("\n             ".join(wrap(line)) for line in lines) + "\n"


def wrap(line: str) -> list:
    return textwrap.wrap(line, 110, break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False) or [""]
