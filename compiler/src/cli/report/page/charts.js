// Charts. Every mark carries its numbers as a title, which becomes the tip, the accessible name, and what tests read.

const FONT = { fontSize: "12px", fontFamily: "inherit", background: "none" };

// Puts a chart into its place; titles become tips.
function place(id, chart) {
  const host = document.getElementById(id);
  for (const note of chart.querySelectorAll("title")) {
    const mark = note.parentElement;
    mark.setAttribute("data-tip", note.textContent);
    mark.setAttribute("aria-label", note.textContent);
    note.remove();
  }
  for (const link of chart.querySelectorAll("a")) link.setAttribute("tabindex", "-1");
  host.replaceChildren(chart);
}

function legend(host, names) {
  host.replaceChildren(...names.map((name) => {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.style.background = colour(name);
    entry.append(swatch, words(name));
    return entry;
  }));
}

function wholeChart() {
  const slots = run().report.totals.cycles.slots;
  const all = Math.max(1, sum(Object.values(slots)));
  const parts = CAUSES.map((cause) => ({ cause, share: slots[cause] / all })).filter((part) => part.share > 0);
  let end = 0;
  for (const part of parts) { part.x1 = end; end += part.share; part.x2 = end; }
  place("whole-chart", Plot.plot({
    width: 1400, height: 66, marginLeft: 4, marginRight: 4, marginTop: 0, style: FONT,
    x: { percent: true, domain: [0, 100], label: null, tickFormat: (v) => `${v} %` },
    marks: [
      Plot.rectX(parts, { x1: "x1", x2: "x2", fill: (d) => colour(d.cause), title: (d) => `${words(d.cause)}: ${percent(d.share, 1)}`, inset: 0.5 }),
      Plot.text(parts.filter((part) => part.share > 0.045), { x: (d) => (d.x1 + d.x2) / 2, text: (d) => `${words(d.cause)} ${percent(d.share)}`, fill: "white", stroke: "#0008", strokeWidth: 2, fontWeight: 600, lineWidth: 7, clip: true }),
    ],
  }));
  legend(document.getElementById("causes"), parts.map((part) => part.cause));
}

// Five small charts beside the layers' names, a row each.
const ROW = 18;

function stripChart(id, heading, views, options) {
  const column = document.createElement("div");
  column.innerHTML = `<h3><span>${heading}</span></h3><figure id="${id}"></figure>`;
  document.getElementById("strip").append(column);
  const { marks, x } = options;
  const { width } = column.getBoundingClientRect();
  const chart = Plot.plot({
    width: Math.max(150, Math.floor(width)), height: views.length * ROW + 26, marginTop: 0, marginBottom: 26, marginLeft: 8, marginRight: 14,
    style: { ...FONT, fontSize: "11px" },
    x: { label: null, ticks: 4, ...x },
    y: { type: "band", domain: views.map((view) => view.at), axis: null, padding: 0.22, round: false, paddingOuter: 0.11 },
    marks: [Plot.gridX({ strokeOpacity: 0.12, ticks: x.gridTicks ?? 4 }), ...marks],
  });
  place(id, chart);
}

const powers = ([low, high]) => d3.range(Math.round(Math.log10(low)), Math.round(Math.log10(high)) + 1).map((power) => 10 ** power);

function strip() {
  const views = shown();
  const host = document.getElementById("strip");
  host.replaceChildren();
  const names = document.createElement("div");
  names.innerHTML = "<h3>&nbsp;</h3>";
  const list = document.createElement("ol");
  for (const view of views) {
    const item = document.createElement("li");
    if (view.at === state.layer) item.className = "chosen";
    const link = document.createElement("a");
    link.href = `#layer-${view.at}`;
    link.textContent = view.layer.name;
    link.title = view.layer.onnx_nodes.join(" ");
    item.append(link);
    list.append(item);
  }
  names.append(list);
  host.append(names);
  if (!views.length) return;
  const href = (d) => `#layer-${d.at}`;
  const flat = (key) => views.flatMap((view) => view[key].map((part) => ({ ...part, at: view.at, name: view.layer.name })));
  const causes = flat("causes").filter((part) => part.cycles > 0);
  const energy = flat("energy").filter((part) => part.pj > 0);
  stripChart("cycles-chart", "cycles, by cause", views, {
    x: { tickFormat: (v) => si(v) },
    marks: [Plot.barX(causes, { x: "cycles", y: "at", fill: (d) => colour(d.cause), href, title: (d) => `${d.name}\n${words(d.cause)}: ${exactly(d.cycles)} cycles (${percent(d.share, 1)})` })],
  });
  const machines = views.filter((view) => view.onArray && view.cycles > 0);
  const dots = machines.flatMap((view) => [["DCNN", view.dcnn], ["DCNN ideal", view.ideal], ["oracle", view.oracle], ["SCNN", view.cycles]]
    .map(([machine, cycles]) => ({ at: view.at, name: view.layer.name, machine, cycles })).filter((d) => d.cycles > 0));
  const [least, most] = d3.extent(dots, (d) => d.cycles);
  const decades = dots.length ? [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most))] : [1, 10];
  const dot = (machine, style) => Plot.dot(dots.filter((d) => d.machine === machine), { x: "cycles", y: "at", href, title: (d) => `${d.name}\n${d.machine}: ${exactly(d.cycles)} cycles`, ...style });
  stripChart("machines-chart", "cycles: <span style='color:var(--accent)'>&#9679;</span> SCNN, &#9675; DCNN, &#215; ideal dense, <span style='color:var(--useful)'>&#9670;</span> oracle", views, {
    x: { type: "log", domain: decades, ticks: powers(decades), tickFormat: (v) => si(v), gridTicks: powers(decades) },
    marks: [
      Plot.ruleY(machines, { y: "at", x1: (d) => Math.max(1, d.oracle), x2: (d) => Math.max(d.dcnn, d.cycles), strokeOpacity: 0.3 }),
      dot("DCNN ideal", { symbol: "times", stroke: "currentColor", strokeOpacity: 0.6, r: 2.5 }),
      dot("DCNN", { stroke: "currentColor", r: 3.5 }),
      dot("oracle", { symbol: "diamond", fill: "var(--useful)", r: 3.5 }),
      dot("SCNN", { fill: "var(--accent)", r: 4 }),
    ],
  });
  stripChart("utilisation-chart", "useful multiplications (the oracle's are 100 %)", views, {
    x: { domain: [0, 100], tickFormat: (v) => `${v} %` },
    marks: [
      Plot.barX(machines, { x: 100, y: "at", fill: "var(--raised)" }),
      Plot.barX(machines, { x: (d) => 100 * d.layer.utilisation, y: "at", fill: "var(--useful)", href, title: (d) => `${d.layer.name}\nuseful: ${percent(d.layer.utilisation, 1)} of all slots\nbound by ${cell(d, "bound")}` }),
      Plot.text(machines, { x: (d) => 100 * d.layer.utilisation, y: "at", text: (d) => percent(d.layer.utilisation), textAnchor: "start", dx: 3, fontSize: 10, fill: "currentColor" }),
    ],
  });
  stripChart("energy-chart", "energy, by component", views, {
    x: { tickFormat: (v) => si(v * 1e-12, "J") },
    marks: [Plot.barX(energy, { x: "pj", y: "at", fill: (d) => colour(d.component), href, title: (d) => `${d.name}\n${words(d.component)}: ${si(d.pj * 1e-12, "J")}` })],
  });
  const densities = views.filter((view) => view.layer.mapping).flatMap((view) => [["weights", view.onArray], ["input", true], ["output", true]]
    .filter(([, there]) => there).map(([what]) => ({ at: view.at, name: view.layer.name, what, share: view.layer.density[what] })));
  const density = (what, style) => Plot.dot(densities.filter((d) => d.what === what), { x: (d) => 100 * d.share, y: "at", href, title: (d) => `${d.name}\n${d.what}: ${percent(d.share, 1)} dense`, ...style });
  stripChart("density-chart", "density: &#9632; weights, <span style='color:var(--accent)'>&#9679;</span> in, <span style='color:var(--barrier)'>&#9675;</span> out", views, {
    x: { domain: [0, 100], tickFormat: (v) => `${v} %` },
    marks: [
      density("weights", { symbol: "square", fill: "currentColor", r: 3 }),
      density("input", { fill: "var(--accent)", r: 3.5 }),
      density("output", { stroke: "var(--barrier)", r: 3.5 }),
    ],
  });
  legend(document.querySelector('[data-legend="causes"]'), CAUSES.filter((cause) => causes.some((part) => part.cause === cause)));
  legend(document.querySelector('[data-legend="components"]'), COMPONENTS.filter((component) => energy.some((part) => part.component === component)));
}

function roofline() {
  const report = run().report;
  const peak = report.multipliers;
  const bytesPerCycle = report.dram_gigabytes_per_second / report.clock_gigahertz;
  const points = run().layers.filter((view) => view.useful > 0 && view.cycles > 0 && view.bytes > 0)
    .map((view) => ({ at: view.at, name: view.layer.name, bound: cell(view, "bound"), x: view.useful / view.bytes, y: view.useful / view.cycles, cause: CAUSES[d3.maxIndex(view.causes, (part) => part.cycles)] }));
  const ridge = peak / bytesPerCycle;
  const low = Math.min(ridge / 10, d3.min(points, (d) => d.x) ?? 1) / 2;
  const high = Math.max(ridge * 10, d3.max(points, (d) => d.x) ?? 1) * 2;
  const roof = [[low, low * bytesPerCycle], [ridge, peak], [high, peak]];
  place("roofline", Plot.plot({
    width: 680, height: 400, marginLeft: 52, marginBottom: 40, marginRight: 20, style: FONT,
    x: { type: "log", domain: [low, high], label: "useful multiplications / DRAM byte", tickFormat: "~s", ticks: 5, grid: true },
    y: { type: "log", label: "useful multiplications / cycle", tickFormat: "~s", ticks: 5, nice: true, grid: true },
    marks: [
      Plot.line(roof, { strokeWidth: 2 }),
      Plot.text([[high, peak]], { text: [`${peak} multipliers`], textAnchor: "end", dy: -8 }),
      Plot.text([[low, low * bytesPerCycle]], { text: [`DRAM ${report.dram_gigabytes_per_second} GB/s`], textAnchor: "start", dy: 12, dx: 34 }),
      Plot.dot(points, { x: "x", y: "y", r: (d) => (d.at === state.layer ? 7 : 4.5), fill: (d) => colour(d.cause), stroke: (d) => (d.at === state.layer ? "currentColor" : "none"), strokeWidth: 2, href: (d) => `#layer-${d.at}`, title: (d) => `${d.name}\n${d.y.toFixed(1)} useful multiplications a cycle\n${d.x.toFixed(1)} a DRAM byte\nbound by ${d.bound}` }),
    ],
  }));
}

function memory() {
  const { report, layers } = run();
  const starts = layers.map((view) => view.begin);
  const ends = layers.map((view) => view.begin + view.cycles);
  const names = ["a", "b", "dram"];
  const label = { a: "RAM A, elements a PE", b: "RAM B, elements a PE", dram: "DRAM, bytes" };
  const figure = document.createElement("div");
  const palette = d3.schemeTableau10;
  const tensors = [...new Set(report.occupancy.map((entry) => entry.tensor))];
  for (const name of names) {
    const entries = report.occupancy.filter((entry) => entry.memory === name);
    if (!entries.length) continue;
    const capacity = { a: report.ram_elements[0], b: report.ram_elements[1] }[name];
    const top = capacity ?? d3.max(entries, (entry) => entry.base + entry.size);
    figure.append(Plot.plot({
      width: 680, height: 140, marginLeft: 52, marginBottom: name === "dram" ? 32 : 20, marginTop: 22, style: FONT,
      x: { domain: [0, run().cycles || 1], label: name === "dram" ? "cycles" : null, tickFormat: (v) => si(v) },
      y: { domain: [0, top], label: label[name], tickFormat: (v) => si(v), ticks: 3 },
      marks: [
        Plot.rect(entries, {
          x1: (d) => starts[d.layers[0]], x2: (d) => Math.max(ends[d.layers[1]], starts[d.layers[0]] + run().cycles / 800), y1: "base", y2: (d) => d.base + d.size,
          fill: (d) => palette[tensors.indexOf(d.tensor) % palette.length], fillOpacity: 0.8, stroke: "var(--ground)", strokeWidth: 0.5, href: (d) => `#layer-${d.layers[0]}`,
          title: (d) => `${d.region}\n${exactly(d.size)} ${name === "dram" ? "bytes" : "elements a PE"} from ${exactly(d.base)}\nlayers ${report.layers[d.layers[0]].name} to ${report.layers[d.layers[1]].name}`,
        }),
        ...(capacity ? [Plot.ruleY([capacity], { strokeDasharray: "4 3" })] : []),
      ],
    }));
  }
  place("memory", figure);
}

// The cut of a layer's source plane over the PEs.
function tiling(view) {
  const { shape, mapping } = view.layer;
  const boxes = mapping.tiling.flatMap((tile, index) => d3.pairs(tile.y).flatMap(([y1, y2], row) => d3.pairs(tile.x).map(([x1, x2], col) => ({ index, row, col, x1, x2, y1, y2 }))))
    .filter((box) => box.x2 > box.x1 && box.y2 > box.y1);
  const side = 300;
  const scale = side / Math.max(shape.h, shape.w);
  return Plot.plot({
    width: Math.max(120, shape.w * scale + 60), height: Math.max(60, shape.h * scale + 50), marginLeft: 40, marginTop: 24, marginRight: 12, marginBottom: 12, style: FONT,
    x: { domain: [0, shape.w], axis: "top", label: "columns", ticks: 5 }, y: { domain: [shape.h, 0], label: "rows", ticks: 5 },
    marks: [
      Plot.rect(boxes, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: (d) => d3.schemeTableau10[d.index % 10], fillOpacity: 0.25, stroke: "currentColor", strokeWidth: 0.8, title: (d) => `PE row ${d.row}, column ${d.col}${mapping.tiling.length > 1 ? `, temporal tile ${d.index}` : ""}\nrows ${d.y1}..${d.y2}, columns ${d.x1}..${d.x2}` }),
      Plot.frame(),
    ],
  });
}

const runColour = (run) => d3.schemeObservable10[run.index % 10];

// Cycles and energy of the runs, layer by layer where the names agree.
function compareChart() {
  const rows = RUNS.flatMap((run) => run.layers.filter((view) => view.cycles > 0).map((view) => ({ run: `${run.index + 1}`, name: view.layer.name, cycles: view.cycles, pj: view.pj, title: title(run) })));
  const names = [...new Set(rows.map((row) => row.name))];
  const longest = Math.min(260, 12 + 6.5 * d3.max(names, (name) => name.length));
  const chart = (key, format, margin) => Plot.plot({
    width: margin ? 580 + longest : 580, height: names.length * (9 * RUNS.length + 6) + 30, marginLeft: margin ? longest : 10, marginTop: 20, marginRight: 30, style: FONT, axis: null,
    x: { axis: "top", label: null, tickFormat: format, grid: true, ticks: 5 },
    y: { domain: RUNS.map((run) => `${run.index + 1}`), padding: 0.05 },
    fy: { domain: names, axis: null, padding: 0.2 },
    marks: [
      ...(margin ? [Plot.text(names, { fy: (name) => name, text: (name) => (name.length > 38 ? `\u2026${name.slice(-37)}` : name), frameAnchor: "left", textAnchor: "end", dx: -6 })] : []),
      Plot.barX(rows, { x: key, y: "run", fy: "name", fill: (d) => runColour(RUNS[d.run - 1]), title: (d) => `${d.name}\n${d.title}\n${key === "pj" ? si(d.pj * 1e-12, "J") : `${exactly(d.cycles)} cycles`}` })],
  });
  const both = document.createElement("div");
  both.style.cssText = `display:grid; grid-template-columns:${580 + longest}fr 580fr; min-width:1000px`;
  both.append(element("h3", "cycles", { style: `padding-left:${longest}px` }), element("h3", "energy", { style: "padding-left:10px" }));
  both.append(chart("cycles", (v) => si(v), true), chart("pj", (v) => si(v * 1e-12, "J"), false));
  place("compare-chart", both);
}
