// One layer: extents, mapping, where its time and energy went, its tiling, its instructions.

// Terms of the glossary under other names.
const TERMS = { "tile of a PE": "tile", "PE groups": "PE group", "temporal tiles": "temporal tile", moves: "residency" };

function facts(pairs) {
  return element("dl", pairs.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name, explained(TERMS[name] ?? name)), element("dd", value)]));
}

// Rows of a swatch with its name, a share, and an amount.
function shares(rows) {
  return element("div", rows.flatMap(([name, share, amount]) => [element("span", [swatch(name), ` ${words(name)}`], explained(name)), element("span", share), element("span", amount)]), { class: "shares" });
}

const lead = (text) => (text ? element("p", text, { class: "lead" }) : null);
const signed = (share) => `${share < 0 ? "\u2212" : "+"}${percent(Math.abs(share), 1)}`;

function extents({ n, c, h, w, k, r, s, stride, pad, dilation, groups, out_h, out_w }) {
  return [
    ["input", `${n > 1 ? `${n} x ` : ""}${c} x ${h} x ${w}`],
    ["output", `${k} x ${out_h} x ${out_w}`],
    ["kernel", `${r} x ${s}${stride.some((step) => step > 1) ? `, stride ${stride.join(" x ")}` : ""}${dilation.some((step) => step > 1) ? `, dilation ${dilation.join(" x ")}` : ""}`],
    ["padding", pad.some((rows) => rows) ? pad.join(", ") : ""],
    ["groups", groups > 1 ? `${groups}` : ""],
  ];
}

function detail() {
  const view = run().layers[state.layer];
  const { layer } = view;
  const names = { a: "RAM A", b: "RAM B", dram: "DRAM" };
  const mapping = layer.mapping;
  const left = element("div", [
    element("h3", "Layer and mapping"),
    facts([
      ["ONNX nodes", layer.onnx_nodes.join(", ")],
      ["runs on", layer.engine === "host" ? "host" : view.onArray ? `array (${layer.kind})` : "PPU"],
      ...(layer.shape ? extents(layer.shape) : []),
      ...(mapping ? [
        ["tile of a PE", `${mapping.tile_h} x ${mapping.tile_w}`],
        ["Kc", view.onArray ? `${mapping.kc}` : ""],
        ["PE groups", mapping.pe_groups > 1 ? `${mapping.pe_groups}` : ""],
        ["temporal tiles", `${mapping.temporal_tiles}`],
        ["phases", mapping.phases > 1 ? `${mapping.phases}` : ""],
        ["moves", `${names[mapping.resident_in]} to ${names[mapping.resident_out]}`],
      ] : []),
      ["density", mapping ? `${view.onArray ? `weights ${percent(layer.density.weights)}, ` : ""}in ${percent(layer.density.input)}, out ${percent(layer.density.output)}` : ""],
      ["SQNR", layer.accuracy ? (layer.accuracy.sqnr_db === null ? "exact" : `${layer.accuracy.sqnr_db.toFixed(1)} dB`) : ""],
      ["errors", layer.accuracy ? `${layer.accuracy.largest_error.toPrecision(3)} at most, ${layer.accuracy.mean_error.toPrecision(3)} in the mean` : ""],
      ["saturated", layer.accuracy ? percent(layer.accuracy.saturated, 2) : ""],
    ]),
  ]);
  const spent = view.causes.filter((part) => part.cycles > 0).sort((a, b) => b.cycles - a.cycles);
  const components = view.energy.filter((part) => part.pj > 0).sort((a, b) => b.pj - a.pj);
  const joules = (pj) => si(pj * 1e-12, "J");
  const dense = (machine) => joules(layer.energy_pj[machine] / run().samples);
  const time = element("div", [
    element("h3", `${exactly(view.cycles)} cycles${layer.lost_to && view.cycles ? `, most lost to ${cell(view, "lost_to")}` : ""}`),
    lead(view.predicted === null || !view.cycles ? "" : `predicted ${exactly(view.predicted)} (${signed(view.predicted / view.cycles - 1)})`),
    lead(view.onArray && view.cycles ? `DCNN ${exactly(view.dcnn)}: ${times(view.dcnn / view.cycles)}; ideal dense ${exactly(view.ideal)}; oracle ${exactly(view.oracle)}` : ""),
    shares(spent.map((part) => [part.cause, percent(part.share, 1), exactly(part.cycles)])),
  ]);
  const energy = element("div", [
    element("h3", joules(view.pj)),
    lead(view.onArray ? `DCNN ${dense("dcnn")}, DCNN-opt ${dense("dcnn_opt")}` : ""),
    shares(components.map((part) => [part.component, percent(part.pj / view.pj, 1), joules(part.pj)])),
    element("h3", `DRAM ${si(view.bytes, "B")}`),
    facts(Object.entries(layer.dram_bytes).filter(([, bytes]) => bytes > 0).map(([name, bytes]) => [({ in: "activations in", out: "activations out" })[name] ?? name, si(bytes / run().samples, "B")])),
  ]);
  const figure = element("figure", [], { id: "tiling" });
  const code = element("pre", [], { id: "code", tabindex: "0" });
  code.append(...layer.code.flatMap((line) => {
    const [mnemonic, ...operands] = line.trim().split(" ");
    return [element("b", mnemonic), ` ${operands.join(" ")}\n`];
  }));
  const cycles = peSums([view]);
  const right = element("div", [
    cycles ? element("h3", "The array: cycles of every PE") : null,
    cycles ? element("figure", [], { id: "pe-map" }) : null,
    mapping ? element("h3", `The plane, ${layer.shape.h} rows x ${layer.shape.w} columns, on ${run().report.pes.join(" x ")} PEs${mapping.pe_groups > 1 ? `, one of ${mapping.pe_groups} groups` : ""}`) : null,
    figure,
    element("h3", `Instructions ${layer.instructions[0]}..${layer.instructions[1]}`),
    code,
  ]);
  const turn = (by) => `#layer-${(state.layer + by + run().layers.length) % run().layers.length}`;
  const host = document.getElementById("detail");
  host.replaceChildren(
    element("div", [
      element("h3", `${layer.index}: ${layer.name}`, { id: "detail-name" }),
      element("a", "\u2190 previous", { href: turn(-1), id: "previous" }),
      element("a", "next \u2192", { href: turn(1), id: "next" }),
    ], { class: "turn" }),
    element("div", [left, time, energy, right], { class: "parts" }),
  );
  if (cycles) place("pe-map", arrayMap(cycles, 6));
  if (mapping) place("tiling", tiling(view));
}
