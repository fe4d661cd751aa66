// Charts. Every mark carries its numbers as a title, which becomes the tip, the accessible name, and what tests read.

function swatch(name) {
  return element("i", [], { class: "swatch", style: `background:${colour(name)}` });
}

function legend(host, names, ...more) {
  host.replaceChildren(...names.map((name) => element("span", [swatch(name), words(name)], explained(name))), ...more);
}

// A gap between neighbours says where one ends, whatever eyes make of the colours; what is thin has no room for it.
const gap = (key, [, longest]) => ({ stroke: "var(--ground)", strokeWidth: (part) => (part[key] > longest / 60 ? 0.7 : 0) });

function wholeChart() {
  const slots = run().report.totals.cycles.slots;
  const all = Math.max(1, sum(Object.values(slots)));
  const parts = CAUSES.map((cause) => ({ cause, share: slots[cause] / all })).filter((part) => part.share > 0);
  let end = 0;
  for (const part of parts) { part.x1 = end; end += part.share; part.x2 = end; }
  const width = room("whole-chart");
  place("whole-chart", Plot.plot({
    width, height: 62, marginLeft: 10, marginRight: 18, marginTop: 2, style: FONT,
    x: { percent: true, domain: [0, 100], label: null, ticks: ticksIn(width), tickFormat: (v) => `${v} %` },
    marks: [Plot.rectX(parts, { x1: "x1", x2: "x2", fill: (d) => colour(d.cause), title: (d) => `${words(d.cause)}: ${percent(d.share, 1)}`, inset: 0.5 })],
  }));
  const shares = parts.map(({ cause, share }) => element("span", [swatch(cause), `${words(cause)} ${percent(share, 1)}`], explained(cause)));
  document.getElementById("causes").replaceChildren(...shares);
  const cycles = peSums(run().layers);
  document.getElementById("array").hidden = !cycles;
  if (cycles) place("array-map", arrayMap(cycles, 6));
  legend(document.getElementById("array-causes"), cycles ? Object.keys(cycles).filter((cause) => sum(cycles[cause]) > 0) : []);
}

// Cycles of every PE by cause, summed over layers; null where none of them has any.
function peSums(views) {
  const [rows, cols] = run().report.pes;
  const sums = {};
  for (const { layer } of views) {
    for (const [cause, cycles] of Object.entries(layer.pe_cycles)) {
      sums[cause] ??= new Array(rows * cols).fill(0);
      cycles.slice(0, rows * cols).forEach((value, pe) => { sums[cause][pe] += value / run().samples; });
    }
  }
  return Object.values(sums).some((cycles) => sum(cycles) > 0) ? sums : null;
}

// A map of the array: in the place of every PE a bar of its cycles, divided by cause.
function arrayMap(cycles, height) {
  const [rows, cols] = run().report.pes;
  const causes = Object.keys(cycles);
  const pes = d3.range(rows * cols).map((pe) => {
    const all = sum(causes.map((cause) => cycles[cause][pe])) || 1;
    let end = 0.05;
    const parts = causes.map((cause) => ({ cause, share: cycles[cause][pe] / all })).filter((part) => part.share > 0);
    const bars = parts.map((part) => ({ ...part, row: Math.floor(pe / cols), x1: pe % cols + end, x2: pe % cols + (end += 0.9 * part.share) }));
    const tip = parts.map((part) => `${words(part.cause)}: ${exactly(cycles[part.cause][pe])} cycles (${percent(part.share, 1)})`);
    return { row: Math.floor(pe / cols), col: pe % cols, bars, tip: `PE row ${Math.floor(pe / cols)}, column ${pe % cols}\n${tip.join("\n")}` };
  });
  const every = Math.ceil(Math.max(rows, cols) / 16);
  const ticks = (count) => d3.range(0, count, every);
  return Plot.plot({
    width: 340, height: 26 + rows * Math.max(4, Math.min(height * 4, 300 / rows)), marginLeft: 30, marginTop: 20, marginRight: 6, marginBottom: 6, style: FONT,
    x: { domain: [0, cols], axis: null }, y: { domain: [rows, 0], axis: null },
    marks: [
      Plot.text(ticks(cols), { x: (col) => col + 0.5, text: (col) => `${col}`, frameAnchor: "top", dy: -13 }),
      Plot.text(ticks(rows), { y: (row) => row + 0.5, text: (row) => `${row}`, frameAnchor: "left", dx: -14 }),
      Plot.rect(pes.flatMap((pe) => pe.bars), { x1: "x1", x2: "x2", y1: (d) => d.row + 0.1, y2: (d) => d.row + 0.9, fill: (d) => colour(d.cause) }),
      Plot.rect(pes, { x1: (d) => d.col + 0.05, x2: (d) => d.col + 0.95, y1: (d) => d.row + 0.1, y2: (d) => d.row + 0.9, fill: "transparent", title: "tip" }),
    ],
  });
}

// The cause that took most of a layer's time.
const dominant = (view) => CAUSES[d3.maxIndex(view.causes, (part) => part.cycles)];

const powers = ([low, high]) => d3.range(Math.round(Math.log10(low)), Math.round(Math.log10(high)) + 1).map((power) => 10 ** power);

// Small charts beside the layers' names and bounds, a row each; where the page is narrow, below each other. Paper cuts
// between blocks of rows, never inside.
const ROW = 18;
const BLOCK = 96;
const NARROW = 1000;

function strip() {
  const host = document.getElementById("strip");
  host.replaceChildren();
  const views = shown();
  const scales = stripScales(views);
  const narrow = host.getBoundingClientRect().width < NARROW;
  const charts = judgedRun() ? 6 : 5;
  for (let begin = 0; begin < views.length; begin += BLOCK) {
    const rows = views.slice(begin, begin + BLOCK);
    const block = () => {
      const made = element("div", [], { class: "strip", style: `grid-template-columns: ${narrow ? "auto" : "auto auto"} repeat(${narrow ? 1 : charts}, minmax(130px, 1fr))` });
      host.append(made);
      stripNames(made, rows, !narrow);
      return made;
    };
    const wide = narrow ? null : block();
    stripCharts(() => wide ?? block(), rows, scales, begin ? `-${begin}` : "");
  }
  const used = (names, key, kind, amount) => names.filter((name) => views.some((view) => view[key].some((part) => part[kind] === name && part[amount] > 0)));
  const marked = views.some((view) => view.predicted !== null && view.cycles > 0) ? [element("span", [element("i", [], { class: "predicted" }), "predicted by the mapper"])] : [];
  legend(document.querySelector('[data-legend="causes"]'), used(CAUSES, "causes", "cause", "cycles"), ...marked);
  legend(document.querySelector('[data-legend="components"]'), used(COMPONENTS, "energy", "component", "pj"));
}

// Whether layers were compared with the float model.
const judgedRun = () => run().layers.some((view) => view.layer.accuracy);

// What all blocks have in common: how long the longest bar is.
function stripScales(views) {
  const machines = views.filter((view) => view.onArray && view.cycles > 0);
  const all = machines.flatMap((view) => [view.cycles, view.dcnn, view.ideal, view.oracle]).filter((cycles) => cycles > 0);
  return {
    cycles: [0, d3.max(views, (view) => Math.max(view.cycles, view.predicted ?? 0)) || 1],
    pj: [0, d3.max(views, (view) => Math.max(view.pj, view.dcnnPj)) || 1],
    decades: all.length ? [10 ** Math.floor(Math.log10(d3.min(all))), 10 ** Math.ceil(Math.log10(d3.max(all)))] : [1, 10],
  };
}

function stripNames(block, views, withBounds) {
  const chosen = (view) => ({ "data-layer": view.at, ...(view.at === state.layer ? { class: "chosen" } : {}) });
  const names = views.map((view) => {
    const link = element("a", view.layer.name, { href: `#layer-${view.at}`, title: view.layer.onnx_nodes.join(" ") });
    return element("li", link, chosen(view));
  });
  const bounds = views.map((view) => {
    const cause = view.cycles > 0 && view.layer.bound ? dominant(view) : null;
    return element("li", cause ? [swatch(cause), cell(view, "bound")] : "\u00a0", chosen(view));
  });
  block.append(element("div", [element("h3", "\u00a0"), element("ol", names, { class: "names" })]));
  if (withBounds) block.append(element("div", [element("h3", element("span", "bound by", explained("bound"))), element("ol", bounds, { class: "bounds" })]));
}

function stripCharts(block, views, scales, suffix) {
  const chart = (id, heading, x, marks) => {
    const column = element("div", []);
    column.innerHTML = `<h3><span>${heading}</span></h3><figure id="${id}${suffix}"></figure>`;
    block().append(column);
    const width = Math.max(130, Math.floor(column.getBoundingClientRect().width));
    place(`${id}${suffix}`, Plot.plot({
      width, height: views.length * ROW + 26, marginTop: 0, marginBottom: 26, marginLeft: 10, marginRight: 26,
      style: { ...FONT, fontSize: "11px" },
      x: { label: null, ...x, ticks: x.ticks?.filter((_, at, all) => (all.length - 1 - at) % Math.ceil(all.length / ticksIn(width)) === 0) ?? ticksIn(width - 40) },
      y: { type: "band", domain: views.map((view) => view.at), axis: null, padding: 0.22, round: false, paddingOuter: 0.11 },
      marks: [Plot.gridX({ strokeOpacity: 0.12, ticks: x.ticks ?? ticksIn(width - 40) }), ...marks],
    }));
  };
  const href = (d) => `#layer-${d.at}`;
  const flat = (key) => views.flatMap((view) => view[key].map((part) => ({ ...part, at: view.at, name: view.layer.name })));
  const causes = flat("causes").filter((part) => part.cycles > 0);
  const predicted = views.filter((view) => view.predicted !== null && view.cycles > 0);
  chart("cycles-chart", "cycles, by cause", { domain: scales.cycles, tickFormat: (v) => si(v) }, [
    Plot.barX(causes, { x: "cycles", y: "at", fill: (d) => colour(d.cause), ...gap("cycles", scales.cycles), href, title: (d) => `${d.name}\n${words(d.cause)}: ${exactly(d.cycles)} cycles (${percent(d.share, 1)})` }),
    Plot.tickX(predicted, { x: "predicted", y: "at", stroke: "currentColor", strokeWidth: 1.6, inset: -2, href, title: (d) => `${d.layer.name}\npredicted: ${exactly(d.predicted)}, simulated: ${exactly(d.cycles)} cycles` }),
  ]);
  const machines = views.filter((view) => view.onArray && view.cycles > 0);
  const dots = machines.flatMap((view) => [["DCNN", view.dcnn], ["DCNN ideal", view.ideal], ["oracle", view.oracle], ["SCNN", view.cycles]]
    .map(([machine, cycles]) => ({ at: view.at, name: view.layer.name, machine, cycles })).filter((d) => d.cycles > 0));
  const dot = (machine, style) => Plot.dot(dots.filter((d) => d.machine === machine), { x: "cycles", y: "at", href, title: (d) => `${d.name}\n${d.machine}: ${exactly(d.cycles)} cycles`, ...style });
  chart("machines-chart", "cycles: <span style='color:var(--accent)'>&#9679;</span> SCNN, &#9675; DCNN, &#215; ideal dense, <span style='color:var(--useful)'>&#9670;</span> oracle", {
    type: "log", domain: scales.decades, ticks: powers(scales.decades), tickFormat: (v) => si(v),
  }, [
    Plot.ruleY(machines, { y: "at", x1: (d) => Math.max(scales.decades[0], d.oracle), x2: (d) => Math.max(d.dcnn, d.cycles), strokeOpacity: 0.3 }),
    dot("DCNN ideal", { symbol: "times", stroke: "currentColor", strokeOpacity: 0.6, r: 2.5 }),
    dot("DCNN", { stroke: "currentColor", r: 3.5 }),
    dot("oracle", { symbol: "diamond", fill: "var(--useful)", r: 3.5 }),
    dot("SCNN", { fill: "var(--accent)", r: 4 }),
  ]);
  chart("utilisation-chart", "useful multiplications (the oracle has 100 %)", { domain: [0, 100], tickFormat: (v) => `${v} %` }, [
    Plot.barX(machines, { x: 100, y: "at", fill: "var(--raised)" }),
    Plot.barX(machines, { x: (d) => 100 * d.layer.utilisation, y: "at", fill: "var(--useful)", href, title: (d) => `${d.layer.name}\nuseful: ${percent(d.layer.utilisation, 1)} of all slots\nbound by ${cell(d, "bound")}` }),
    Plot.text(machines, { x: (d) => 100 * d.layer.utilisation, y: "at", text: (d) => percent(d.layer.utilisation), textAnchor: "start", dx: 3, fontSize: 10, fill: "currentColor" }),
  ]);
  const energy = flat("energy").filter((part) => part.pj > 0);
  const dense = views.filter((view) => view.dcnnPj > 0);
  chart("energy-chart", "energy, by component; &#9675; DCNN", { domain: scales.pj, tickFormat: (v) => si(v * 1e-12, "J") }, [
    Plot.barX(energy, { x: "pj", y: "at", fill: (d) => colour(d.component), ...gap("pj", scales.pj), href, title: (d) => `${d.name}\n${words(d.component)}: ${si(d.pj * 1e-12, "J")}` }),
    Plot.dot(dense, { x: "dcnnPj", y: "at", stroke: "currentColor", r: 3.5, href, title: (d) => `${d.layer.name}\nDCNN: ${si(d.dcnnPj * 1e-12, "J")}, SCNN: ${si(d.pj * 1e-12, "J")}` }),
  ]);
  const densities = views.filter((view) => view.layer.mapping).flatMap((view) => [["weights", view.onArray], ["input", true], ["output", true]]
    .filter(([, there]) => there).map(([what]) => ({ at: view.at, name: view.layer.name, what, share: view.layer.density[what] })));
  const density = (what, style) => Plot.dot(densities.filter((d) => d.what === what), { x: (d) => 100 * d.share, y: "at", href, title: (d) => `${d.name}\n${d.what}: ${percent(d.share, 1)} dense`, ...style });
  chart("density-chart", "density: &#9632; weights, <span style='color:var(--accent)'>&#9679;</span> in, <span style='color:var(--barrier)'>&#9675;</span> out", { domain: [0, 100], tickFormat: (v) => `${v} %` }, [
    density("weights", { symbol: "square", fill: "currentColor", r: 3 }),
    density("input", { fill: "var(--accent)", r: 3.5 }),
    density("output", { stroke: "var(--barrier)", r: 3.5 }),
  ]);
  if (!judgedRun()) return;
  const judged = views.filter((view) => view.layer.accuracy?.sqnr_db);
  const best = d3.max(run().layers, (view) => view.layer.accuracy?.sqnr_db ?? 0) || 1;
  chart("sqnr-chart", "SQNR against the float model, dB", { domain: [Math.min(0, d3.min(judged, (view) => view.layer.accuracy.sqnr_db) ?? 0), best], tickFormat: (v) => `${v}` }, [
    Plot.barX(judged, { x: (d) => d.layer.accuracy.sqnr_db, y: "at", fill: "var(--accent)", fillOpacity: 0.55, href, title: (d) => `${d.layer.name}\nSQNR: ${d.layer.accuracy.sqnr_db.toFixed(1)} dB\nerrors at most ${d.layer.accuracy.largest_error.toPrecision(3)}, ${d.layer.accuracy.mean_error.toPrecision(3)} in the mean\nsaturated: ${percent(d.layer.accuracy.saturated, 2)}` }),
    Plot.text(judged, { x: (d) => d.layer.accuracy.sqnr_db, y: "at", text: (d) => d.layer.accuracy.sqnr_db.toFixed(0), textAnchor: "start", dx: 3, fontSize: 10, fill: "currentColor" }),
  ]);
}

function roofline() {
  const report = run().report;
  const peak = report.multipliers;
  const bytesPerCycle = report.dram_gigabytes_per_second / report.clock_gigahertz;
  const points = run().layers.filter((view) => view.useful > 0 && view.cycles > 0 && view.bytes > 0)
    .map((view) => ({ at: view.at, name: view.layer.name, bound: cell(view, "bound"), x: view.useful / view.bytes, y: view.useful / view.cycles, cause: dominant(view) }));
  const ridge = peak / bytesPerCycle;
  const low = Math.min(ridge / 10, d3.min(points, (d) => d.x) ?? 1) / 2;
  const high = Math.max(ridge * 10, d3.max(points, (d) => d.x) ?? 1) * 2;
  const roof = [[low, low * bytesPerCycle], [ridge, peak], [high, peak]];
  const width = room("roofline");
  place("roofline", Plot.plot({
    width, height: Math.min(400, Math.max(260, width * 0.6)), marginLeft: 52, marginBottom: 40, marginRight: 20, style: FONT,
    x: { type: "log", domain: [low, high], label: "useful multiplications / DRAM byte", tickFormat: "~s", ticks: Math.min(5, ticksIn(width)), grid: true },
    y: { type: "log", domain: [Math.min(0.5, ...points.map((d) => d.y)), 2 * peak], label: "useful multiplications / cycle", tickFormat: "~s", ticks: 5, grid: true },
    marks: [
      Plot.line(roof, { strokeWidth: 2, clip: true }),
      Plot.text([[high, peak]], { text: [`${peak} multipliers`], textAnchor: "end", dy: -8 }),
      Plot.text([[ridge / 3, (ridge / 3) * bytesPerCycle]], { text: [`DRAM ${report.dram_gigabytes_per_second} GB/s`], textAnchor: "end", dx: -10, dy: -4 }),
      Plot.dot(points, { x: "x", y: "y", r: (d) => (d.at === state.layer ? 7 : 4.5), fill: (d) => colour(d.cause), stroke: (d) => (d.at === state.layer ? "currentColor" : "var(--ground)"), strokeWidth: (d) => (d.at === state.layer ? 2 : 0.5), href: (d) => `#layer-${d.at}`, title: (d) => `${d.name}\n${d.y.toFixed(1)} useful multiplications a cycle\n${d.x.toFixed(1)} a DRAM byte\nbound by ${d.bound}` }),
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
  const ofTensor = (tensor) => palette[tensors.indexOf(tensor) % palette.length];
  for (const name of names) {
    const entries = report.occupancy.filter((entry) => entry.memory === name);
    if (!entries.length) continue;
    const capacity = { a: report.ram_elements[0], b: report.ram_elements[1] }[name];
    const width = room("memory");
    const top = capacity ?? d3.max(entries, (entry) => entry.base + entry.size);
    figure.append(Plot.plot({
      width, height: 140, marginLeft: 52, marginRight: 24, marginBottom: name === "dram" ? 36 : 20, marginTop: 22, style: FONT,
      x: { domain: [0, run().cycles || 1], label: name === "dram" ? "cycles" : null, labelOffset: 34, ticks: ticksIn(width - 76), tickFormat: (v) => si(v) },
      y: { domain: [0, top], label: label[name], tickFormat: (v) => si(v), ticks: 3 },
      marks: [
        Plot.rect(entries, {
          x1: (d) => starts[d.layers[0]], x2: (d) => Math.max(ends[d.layers[1]], starts[d.layers[0]] + run().cycles / 800), y1: "base", y2: (d) => d.base + d.size,
          fill: (d) => ofTensor(d.tensor), fillOpacity: 0.8, stroke: "var(--ground)", strokeWidth: 0.5, href: (d) => `#layer-${d.layers[0]}`,
          title: (d) => `${d.region}\n${exactly(d.size)} ${name === "dram" ? "bytes" : "elements a PE"} from ${exactly(d.base)}\nlayers ${report.layers[d.layers[0]].name} to ${report.layers[d.layers[1]].name}`,
        }),
        ...(capacity ? [Plot.ruleY([capacity], { strokeDasharray: "4 3" })] : []),
      ],
    }));
  }
  place("memory", figure);
  // Colours repeat after ten; tensors with one colour are far apart in time, and the key names them in this order.
  const key = tensors.map((tensor) => {
    const of = report.occupancy.filter((entry) => entry.tensor === tensor).map((entry) => layers[entry.layers[0]]);
    return element("a", [element("i", [], { class: "swatch", style: `background:${ofTensor(tensor)}` }), tensor], { href: `#layer-${of[0]?.at ?? 0}` });
  });
  document.getElementById("memory-key").replaceChildren(...key);
  document.getElementById("memory-count").textContent = `${tensors.length} tensors by colour`;
}

// The cut of a layer's source plane over the PEs.
function tiling(view) {
  const { shape, mapping } = view.layer;
  const boxes = mapping.tiling.flatMap((tile, index) => d3.pairs(tile.y).flatMap(([y1, y2], row) => d3.pairs(tile.x).map(([x1, x2], col) => ({ index, row, col, x1, x2, y1, y2 }))))
    .filter((box) => box.x2 > box.x1 && box.y2 > box.y1);
  const side = 290;
  const scale = side / Math.max(shape.h, shape.w);
  return Plot.plot({
    width: Math.max(120, shape.w * scale + 50), height: Math.max(60, shape.h * scale + 30), marginLeft: 38, marginTop: 22, marginRight: 12, marginBottom: 8, style: FONT,
    x: { domain: [0, shape.w], axis: "top", label: null, ticks: Math.min(5, shape.w), tickFormat: "d" }, y: { domain: [shape.h, 0], label: null, ticks: Math.min(5, shape.h), tickFormat: "d" },
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
  const letters = room("compare-chart") < 700 ? 20 : 38;
  const longest = 12 + 6.5 * Math.min(letters, d3.max(names, (name) => name.length));
  const wide = room("compare-chart");
  const stacked = wide < 900;
  const bars = stacked ? wide - longest : (wide - longest) / 2;
  const chart = (key, format, margin) => Plot.plot({
    width: margin ? bars + longest : bars, height: names.length * (9 * RUNS.length + 6) + 30, marginLeft: margin ? longest : 10, marginTop: 20, marginRight: 30, style: FONT, axis: null,
    x: { axis: "top", label: null, tickFormat: format, grid: true, ticks: Math.min(5, ticksIn(bars)) },
    y: { domain: RUNS.map((run) => `${run.index + 1}`), padding: 0.05 },
    fy: { domain: names, axis: null, padding: 0.2 },
    marks: [
      ...(margin ? [Plot.text(names, { fy: (name) => name, text: (name) => (name.length > letters ? `\u2026${name.slice(1 - letters)}` : name), frameAnchor: "left", textAnchor: "end", dx: -6 })] : []),
      Plot.barX(rows, { x: key, y: "run", fy: "name", fill: (d) => runColour(RUNS[d.run - 1]), title: (d) => `${d.name}\n${d.title}\n${key === "pj" ? si(d.pj * 1e-12, "J") : `${exactly(d.cycles)} cycles`}` })],
  });
  const both = document.createElement("div");
  const cycles = [element("h3", "cycles", { style: `padding-left:${longest}px` }), chart("cycles", (v) => si(v), true)];
  const energy = [element("h3", "energy", { style: `padding-left:${stacked ? longest : 10}px` }), chart("pj", (v) => si(v * 1e-12, "J"), stacked)];
  both.style.cssText = stacked ? "" : `display:grid; grid-template-columns:${bars + longest}px ${bars}px`;
  both.append(element("div", cycles), element("div", energy));
  place("compare-chart", both);
}
