// The table: the CSV's columns, sortable, filtered as the charts are.

const USUAL = ["index", "layer", "kind", "bound", "lost_to", "weight_density_ratio", "input_density_ratio", "output_density_ratio", "tile_h_rows", "tile_w_cols", "kc_channels", "temporal_tiles_count",
  "total_cycles", "predicted_cycles", "dcnn_cycles", "oracle_cycles", "utilisation_ratio", "useful_multiplies", "total_energy_pj", "dcnn_energy_pj", "dram_weights_bytes", "dram_in_bytes", "dram_out_bytes", "dram_spill_bytes", "sqnr_db"];
const THINGS = ["layer", "onnx_nodes", "engine", "kind", "bound", "lost_to", "resident_in", "resident_out"];
const UNIT_WORDS = { ratio: "", pj: "pJ", db: "dB", value: "", count: "" };

// Terms of the glossary that columns are about, where their names are others.
const HEADINGS = {
  weight_density_ratio: "density", input_density_ratio: "density", output_density_ratio: "density", kc_channels: "Kc", pe_groups_count: "PE group",
  temporal_tiles_count: "temporal tile", phases_count: "phase", tile_h_rows: "tile", tile_w_cols: "tile", predicted_cycles: "predicted", dcnn_cycles: "DCNN",
  dcnn_energy_pj: "DCNN", dcnn_opt_energy_pj: "DCNN-opt", oracle_cycles: "oracle", utilisation_ratio: "utilisation", useful_multiplies: "useful", dram_spill_bytes: "spill", sqnr_db: "SQNR",
};

// `total_energy_pj` -> ["total energy", "pJ"].
function heading(column) {
  if (column === "index" || THINGS.includes(column)) return [words(column), ""];
  const at = column.lastIndexOf("_");
  const unit = column.slice(at + 1);
  return [words(column.slice(0, at)), UNIT_WORDS[unit] ?? unit];
}

function shownColumns() {
  if (state.everyColumn) return DATA.columns;
  return USUAL.filter((column) => run().layers.some((view) => cell(view, column) !== null));
}

function text(value, column) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (column.endsWith("_ratio")) return value.toFixed(3);
  if (column.endsWith("_db")) return value.toFixed(1);
  if (column.endsWith("_value")) return value.toPrecision(3);
  return exactly(value);
}

function table() {
  const columns = shownColumns();
  const host = document.getElementById("table");
  const head = document.createElement("thead");
  const row = head.insertRow();
  for (const column of columns) {
    const [name, unit] = heading(column);
    const th = document.createElement("th");
    th.scope = "col";
    th.className = column === "layer" ? "text name" : THINGS.includes(column) ? "text" : "";
    if (state.sort === column) th.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.column = column;
    button.textContent = name + (state.sort === column ? (state.descending ? " \u25be" : " \u25b4") : "");
    if (unit) {
      const small = document.createElement("small");
      small.textContent = unit;
      button.append(small);
    }
    for (const [attribute, value] of Object.entries(explained(HEADINGS[column] ?? name))) button.setAttribute(attribute, value);
    button.onclick = () => sortBy(column);
    th.append(button);
    row.append(th);
  }
  const body = document.createElement("tbody");
  const views = shown();
  for (const view of views) {
    const row = body.insertRow();
    if (view.at === state.layer) row.className = "chosen";
    row.dataset.layer = view.at;
    for (const column of columns) {
      const value = cell(view, column);
      const td = row.insertCell();
      if (column === "layer") {
        const link = document.createElement("a");
        link.href = `#layer-${view.at}`;
        link.textContent = value;
        td.append(link);
      } else td.textContent = text(value, column);
      td.dataset.column = column;
      if (THINGS.includes(column)) td.className = { onnx_nodes: "text long", layer: "text long name" }[column] ?? "text";
      if (column === "onnx_nodes") td.title = value;
    }
  }
  const foot = document.createElement("tfoot");
  const sums = foot.insertRow();
  for (const column of columns) {
    const td = sums.insertCell();
    td.dataset.column = column;
    const values = views.map((view) => cell(view, column));
    if (column === "layer") { td.textContent = `${views.length} layers`; td.className = "text name"; }
    else if (DATA.summed.includes(column) && values.every((value) => typeof value === "number")) td.textContent = text(sum(values), column);
    else if (column === "utilisation_ratio") {
      const slots = sum(views.map((view) => sum(Object.values(view.layer.cycles.slots))));
      td.textContent = slots ? text(sum(views.map((view) => view.layer.cycles.slots.useful)) / slots, column) : "";
    }
  }
  host.replaceChildren(head, body, foot);
  document.getElementById("count").textContent = `${views.length} of ${run().layers.length} layers`;
}

function sortBy(column) {
  const descends = !THINGS.includes(column) && column !== "index";
  if (state.sort === column) state.descending = !state.descending;
  else { state.sort = column; state.descending = descends; }
  layersChanged();
  document.querySelector(`#table button[data-column="${column}"]`)?.focus();
}
