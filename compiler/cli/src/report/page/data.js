// The reports and what is derived from them. Counts in a report sum over its samples; here everything is for one inference.

const CAUSES = Object.keys(DATA.reports[0].report.totals.cycles.slots);
const COMPONENTS = DATA.components;

// One report, per inference.
function inference(entry, index) {
  const report = entry.report;
  const samples = Math.max(1, report.samples);
  const seconds = report.totals.cycles.total / samples / (report.clock_gigahertz * 1e9);
  let begin = 0;
  const layers = report.layers.map((layer, at) => {
    const slots = sum(Object.values(layer.cycles.slots));
    const cycles = layer.cycles.total / samples;
    const view = {
      at, layer, row: entry.rows[at], cycles, begin,
      onArray: layer.multiplies.dense > 0,
      // Slots as cycles, so that the parts of a layer add up to its cycles.
      causes: CAUSES.map((cause) => ({ cause, cycles: slots ? cycles * layer.cycles.slots[cause] / slots : 0, share: slots ? layer.cycles.slots[cause] / slots : 0 })),
      energy: COMPONENTS.map((component) => ({ component, pj: layer.energy_pj[component] / samples })),
      pj: layer.energy_pj.total / samples,
      dcnnPj: layer.energy_pj.dcnn / samples,
      predicted: layer.cycles.predicted === null ? null : layer.cycles.predicted / samples,
      dcnn: layer.baselines.dcnn / samples,
      ideal: layer.baselines.dcnn_ideal / samples,
      oracle: layer.baselines.oracle / samples,
      useful: layer.multiplies.useful / samples,
      bytes: sum(Object.values(layer.dram_bytes)) / samples,
      names: [layer.name, ...layer.onnx_nodes].join("\n").toLowerCase(),
    };
    begin += cycles;
    return view;
  });
  const images = report.layers.find((layer) => layer.shape)?.shape.n ?? 1;
  return { ...entry, index, report, samples, seconds, layers, images, cycles: begin, pj: report.totals.energy_pj.total / samples };
}

const RUNS = DATA.reports.map(inference);
// Errors of the mapper's predictions, ascending by size.
const predictionErrors = (run) => run.layers.filter((view) => view.onArray && view.predicted !== null && view.cycles > 0)
  .map((view) => ({ view, error: view.predicted / view.cycles - 1 })).sort((a, b) => Math.abs(a.error) - Math.abs(b.error));
const title = (run) => `${run.report.model} on ${run.report.machine}, ${run.report.mapping}`;

// What is chosen and shown.
const state = { run: 0, layer: 0, search: "", bound: "", kind: "", sort: "index", descending: false, everyColumn: false };
const run = () => RUNS[state.run];

// A layer's cell in a column of the CSV.
function cell(view, column) {
  const value = view.row[DATA.columns.indexOf(column)];
  return typeof value === "number" && DATA.summed.includes(column) ? value / run().samples : value;
}

// Layers that pass the filters, in the chosen order.
function shown() {
  const search = state.search.trim().toLowerCase();
  const views = run().layers.filter((view) =>
    (!search || view.names.includes(search)) &&
    (!state.bound || cell(view, "bound") === state.bound) &&
    (!state.kind || view.layer.kind === state.kind));
  const key = (view) => cell(view, state.sort);
  // What a column does not concern comes before all that it does.
  const order = (a, b) => (a === null || b === null ? (a !== null) - (b !== null) : typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b), "en", { numeric: true }) : a - b);
  return views.sort((a, b) => (order(key(a), key(b)) || a.at - b.at) * (state.descending ? -1 : 1));
}
