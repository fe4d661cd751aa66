"""Opens what scnnc writes for other programs with those programs, and compares the numbers with the report.

For every network, of a run on three machines:

    sums         cycles, energy and DRAM bytes of the nodes of every view (`netron`, `onnx`, `model-explorer`, `folded`) are the
                 report's
    onnx         `onnx.checker` accepts the annotated file; ONNX Runtime computes the same outputs from it
    explorer     the dataclasses of Model Explorer's package (`ai-edge-model-explorer`) read the node data, and its adapter for
                 ONNX (`model-explorer-onnx`) has a node for every key
    heatmap      Model Explorer in a headless Chromium shows the sum and the maximum of the cycles
    trace        no slice of a track overlaps another without nesting; the queries of `simulator/queries` give the totals
    perfetto     the protobuf messages of the package `perfetto` read the trace without an unknown field
    netron       Netron (PyPI) in a headless Chromium shows the report's cycles and energy at a node, from the side file and
                 from the annotated file

    python models/viewers.py target/debug/scnnc                  LeNet-5 and the small network
    python models/viewers.py SCNNC --zoo squeezenet m5 ...       networks of the zoo as well, made on the way
    python models/viewers.py SCNNC MODEL.onnx ...                these files
    python models/viewers.py SCNNC --only sums netron            these checks

A check whose program is missing is skipped, and says so. Exit status 3: a check failed.
"""

import argparse
import http.client
import importlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The folder `torch` beside this file is not the package.
sys.path = [place for place in sys.path if Path(place).resolve() != HERE]
QUERIES = sorted((HERE / "../simulator/queries").glob("*.sql"))
MACHINES = ["scnn", "scnn-multicast", "scnn-16pe"]
CHECKS = ["sums", "onnx", "explorer", "heatmap", "trace", "perfetto", "netron"]
# Of a page, which is the same whatever the machine.
PAGES = {"heatmap", "netron"}
# Energies are sums of floats in another order.
CLOSE = 1e-9


class Skipped(Exception):
    """A program that a check needs is not there."""


def package(name):
    """A module, or the check is skipped."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        raise Skipped(f"Python cannot import `{name}`: {missing}") from missing


class Run:
    """A network's run on a machine, with every view and its trace, in a folder of its own."""

    def __init__(self, scnnc, model, machine, folder, traced):
        self.model, self.folder = Path(model), Path(folder)
        views = [f"--view={view}={self.folder / view}" for view in ["netron", "onnx", "model-explorer", "folded"]]
        timing = ["--trace", str(self.folder / "t.pftrace")] if traced else ["--timing", "fast"]
        command = [scnnc, "run", model, "--machine", machine, "--mapping", "paper", "--quiet", "--samples", "1"]
        # The image that a network of the zoo has its densities on: of noise, layers see zeros alone.
        image = self.model.with_suffix(".npy")
        command += ["--input", image] if image.is_file() else []
        command += [*views, *timing, "--report", str(self.folder / "report.json")]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        self.report = self.json("report.json")

    def json(self, name):
        return json.loads((self.folder / name).read_text())

    def totals(self):
        totals = self.report["totals"]
        return {
            "cycles": totals["cycles"]["total"],
            "energy_pj": totals["energy_pj"]["total"],
            "dram_bytes": sum(totals["dram_bytes"].values()),
        }


def same(what, found, expected):
    apart = abs(found - expected)
    assert apart <= CLOSE * max(1, abs(expected)), f"{what}: {found}, the report has {expected}"


def sums(run):
    """The numbers of every view's nodes sum to the report's; layers that compute no node stand at the model."""
    elsewhere = [layer for layer in run.report["layers"] if not layer["onnx_nodes"]]
    missing = {
        "cycles": sum(layer["cycles"]["total"] for layer in elsewhere),
        "energy_pj": sum(layer["energy_pj"]["total"] for layer in elsewhere),
        "dram_bytes": sum(sum(layer["dram_bytes"].values()) for layer in elsewhere),
    }
    metrics = [metric for metric in run.json("netron")["metrics"] if metric["kind"] == "node"]
    for name, total in run.totals().items():
        found = sum(metric["value"] for metric in metrics if metric["name"] == f"scnnc.{name}")
        same(f"netron, {name}", found + missing[name], total)
    if importlib.util.find_spec("onnx"):
        model = package("onnx").load(run.folder / "onnx", load_external_data=False)
        props = [prop for node in model.graph.node for prop in node.metadata_props]
        for name, total in run.totals().items():
            found = sum(float(prop.value) for prop in props if prop.key == f"scnnc.{name}")
            same(f"onnx, {name}", found + missing[name], total)
    (graph,) = run.json("model-explorer").values()
    found = sum(result["value"] for result in graph["results"].values())
    same("model-explorer, cycles", found + missing["cycles"], run.totals()["cycles"])
    stacks = (run.folder / "folded").read_text().splitlines()
    slots = sum(int(stack.rsplit(" ", 1)[1]) for stack in stacks)
    same("folded, slots", slots, run.totals()["cycles"] * run.report["multipliers"])
    return f"{len(metrics)} metrics, {len(stacks)} stacks"


def onnx(run):
    """The annotated file is the model with notes: valid, and computing the same."""
    checker, runtime, numpy = package("onnx.checker"), package("onnxruntime"), package("numpy")
    checker.check_model(str(run.folder / "onnx"))
    noise = numpy.random.default_rng(1)
    types = {"tensor(float)": numpy.float32, "tensor(double)": numpy.float64, "tensor(int64)": numpy.int64}
    results = []
    for file in [run.model, run.folder / "onnx"]:
        session = runtime.InferenceSession(str(file))
        if not results:
            feeds = {}
            for given in session.get_inputs():
                shape = [extent if isinstance(extent, int) else 1 for extent in given.shape]
                feeds[given.name] = noise.random(shape).astype(types[given.type])
        results.append(session.run(None, feeds))
    for ours, theirs in zip(*results):
        assert numpy.array_equal(ours, theirs, equal_nan=True), "the annotated file computes something else"
    return f"{len(results[0])} outputs equal"


def explorer(run):
    """Model Explorer's own classes read the node data: no field is unknown or of another type."""
    builder, dacite = package("model_explorer.node_data_builder"), package("dacite")
    graphs = run.json("model-explorer")
    read = {
        name: dacite.from_dict(builder.GraphNodeData, graph, dacite.Config(strict=True)) for name, graph in graphs.items()
    }
    written = json.loads(builder.ModelNodeData(graphsData=read).to_json_string())
    for name, graph in graphs.items():
        values = {key: result["value"] for key, result in graph["results"].items()}
        again = {key: result["value"] for key, result in written[name]["results"].items()}
        assert again == values, "the node data is not as Model Explorer writes it again"
    try:
        adapter = package("model_explorer_onnx.main").ONNXAdapter()
    except Skipped:
        return f"{sum(len(graph.results) for graph in read.values())} nodes; there is no model-explorer-onnx"
    shown = {graph.id: {node.id for node in graph.nodes} for graph in adapter.convert(str(run.model), {})["graphs"]}
    for name, graph in read.items():
        missing = set(graph.results) - shown.get(name, set())
        assert name in shown and not missing, f"Model Explorer has no nodes {sorted(missing)[:5]} in a graph `{name}`"
    return f"{sum(len(graph.results) for graph in read.values())} nodes, all in its graph"


def heatmap(run):
    """The sum and the maximum of the cycles, as Model Explorer's page shows them."""
    package("model_explorer_onnx")
    program = Path(sys.executable).with_name("model-explorer")
    chromium = chromium_or_skip()
    data = run.folder / "model-explorer.json"
    data.write_text((run.folder / "model-explorer").read_text())
    command = [program, run.model, "--extensions=model_explorer_onnx", f"--node_data_paths={data}", "--no_open_in_browser"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    explorer = subprocess.Popen(
        [*command, f"--port={port}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        address = next((line for line in explorer.stdout if line.startswith("http")), None)
        assert address, "Model Explorer does not start"
        theirs, _, query = address.strip().partition("/?")
        seen = shown_by_explorer(theirs, chromium, f"/?{query}")
    finally:
        explorer.terminate()
        explorer.wait()
    (graph,) = run.json("model-explorer").values()
    cycles = [result["value"] for result in graph["results"].values()]
    assert seen == {"sum": sum(cycles), "max": max(cycles)}, f"the page shows {seen}, expected {sum(cycles)} and {max(cycles)}"
    return f"sum {seen['sum']}, at most {seen['max']}"


def shown_by_explorer(theirs, chromium, address):
    """What Model Explorer's page, served at `theirs`, shows of node data."""

    class Page(Driven):
        def do_GET(self):
            if self.path == "/driver.js":
                return self.give((HERE / "viewers/explorer.js").read_bytes(), "text/javascript")
            return self.forward(None)

        def do_POST(self):
            return super().do_POST() if self.path == "/seen" else self.forward(self.body())

        def forward(self, body):
            kind = {"Content-Type": self.headers["Content-Type"]} if body is not None else {}
            try:
                answer = urllib.request.urlopen(urllib.request.Request(theirs + self.path, body, kind))
                data, kind = answer.read(), answer.headers["Content-Type"]
            except urllib.error.HTTPError as error:
                return self.send_error(error.code)
            except (OSError, http.client.HTTPException):
                # A stream of events, which ends when the server does: nobody listens any more.
                return None
            if self.path.startswith("/?"):
                data = data.replace(b"</head>", b'<script src="/driver.js"></script></head>')
            return self.give(data, kind)

    return posted(Page, chromium, address)


def chromium_or_skip():
    """The browser, or the check is skipped."""
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if chromium is None:
        raise Skipped("there is no chromium on the path")
    return chromium


def trace(run):
    """Slices nest, and the queries give the report's totals; the script is the one that the tests run."""
    script = HERE / "../compiler/cli/tests/it/trace_queries.py"
    said = subprocess.run(
        [sys.executable, script, run.folder / "t.pftrace", *QUERIES], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr[-500:]
    found = json.loads(said.stdout)
    rows = {query.stem: rows for query, rows in zip(QUERIES, found["rows"])}
    layers = [[layer["name"], layer["cycles"]["total"]] for layer in run.report["layers"]]
    assert [row[:2] for row in rows["cycles"]] == layers, "cycles by layer"
    assert {row[0]: row[1] for row in rows["slots"]} == run.report["totals"]["cycles"]["slots"], "slots by cause"
    same("energy of the trace", sum(row[1] for row in rows["energy"]), run.totals()["energy_pj"])
    same("DRAM bytes of the trace", sum(row[2] for row in rows["energy"]), run.totals()["dram_bytes"])
    return f"{found['slices']} slices on {found['tracks']} tracks, by {found['engine']}"


def perfetto(run):
    """Perfetto's own messages read every packet."""
    messages = package("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    unknown = package("google.protobuf.unknown_fields")
    read = messages.Trace.FromString((run.folder / "t.pftrace").read_bytes())
    begins = ends = 0
    for packet in read.packet:
        event = packet.track_event
        assert not len(unknown.UnknownFieldSet(packet)) and not len(unknown.UnknownFieldSet(event)), "unknown fields"
        begins += event.type == event.TYPE_SLICE_BEGIN
        ends += event.type == event.TYPE_SLICE_END
    assert begins == ends > 0, f"{begins} slices begin and {ends} end"
    return f"{len(read.packet)} packets"


def netron(run):
    """Cycles and energy of the node with most cycles, as Netron's page shows them."""
    folder = Path(package("netron").__file__).parent
    chromium = chromium_or_skip()
    layer = max((l for l in run.report["layers"] if l["onnx_nodes"]), key=lambda layer: layer["cycles"]["total"])
    node = layer["onnx_nodes"][0]
    metrics = [m for m in run.json("netron")["metrics"] if m["kind"] == "node" and m["target"] == node]
    expected = {metric["name"]: metric["value"] for metric in metrics}
    assert expected["scnnc.cycles"] >= layer["cycles"]["total"]
    for given in [
        {"model.onnx": run.model, "attachment.json": run.folder / "netron"},
        {"model.onnx": run.folder / "onnx"},
    ]:
        shown = dict(shown_by_netron(folder, chromium, given, node))
        for name, value in expected.items():
            assert float(shown[name]) == value, f"{name} of {node}: Netron shows {shown[name]}, expected {value}"
    return f"{node}: {expected['scnnc.cycles']} cycles"


def shown_by_netron(folder, chromium, given, node):
    """[name, value] of the properties that Netron shows of a node."""
    task = json.dumps({"attachment": "attachment.json" in given, "node": node}).encode()

    class Page(Driven):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def do_GET(self):
            path = self.path.split("?")[0]
            if path == "/":
                # As in Netron's sources: a version of zero asks neither for updates nor for statistics.
                page = re.sub(r'name="version" content="[^"]*"', 'name="version" content="0.0.0"', (folder / "index.html").read_text())
                return self.give(page.replace("</head>", '<script src="driver.js"></script></head>').encode(), "text/html")
            if path == "/driver.js":
                return self.give((HERE / "viewers/netron.js").read_bytes(), "text/javascript")
            if path == "/given/task.json":
                return self.give(task, "application/json")
            if path.startswith("/given/"):
                return self.give(Path(given[path.removeprefix("/given/")]).read_bytes(), "application/octet-stream")
            return super().do_GET()

    return posted(Page, chromium, "/")


class Driven(SimpleHTTPRequestHandler):
    """A page with a driver in it, whose one POST is what it has seen; `posted` sets `seen` and `done`."""

    def log_message(self, *_):
        pass

    def give(self, data, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Set-Cookie", "consent=1")
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.seen.append(json.loads(self.body()))
        self.send_response(200)
        self.end_headers()
        self.done.set()

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))


def posted(page, chromium, address):
    """What a page posts that a headless Chromium opens."""
    page.seen, page.done = [], threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A process of Chromium may still write into its profile when it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        # Model Explorer draws with WebGL, also where there is no GPU.
        options += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=1400,900"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = subprocess.Popen([chromium, *options, f"http://127.0.0.1:{server.server_port}{address}"], **quiet)
        page.done.wait(180)
        browser.terminate()
        browser.wait()
    server.shutdown()
    assert page.seen, "the page did not answer"
    assert "error" not in page.seen[0], page.seen[0]
    return page.seen[0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("scnnc", type=os.path.abspath)
    arguments.add_argument("models", nargs="*", type=Path)
    arguments.add_argument("--zoo", nargs="+", default=[], metavar="NETWORK")
    arguments.add_argument("--machines", nargs="+", default=MACHINES)
    arguments.add_argument("--only", nargs="+", choices=CHECKS, default=CHECKS)
    given = arguments.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as made:
        for network in given.zoo:
            subprocess.run([given.scnnc, "zoo", "make", network, "-o", made], check=True, stdout=subprocess.DEVNULL)
        models = given.models + [Path(made) / f"{network}.onnx" for network in given.zoo]
        for model in models or [HERE / "lenet5.onnx", HERE / "tiny.onnx"]:
            for machine in given.machines:
                failed |= checked(given, model.absolute(), machine)
    sys.exit(3 if failed else 0)


def checked(given, model, machine):
    """Prints a line for every check; whether one failed."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        run = Run(given.scnnc, model, machine, folder, {"trace", "perfetto"} & set(given.only))
        for name in given.only:
            if name in PAGES and machine != given.machines[0]:
                continue
            try:
                said = globals()[name](run)
            except Skipped as reason:
                said = f"skipped: {reason}"
            except (AssertionError, KeyError) as problem:
                failed, said = True, f"FAILED: {problem}"
            print(f"{model.stem} on {machine}: {name}: {said}", flush=True)
    return failed


if __name__ == "__main__":
    main()
