// One layer: extents, mapping, where its time and energy went, its tiling, its instructions.

function element(tag, content, attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat().filter((part) => part !== null && part !== undefined));
  return made;
}

function facts(pairs) {
  return element("dl", pairs.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

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
    ]),
  ]);
  const spent = view.causes.filter((part) => part.cycles > 0).sort((a, b) => b.cycles - a.cycles);
  const components = view.energy.filter((part) => part.pj > 0).sort((a, b) => b.pj - a.pj);
  const swatch = (name) => element("i", [], { style: `display:inline-block;width:10px;height:10px;border-radius:2px;background:${colour(name)}` });
  const middle = element("div", [
    element("h3", `${exactly(view.cycles)} cycles${layer.bound ? `, bound by ${cell(view, "bound")}` : ""}`),
    layer.cycles.predicted === null ? null : element("p", `predicted ${exactly(layer.cycles.predicted / run().samples)} (${percent(layer.cycles.predicted / Math.max(1, layer.cycles.total) - 1, 1)})`, { class: "note" }),
    view.onArray && view.cycles ? element("p", `DCNN ${exactly(view.dcnn)}: ${times(view.dcnn / view.cycles)}; oracle ${exactly(view.oracle)}`, { class: "note" }) : null,
    facts(spent.map((part) => [element("span", [swatch(part.cause), ` ${words(part.cause)}`]), `${percent(part.share, 1)}, ${exactly(part.cycles)} cycles`])),
    element("h3", `${si(view.pj * 1e-12, "J")}${view.onArray ? `; DCNN ${si(layer.energy_pj.dcnn / run().samples * 1e-12, "J")}, DCNN-opt ${si(layer.energy_pj.dcnn_opt / run().samples * 1e-12, "J")}` : ""}`),
    facts(components.map((part) => [element("span", [swatch(part.component), ` ${words(part.component)}`]), `${percent(part.pj / view.pj, 1)}, ${si(part.pj * 1e-12, "J")}`])),
    element("h3", `DRAM ${si(view.bytes, "B")}`),
    facts(Object.entries(layer.dram_bytes).filter(([, bytes]) => bytes > 0).map(([name, bytes]) => [name, si(bytes / run().samples, "B")])),
  ]);
  const figure = element("figure", [], { id: "tiling" });
  const code = element("pre", [], { id: "code", tabindex: "0" });
  code.append(...layer.code.flatMap((line) => {
    const [mnemonic, ...operands] = line.trim().split(" ");
    return [element("b", mnemonic), ` ${operands.join(" ")}\n`];
  }));
  const right = element("div", [
    mapping ? element("h3", `The ${layer.shape.h} x ${layer.shape.w} plane on ${run().report.pes.join(" x ")} PEs${mapping.pe_groups > 1 ? `, one of ${mapping.pe_groups} groups` : ""}`) : null,
    figure,
    element("h3", `Instructions ${layer.instructions[0]}..${layer.instructions[1]}`),
    code,
  ]);
  const step = (by) => `#layer-${(state.layer + by + run().layers.length) % run().layers.length}`;
  const host = document.getElementById("detail");
  host.replaceChildren(
    element("h3", [element("a", "\u2190 before", { href: step(-1) }), ` \u2003 ${layer.index}: ${layer.name} \u2003 `, element("a", "next \u2192", { href: step(1) })], { id: "detail-name" }),
    element("div", [left, middle, right], { class: "parts" }),
  );
  if (mapping) place("tiling", tiling(view));
}
