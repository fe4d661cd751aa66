// Joins the parts: what is drawn when, and what keys and controls do.

function header() {
  const { report, seconds, cycles, pj, images, samples } = run();
  document.getElementById("model").textContent = report.model;
  document.getElementById("subject").textContent = `on ${report.machine} (${report.pes.join(" x ")} PEs, ${report.multipliers} multipliers, ${report.clock_gigahertz} GHz), mapping ${report.mapping}, timing ${report.timing}${report.timing === "fast" ? " (a lower bound)" : ""}, ${samples === 1 ? "one sample" : `mean of ${samples} samples`}`;
  document.getElementById("headline").textContent = run().headline.replace(/^./, (letter) => letter.toUpperCase()) + ".";
  const totals = report.totals;
  const operations = 2 * totals.multiplies.dense / samples;
  const figures = [
    [si(cycles, "cycles"), si(seconds, "s")],
    [`${images / seconds < 100 ? (images / seconds).toFixed(1) : exactly(images / seconds)} images/s`, `${si(operations / seconds, "OPS")} dense-equivalent`],
    [si(pj * 1e-12, "J"), `${si(operations / (pj * 1e-12), "OPS/W")} dense-equivalent`],
    [times(totals.baselines.dcnn / Math.max(1, run().array_cycles)), "faster than DCNN, on the array's layers"],
    [times(totals.energy_pj.dcnn / sum(report.layers.filter((layer) => layer.multiplies.dense > 0).map((layer) => layer.energy_pj.total))), "less energy than DCNN, on them"],
    [percent(totals.utilisation, 1), "useful multiplier slots"],
    [si(sum(Object.values(totals.dram_bytes)) / samples, "B"), "to and from DRAM"],
  ];
  document.getElementById("figures").replaceChildren(...figures.map(([value, what]) => element("div", [element("b", value), element("span", what)])));
  document.getElementById("footer").textContent = `${report.tool}; ${report.options.join(", ")}. Report schema ${report.schema}.`;
}

function runs() {
  const host = document.getElementById("runs");
  if (RUNS.length < 2) return;
  host.replaceChildren(...RUNS.map((other) => {
    const button = element("button", `${other.index + 1}: ${title(other)}`, { type: "button", "aria-pressed": other.index === state.run });
    button.onclick = () => { state.run = other.index; state.layer = Math.min(state.layer, run().layers.length - 1); everything(); };
    return button;
  }));
}

function compareTable() {
  document.getElementById("compare").hidden = RUNS.length < 2;
  if (RUNS.length < 2) return;
  const measures = [
    ["cycles", (r) => r.cycles, exactly], ["energy", (r) => r.pj, (pj) => si(pj * 1e-12, "J")],
    ["useful slots", (r) => r.report.totals.utilisation, (share) => percent(share, 1)],
    ["faster than DCNN", (r) => r.report.totals.baselines.dcnn / Math.max(1, r.array_cycles), times],
    ["DRAM", (r) => sum(Object.values(r.report.totals.dram_bytes)) / r.samples, (bytes) => si(bytes, "B")],
  ];
  const made = element("table", []);
  const head = made.createTHead().insertRow();
  head.append(...["run", ...measures.map(([name]) => name)].map((name, at) => element("th", name, { class: at ? "" : "text" })));
  const body = made.createTBody();
  for (const other of RUNS) {
    const row = body.insertRow();
    const swatch = element("i", [], { style: `display:inline-block;width:10px;height:10px;border-radius:2px;background:${runColour(other)}` });
    row.append(element("td", [swatch, ` ${other.index + 1}: ${title(other)}`], { class: "text" }));
    for (const [, pick, show] of measures) {
      const value = pick(other);
      const first = pick(RUNS[0]);
      row.append(element("td", other.index ? `${show(value)} (${times(value / first)})` : show(value)));
    }
  }
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
  for (const item of document.querySelectorAll("#strip li")) item.classList.toggle("chosen", item.querySelector("a").hash === location.hash);
  for (const row of document.querySelectorAll("#table tbody tr")) row.classList.toggle("chosen", Number(row.dataset.layer) === at);
  detail();
  roofline();
  if (scrolls) document.getElementById("layer").scrollIntoView({ block: "start" });
}

function tips() {
  const tip = document.getElementById("tip");
  const show = (event) => {
    const mark = event.target.closest?.("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const { clientX = mark.getBoundingClientRect().x, clientY = mark.getBoundingClientRect().y } = event;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(clientX + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${clientY + 18 + height > innerHeight ? clientY - height - 10 : clientY + 18}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("focusin", show);
}

function theme() {
  const wanted = /[?&]theme=(light|dark)/.exec(location.search)?.[1];
  const dark = wanted ? wanted === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.classList.toggle("dark", dark);
  document.getElementById("theme").onclick = () => document.documentElement.classList.toggle("dark");
}

function keys() {
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); document.getElementById("search").focus(); }
    if (event.key === "Escape" && event.target.id === "search") { event.target.value = ""; event.target.dispatchEvent(new Event("input")); }
  });
}

theme();
tips();
keys();
const search = document.getElementById("search");
search.oninput = () => { state.search = search.value; layersChanged(); };
document.getElementById("every-column").onchange = (event) => { state.everyColumn = event.target.checked; table(); };
document.getElementById("save-csv").onclick = saveCsv;
addEventListener("hashchange", () => chooseFromAddress(true));
let drawnWidth = innerWidth;
addEventListener("resize", () => { if (innerWidth !== drawnWidth) { drawnWidth = innerWidth; strip(); } });
everything();
compareTable();
chooseFromAddress(false);
