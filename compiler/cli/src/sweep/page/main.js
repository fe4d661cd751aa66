// Tables, controls, and drawing on events.

const COLUMNS = ["point", ...(MODELS.length > 1 ? ["model"] : []), ...AXES, ...(AXES.length ? [] : ["machine"]),
  ...MEASURES.map(({ key }) => key), ...["utilisation_ratio", "dram_bytes", "predicted_cycles", "error", "message"].filter((column) => DATA.points.some((point) => point[column] !== null && point[column] !== ""))];
const OTHER_NAMES = { utilisation_ratio: "useful slots", dram_bytes: "DRAM", predicted_cycles: "predicted", point: "#" };
const isText = (column) => DATA.points.some((point) => typeof point[column] === "string" && !(point[column] !== "" && Number.isFinite(Number(point[column]))));
const TEXTS = new Set(COLUMNS.filter(isText));

function shownIn(column, value) {
  if (value === null || value === undefined || value === "") return "";
  const measure = MEASURES.find(({ key }) => key === column);
  if (measure) return measure.show(value);
  if (column === "utilisation_ratio") return percent(value, 1);
  if (column === "dram_bytes") return si(value, "B");
  if (column === "predicted_cycles") return si(value);
  return String(value);
}
const headingOf = (column) => MEASURES.find(({ key }) => key === column)?.name ?? OTHER_NAMES[column] ?? column;

function rowOf(point, columns) {
  const row = element("tr", columns.map((column) => element("td", shownIn(column, point[column]), { class: TEXTS.has(column) ? "text" : column === "point" ? "number" : "", "data-column": column })), { "data-point": point.at });
  if (point === state.chosen) row.className = "chosen";
  return row;
}

function listed() {
  const search = state.search.trim().toLowerCase();
  const points = ofModel().filter((point) => (!search || point.words.includes(search)) && (!state.onlyFront || onFront.has(point)) && (!measured(point) || kept(point)));
  const key = (point) => { const value = point[state.sort]; return TEXTS.has(state.sort) || value === null ? value : Number(value); };
  const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b) * (state.descending ? -1 : 1);
  // Points without a value come last in both directions.
  const missing = (point) => key(point) === null;
  return points.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : order(key(a), key(b))) || a.at - b.at);
}

function table() {
  const points = listed();
  const head = element("thead", element("tr", COLUMNS.map((column) => {
    const arrow = state.sort === column ? (state.descending ? " \u25be" : " \u25b4") : "";
    const button = element("button", `${headingOf(column)}${arrow}`, { type: "button", "data-column": column });
    button.onclick = () => {
      state.descending = state.sort === column && !state.descending;
      state.sort = column;
      table();
    };
    return element("th", button, { scope: "col", class: TEXTS.has(column) ? "text" : "" });
  })));
  const some = state.all ? points : points.slice(0, MOST_ROWS);
  document.getElementById("table").replaceChildren(head, element("tbody", some.map((point) => rowOf(point, COLUMNS))));
  document.getElementById("count").textContent = `${points.length} of ${ofModel().length} points`;
  const more = document.getElementById("more");
  more.replaceChildren();
  if (some.length < points.length) {
    const button = element("button", `show all ${points.length}`, { type: "button" });
    button.onclick = () => { state.all = true; table(); };
    more.append(button);
  }
}

// The points on the front of all measures.
function bestTable() {
  const points = d3.sort([...onFront].filter(kept), (point) => point[MEASURES[0].key]);
  const columns = COLUMNS.filter((column) => !["error", "message", "model"].includes(column));
  document.getElementById("best-title").textContent = `On the front of ${MEASURES.map(({ name }) => name).join(", ").replace(/, ([^,]*)$/, " and $1")}: ${points.length}${points.length > MOST_ROWS / 10 ? `, of which ${MOST_ROWS / 10} are listed` : ""}`;
  const head = element("thead", element("tr", columns.map((column) => element("th", headingOf(column), { class: TEXTS.has(column) ? "text" : "" }))));
  document.getElementById("best").replaceChildren(head, element("tbody", points.slice(0, MOST_ROWS / 10).map((point) => rowOf(point, columns))));
}

function choosePoint(point) {
  state.chosen = state.chosen === point ? null : point;
  chosen();
  frontCharts();
  parallel();
  for (const row of document.querySelectorAll("tr[data-point]")) row.classList.toggle("chosen", state.chosen !== null && Number(row.dataset.point) === state.chosen.at);
}

function chosen() {
  const host = document.getElementById("chosen");
  host.replaceChildren();
  if (!state.chosen) return;
  const point = state.chosen;
  const measures = MEASURES.filter(({ key }) => typeof point[key] === "number").map(({ key, name, show }) => `${name} ${show(point[key])}`);
  host.append(element("b", `#${point.point}`), ` ${point.model} on ${point.machine}, ${point.mapping}, ${point.fidelity}: ${measures.join(", ") || point.message}`);
}

function header() {
  const points = ofModel();
  const good = points.filter(measured);
  const failed = points.length - good.length;
  document.getElementById("subject").textContent = `${MODELS[state.model]}: ${points.length} points${failed ? `, ${failed} of them failed` : ""}; ${AXES.length ? `varied: ${AXES.join(", ")}` : "nothing varies"}`;
  const figures = MEASURES.map(({ key, name, more, show }) => {
    const order = d3.sort(good, (point) => (more ? -point[key] : point[key]));
    const best = order[0];
    return best ? [show(best[key]), `best ${name}: #${best.point} ${best.name}`] : null;
  }).filter(Boolean);
  figures.push([String(onFront.size), "points on the front of all measures"]);
  document.getElementById("figures").replaceChildren(...figures.map(([value, what]) => element("div", [element("b", value), element("span", what)])));
  const [low, high] = d3.extent(good, (point) => point.total_cycles);
  document.getElementById("headline").textContent = good.length > 1 ? `The fastest point takes ${percent(low / high, 1)} of the cycles of the slowest; of ${good.length} points, ${onFront.size} are not beaten by another.` : "";
}

function models() {
  const host = document.getElementById("runs");
  if (MODELS.length < 2) return;
  host.replaceChildren(...MODELS.map((model, at) => {
    const button = element("button", model, { type: "button", "aria-pressed": at === state.model });
    button.onclick = () => { Object.assign(state, { model: at, chosen: null, kept: {}, all: false }); everything(); };
    return button;
  }));
}

function colourChoices() {
  const select = document.getElementById("colour");
  const choices = [["", "none"], ...AXES.map((axis) => [axis, axis]), ...MEASURES.map(({ key, name }) => [key, name])];
  select.replaceChildren(...choices.map(([value, name]) => element("option", name, { value })));
  state.colour = AXES.find((axis) => new Set(DATA.points.map((point) => point[axis])).size > 1) ?? "";
  select.value = state.colour;
  select.onchange = () => { state.colour = select.value; frontCharts(); parallel(); };
}

function pointsChanged() {
  document.getElementById("all-again").hidden = Object.keys(state.kept).length === 0;
  frontCharts();
  effectCharts();
  parallel();
  bestTable();
  table();
}

function everything() {
  findFront();
  models();
  header();
  chosen();
  pointsChanged();
}

function keys() {
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (event.key === "Escape") { event.target.blur?.(); if (state.chosen) choosePoint(state.chosen); }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); document.getElementById("search").focus(); }
    if (event.key === "t") document.getElementById("theme").click();
  });
  document.addEventListener("click", (event) => {
    const mark = event.target.closest?.("[data-point]");
    if (mark) choosePoint(DATA.points[Number(mark.dataset.point)]);
  });
}

theme();
tips();
keys();
colourChoices();
const search = document.getElementById("search");
search.oninput = () => { state.search = search.value; table(); };
document.getElementById("only-front").onchange = (event) => { state.onlyFront = event.target.checked; table(); };
document.getElementById("zero").onchange = (event) => { state.zero = event.target.checked; frontCharts(); };
document.getElementById("all-again").onclick = () => { state.kept = {}; pointsChanged(); };
document.getElementById("save-csv").onclick = () => saveCsv("points.csv", listed().map((point) => DATA.columns.map((column) => point[column])));
document.getElementById("footer").textContent = DATA.tool;
whenResized(() => { frontCharts(); effectCharts(); parallel(); across(); });
everything();
across();
