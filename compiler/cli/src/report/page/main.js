// Joins the parts: what is drawn when, and what keys and controls do.

// An error without its sign.
const within = (error) => (Math.abs(error) < 0.0005 ? "< 0.1 %" : percent(Math.abs(error), 1));

// The two largest parts of an area.
function areaWords(area) {
  const parts = Object.entries(area).sort((a, b) => b[1] - a[1]).slice(0, 2);
  return parts.map(([name, mm2]) => `${words(name)} ${mm2.toFixed(2)}`).join(", ");
}

function header() {
  const { report, seconds, cycles, pj, images, samples } = run();
  document.getElementById("model").textContent = report.model;
  document.getElementById("subject").textContent = `On ${report.machine} (${report.pes.join(" x ")} PEs, ${report.multipliers} multipliers, ${report.clock_gigahertz} GHz), mapping ${report.mapping}, timing ${report.timing}${report.timing === "fast" ? " (a lower bound)" : ""}, ${samples === 1 ? "one sample" : `mean of ${samples} samples`}`;
  document.getElementById("headline").textContent = run().headline.replace(/^./, (letter) => letter.toUpperCase()) + ".";
  document.getElementById("trust").textContent = run().trust;
  const totals = report.totals;
  const operations = 2 * totals.multiplies.dense / samples;
  const array = sum(report.layers.filter((layer) => layer.multiplies.dense > 0).map((layer) => layer.energy_pj.total));
  const rate = images / seconds;
  const figures = [
    [si(cycles, "cycles"), `${si(seconds, "s")}; ${rate < 100 ? rate.toFixed(1) : exactly(rate)} images/s`],
    [si(operations / seconds, "OPS"), `dense-equivalent; ${percent(totals.utilisation, 1)} of all multiplier slots are useful`],
    [si(pj * 1e-12, "J"), `${si(operations / (pj * 1e-12), "OPS/W")} dense-equivalent`],
    [times(totals.baselines.dcnn / Math.max(1, run().array_cycles)), "as fast as DCNN on the array's layers"],
    [times(totals.energy_pj.dcnn / array), "less energy than DCNN on them"],
    [si(sum(Object.values(totals.dram_bytes)) / samples, "B"), "to and from DRAM"],
    [`${sum(Object.values(report.area_mm2)).toFixed(2)} mm\u00b2`, areaWords(report.area_mm2)],
  ];
  const compared = report.comparison;
  if (compared?.reference) figures.push([compared.sqnr_db === null ? "exact" : `${compared.sqnr_db.toFixed(1)} dB`, `SQNR against ${compared.reference}; the same top-1 on ${compared.agreeing} of ${compared.classified}`]);
  if (typeof compared?.correct === "number") figures.push([percent(compared.correct / compared.images, 1), `top-1 accuracy on ${compared.images} images${typeof compared.reference_correct === "number" ? `; the float model has ${percent(compared.reference_correct / compared.images, 1)}` : ""}`]);
  if (typeof compared?.bit_exact_tensors === "number") figures.push(["bit-exact", `${compared.bit_exact_tensors} tensors equal the integer interpreter's`]);
  const errors = predictionErrors(run());
  if (errors.length && report.timing === "exact") {
    const { error, view } = errors.at(-1);
    figures.push([within(errors[Math.floor(errors.length / 2)].error), `off are the mapper's predictions (median); at worst ${within(error)}, ${view.layer.name}`]);
  }
  document.getElementById("figures").replaceChildren(...figures.map(([value, what]) => element("div", [element("b", value), element("span", what)])));
  document.getElementById("footer").textContent = `${report.tool}; ${report.options.join(", ")}. Report schema ${report.schema}.`;
}

function runs() {
  const host = document.getElementById("runs");
  if (RUNS.length < 2) return;
  host.replaceChildren(...RUNS.map((other) => {
    const button = element("button", `${other.index + 1}: ${title(other)}`, { type: "button", "aria-pressed": other.index === state.run });
    button.onclick = () => chooseRun(other.index);
    return button;
  }));
  document.getElementById("other-runs").hidden = false;
}

function chooseRun(index) {
  state.run = index;
  state.layer = Math.min(state.layer, run().layers.length - 1);
  everything();
}

function compareTable() {
  document.getElementById("compare").hidden = RUNS.length < 2;
  if (RUNS.length < 2) return;
  const measures = [
    ["cycles", (r) => r.cycles, exactly], ["energy", (r) => r.pj, (pj) => si(pj * 1e-12, "J")],
    ["useful slots", (r) => r.report.totals.utilisation, (share) => percent(share, 1)],
    ["speed-up over DCNN", (r) => r.report.totals.baselines.dcnn / Math.max(1, r.array_cycles), times],
    ["DRAM", (r) => sum(Object.values(r.report.totals.dram_bytes)) / r.samples, (bytes) => si(bytes, "B")],
  ];
  const shown = (other, [, pick, show]) => {
    const value = pick(other);
    return other.index ? `${show(value)} (${times(value / pick(RUNS[0]))})` : show(value);
  };
  const named = (other, whole) => [element("i", [], { class: "swatch", style: `background:${runColour(other)}` }), ` ${other.index + 1}${whole ? `: ${title(other)}` : ""}`];
  const names = measures.map(([name]) => element("span", name, explained(name)));
  const runs = RUNS.map((other) => [named(other, true), ...measures.map((measure) => shown(other, measure))]);
  // Where the page is narrow, runs are columns, named by their numbers; the buttons above have the whole names.
  const turned = room("compare-table") < 760;
  const rows = turned ? names.map((name, at) => [name, ...runs.map((cells) => cells[at + 1])]) : runs;
  const made = element("table", []);
  const head = made.createTHead().insertRow();
  head.append(...(turned ? ["", ...RUNS.map((other) => named(other, false))] : ["run", ...names]).map((name, at) => element("th", name, { class: at ? "" : "text" })));
  const body = made.createTBody();
  for (const cells of rows) body.insertRow().append(...cells.map((content, at) => element("td", content, { class: at ? "" : "text" })));
  document.getElementById("compare-table").replaceChildren(made);
  compareChart();
}

function choices(id, entries, key) {
  const select = document.getElementById(id);
  select.replaceChildren(...entries.map(([value, name]) => element("option", name, { value })));
  select.value = state[key] ?? "";
  select.onchange = () => { state[key] = select.value; layersChanged(); };
}

function controls() {
  const distinct = (pick) => [...new Set(run().layers.map(pick))].filter(Boolean).sort();
  choices("bound", [["", "anything"], ...distinct((view) => cell(view, "bound")).map((name) => [name, name])], "bound");
  choices("kind", [["", "anything"], ...distinct((view) => view.layer.kind).map((name) => [name, name])], "kind");
  const order = document.getElementById("order");
  const orders = [["index", "execution"], ["total_cycles", "cycles"], ["total_energy_pj", "energy"], ["utilisation_ratio", "useful share"], ["layer", "name"]];
  order.replaceChildren(...orders.map(([value, name]) => element("option", name, { value })));
  order.onchange = () => { state.sort = order.value; state.descending = order.value !== "index" && order.value !== "layer"; layersChanged(); };
}

function layersChanged() {
  document.getElementById("order").value = state.sort;
  strip();
  table();
}

function everything() {
  header();
  runs();
  wholeChart();
  controls();
  layersChanged();
  detail();
  roofline();
  memory();
}

function chooseFromAddress(scrolls) {
  const at = Number(/^#layer-(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  if (!(at < run().layers.length)) return;
  state.layer = at;
  for (const item of document.querySelectorAll("#strip li")) item.classList.toggle("chosen", Number(item.dataset.layer) === at);
  for (const row of document.querySelectorAll("#table tbody tr")) row.classList.toggle("chosen", Number(row.dataset.layer) === at);
  detail();
  roofline();
  if (scrolls) document.getElementById("layer").scrollIntoView({ block: "start" });
}

function keys() {
  const click = (id) => document.getElementById(id)?.click();
  const press = { "/": () => document.getElementById("search").focus(), j: () => click("next"), k: () => click("previous"), t: () => click("theme") };
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (event.key === "Escape" && event.target.id === "search") { event.target.value = ""; event.target.dispatchEvent(new Event("input")); event.target.blur(); }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const other = RUNS[Number(event.key) - 1];
    const action = press[event.key] ?? (other && RUNS.length > 1 ? () => chooseRun(other.index) : null);
    if (action) { event.preventDefault(); action(); }
  });
}

theme();
tips();
keys();
const search = document.getElementById("search");
search.oninput = () => { state.search = search.value; layersChanged(); };
document.getElementById("every-column").onchange = (event) => { state.everyColumn = event.target.checked; table(); };
document.getElementById("save-csv").onclick = () => saveCsv(`${run().report.model}.csv`, shown().map((view) => view.row));
addEventListener("hashchange", () => chooseFromAddress(true));
whenResized(() => { everything(); compareTable(); });
everything();
compareTable();
chooseFromAddress(false);
