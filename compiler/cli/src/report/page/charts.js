// Charts. Every mark carries its numbers as a title, which becomes the tip, the accessible name, and what tests read.

function swatch(name) {
  return element("i", [], { class: "swatch", style: `background:${colour(name)}` });
}

function legend(host, names, ...more) {
  host.replaceChildren(...names.map((name) => element("span", [swatch(name), words(name)])), ...more);
}

// A gap between neighbours says where one ends, whatever eyes make of the colours; what is thin has no room for it.
const gap = (key, [, longest]) => ({ stroke: "var(--ground)", strokeWidth: (part) => (part[key] > longest / 60 ? 0.7 : 0) });

function wholeChart() {
  const slots = run().report.totals.cycles.slots;
  const all = Math.max(1, sum(Object.values(slots)));
  const parts = CAUSES.map((cause) => ({ cause, share: slots[cause] / all })).filter((part) => part.share > 0);
  let end = 0;
  for (const part of parts) { part.x1 = end; end += part.share; part.x2 = end; }
  place("whole-chart", Plot.plot({
    width: 1424, height: 84, marginLeft: 10, marginRight: 18, marginTop: 22, style: FONT,
    x: { percent: true, domain: [0, 100], label: null, ticks: 10, tickFormat: (v) => `${v} %` },
    marks: [
      Plot.rectX(parts, { x1: "x1", x2: "x2", fill: (d) => colour(d.cause), title: (d) => `${words(d.cause)}: ${percent(d.share, 1)}`, inset: 0.5 }),
      Plot.text(parts.filter((part) => part.share > 0.02 + 0.0035 * part.cause.length), { x: "x1", text: (d) => `${words(d.cause)} ${percent(d.share)}`, frameAnchor: "top", textAnchor: "start", dy: -17, dx: 1 }),
    ],
  }));
  legend(document.getElementById("causes"), parts.map((part) => part.cause));
}

// The cause that took most of a layer's time.
const dominant = (view) => CAUSES[d3.maxIndex(view.causes, (part) => part.cycles)];

const powers = ([low, high]) => d3.range(Math.round(Math.log10(low)), Math.round(Math.log10(high)) + 1).map((power) => 10 ** power);

// Five small charts beside the layers' names and bounds, a row each. Paper cuts between blocks of rows, never inside.
const ROW = 18;
const BLOCK = 96;

function strip() {
  const host = document.getElementById("strip");
  host.replaceChildren();
  const views = shown();
  const scales = stripScales(views);
  for (let begin = 0; begin < views.length; begin += BLOCK) {
    const block = element("div", [], { class: "strip" });
    host.append(block);
    stripNames(block, views.slice(begin, begin + BLOCK));
    stripCharts(block, views.slice(begin, begin + BLOCK), scales, begin ? `-${begin}` : "");
  }
  const used = (names, key, kind, amount) => names.filter((name) => views.some((view) => view[key].some((part) => part[kind] === name && part[amount] > 0)));
  const marked = views.some((view) => view.predicted !== null && view.cycles > 0) ? [element("span", [element("i", [], { class: "predicted" }), "predicted by the mapper"])] : [];
  legend(document.querySelector('[data-legend="causes"]'), used(CAUSES, "causes", "cause", "cycles"), ...marked);
  legend(document.querySelector('[data-legend="components"]'), used(COMPONENTS, "energy", "component", "pj"));
}

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

function stripNames(block, views) {
  const chosen = (view) => (view.at === state.layer ? { class: "chosen" } : {});
  const names = views.map((view) => {
    const link = element("a", view.layer.name, { href: `#layer-${view.at}`, title: view.layer.onnx_nodes.join(" ") });
    return element("li", link, chosen(view));
  });
  const bounds = views.map((view) => {
    const cause = view.cycles > 0 && view.layer.bound ? dominant(view) : null;
    return element("li", cause ? [swatch(cause), cell(view, "bound")] : "\u00a0", chosen(view));
  });
  block.append(
    element("div", [element("h3", "\u00a0"), element("ol", names, { class: "names" })]),
    element("div", [element("h3", "bound by"), element("ol", bounds, { class: "bounds" })]),
  );
}

function stripCharts(block, views, scales, suffix) {
  const chart = (id, heading, x, marks) => {
    const column = element("div", []);
    column.innerHTML = `<h3><span>${heading}</span></h3><figure id="${id}${suffix}"></figure>`;
    block.append(column);
    place(`${id}${suffix}`, Plot.plot({
      width: Math.max(150, Math.floor(column.getBoundingClientRect().width)), height: views.length * ROW + 26, marginTop: 0, marginBottom: 26, marginLeft: 10, marginRight: 26,
      style: { ...FONT, fontSize: "11px" },
      x: { label: null, ticks: 4, ...x },
      y: { type: "band", domain: views.map((view) => view.at), axis: null, padding: 0.22, round: false, paddingOuter: 0.11 },
      marks: [Plot.gridX({ strokeOpacity: 0.12, ticks: x.ticks ?? 4 }), ...marks],
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
  place("roofline", Plot.plot({
    width: 680, height: 400, marginLeft: 52, marginBottom: 40, marginRight: 20, style: FONT,
    x: { type: "log", domain: [low, high], label: "useful multiplications / DRAM byte", tickFormat: "~s", ticks: 5, grid: true },
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
