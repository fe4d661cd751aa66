// Charts of the points. Every mark carries its numbers as a title, as on the page of a report.

const widthOf = (host) => Math.max(260, Math.floor(host.getBoundingClientRect().width) || 380);

// Colours: by a measure or a parameter with many values a ramp, by one with few a colour each.
function colouring() {
  const key = state.colour;
  const points = measuredOfModel();
  const scale = document.getElementById("scale");
  if (!key) {
    scale.replaceChildren();
    return () => "var(--accent)";
  }
  const values = [...new Set(points.map((point) => point[key]))];
  const measure = MEASURES.find((measure) => measure.key === key);
  if (!measure && values.length <= 10) {
    const ordered = WORDS[key] ? values.sort() : values.sort((a, b) => Number(a) - Number(b));
    const of = (value) => d3.schemeObservable10[ordered.indexOf(value) % 10];
    scale.replaceChildren(...ordered.map((value) => element("span", [element("i", [], { style: `background:${of(value)}` }), String(value)])));
    return (point) => of(point[key]);
  }
  const [low, high] = d3.extent(points, (point) => place_on(point, key));
  const at = (value) => d3.interpolateViridis(high > low ? 0.05 + 0.85 * (value - low) / (high - low) : 0.5);
  const show = measure ? measure.show : (value) => String(value);
  const ramp = element("i", [], { class: "ramp", style: `background:linear-gradient(90deg,${d3.range(0, 1.01, 0.1).map((share) => at(low + share * (high - low))).join(",")})` });
  scale.replaceChildren(element("span", [show(low), ramp, show(high)]));
  return (point) => at(place_on(point, key));
}

const domain = (points, { key }) => {
  const [low, high] = d3.extent(points, (point) => point[key]);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return state.zero ? [0, high + room] : [low - room, high + room];
};

// Labels that do not lie on each other; a front's ends come first.
function labelled(points, x, y, width, height) {
  const placed = [];
  const order = d3.range(points.length).sort((a, b) => Math.min(a, points.length - 1 - a) - Math.min(b, points.length - 1 - b));
  return order.map((at) => points[at]).filter((point) => {
    const [px, py] = [x(point) * width, y(point) * height];
    const free = placed.every(([ox, oy]) => Math.abs(ox - px) > 34 || Math.abs(oy - py) > 14);
    if (free) placed.push([px, py]);
    return free;
  });
}

function frontChart(host, [a, b], colourOf) {
  const all = measuredOfModel();
  const points = all.filter(kept);
  const others = points.length < all.length ? all.filter((point) => !kept(point)) : [];
  const best = front(points, [a, b]);
  const width = widthOf(host);
  const height = Math.min(340, width * 0.78);
  const [xs, ys] = [domain(all, a), domain(all, b)];
  const share = ({ key }, [low, high]) => (point) => (point[key] - low) / (high - low || 1);
  const names = labelled(best, share(a, xs), share(b, ys), width - 80, height - 60);
  const size = points.length > 600 ? 2 : points.length > 100 ? 3 : 4.5;
  const chart = Plot.plot({
    width, height, marginLeft: 62, marginRight: 22, marginBottom: 38, marginTop: 16, style: FONT, grid: true,
    x: { domain: xs, label: `${a.name} \u2192`, ticks: width / 90, tickFormat: a.show, labelAnchor: "center" },
    y: { domain: ys, label: `\u2191 ${b.name}`, ticks: 5, tickFormat: b.show },
    marks: [
      Plot.dot(others, { x: a.key, y: b.key, r: size, fill: "var(--line)" }),
      // In steps: between two points nothing was measured.
      Plot.line(best, { x: a.key, y: b.key, curve: "step-after", stroke: "var(--faint)", strokeWidth: 1.2 }),
      Plot.dot(points, { x: a.key, y: b.key, r: size, fill: colourOf, fillOpacity: points.length > 300 ? 0.55 : 0.85, title: tipOf }),
      Plot.dot(best, { x: a.key, y: b.key, r: size + 1.5, fill: colourOf, stroke: "var(--ink)", strokeWidth: 1.3, title: tipOf }),
      Plot.text(names, { x: a.key, y: b.key, text: (point) => `#${point.point}`, dy: -11, dx: 4, textAnchor: "start", fontWeight: 600, stroke: "var(--ground)", strokeWidth: 4, fill: "var(--ink)" }),
      Plot.dot(state.chosen && measured(state.chosen) && all.includes(state.chosen) ? [state.chosen] : [], { x: a.key, y: b.key, r: size + 5, stroke: "var(--accent)", strokeWidth: 2.5 }),
    ],
  });
  place(host.id, chart);
  // Which point a mark is, for clicks.
  const dots = [...chart.querySelectorAll("circle[data-tip]")];
  for (const [at, point] of [...points, ...best].entries()) dots[at].dataset.point = point.at;
}

function frontCharts() {
  const host = document.getElementById("front-charts");
  const colourOf = colouring();
  host.replaceChildren(...PAIRS.map(([a, b]) => element("div", [element("h3", `${a.name} and ${b.name}`), element("figure", [], { id: `front-${a.key}-${b.key}` })])));
  for (const pair of PAIRS) frontChart(document.getElementById(`front-${pair[0].key}-${pair[1].key}`), pair, colourOf);
}

const geometric = (values) => Math.exp(d3.mean(values, (value) => Math.log(Math.max(value, 1e-300))));

// The effect of one parameter on the measures: geometric means by value and the middle half, over the mean of all.
function effectOf(axis, points) {
  const byValue = d3.sort(d3.group(points, (point) => point[axis]), ([, some]) => place_on(some[0], axis));
  return MEASURES.flatMap((measure) => {
    const all = geometric(points.map((point) => point[measure.key]));
    return byValue.map(([value, some]) => {
      const values = some.map((point) => point[measure.key]);
      const mean = geometric(values);
      return { axis, value, measure: measure.name, mean: mean / all, low: d3.quantile(values, 0.25) / all, high: d3.quantile(values, 0.75) / all, count: some.length, shown: measure.show(mean) };
    });
  });
}

function effectChart(host, axis, rows, y) {
  const width = widthOf(host);
  const values = [...new Set(rows.map((row) => row.value))];
  // Many numbers have their places, few an order.
  const numbers = !WORDS[axis] && values.length > 8;
  const x = numbers ? (d) => Number(d.value) : (d) => String(d.value);
  const logarithmic = numbers && d3.min(values, Number) > 0 && d3.max(values, Number) / d3.min(values, Number) > 20;
  place(host.id, Plot.plot({
    width, height: 210, marginLeft: 46, marginRight: 14, marginBottom: 38, marginTop: 10, style: FONT, grid: true,
    x: numbers ? { type: logarithmic ? "log" : "linear", label: axis, labelAnchor: "center", ticks: width / 60 } : { type: "point", domain: values.map(String), label: axis, labelAnchor: "center", padding: 0.4 },
    y: { type: y[1] > 4 * y[0] ? "log" : "linear", domain: y, label: null, tickFormat: (v) => `${Number(v.toPrecision(3))}x`, ticks: 5 },
    color: { domain: MEASURES.map(({ name }) => name), range: MEASURES.map((_, at) => d3.schemeObservable10[at]) },
    marks: [
      Plot.ruleY([1], { stroke: "var(--faint)", strokeDasharray: "3 3" }),
      MEASURES.map(({ name }, at) => Plot.ruleX(rows.filter((row) => row.measure === name), { x, y1: "low", y2: "high", stroke: "measure", strokeOpacity: 0.3, strokeWidth: 4, dx: (at - (MEASURES.length - 1) / 2) * 5 })),
      Plot.line(rows, { x, y: "mean", z: "measure", stroke: "measure", strokeWidth: 1.8 }),
      Plot.dot(rows, { x, y: "mean", fill: "measure", r: values.length > 30 ? 1.6 : 3, title: (d) => `${axis} ${d.value}: ${d.measure} ${d.shown}, ${d.mean.toFixed(3)}x of the mean\nhalf of the ${d.count} points between ${d.low.toFixed(2)}x and ${d.high.toFixed(2)}x` }),
    ],
  }));
}

function effectCharts() {
  const host = document.getElementById("effect-charts");
  const points = measuredOfModel().filter(kept);
  const varying = AXES.filter((axis) => new Set(measuredOfModel().map((point) => point[axis])).size > 1);
  document.getElementById("effects").hidden = varying.length === 0 || points.length === 0;
  const effects = varying.map((axis) => effectOf(axis, points));
  // One scale for all parameters: a steep line matters more than a flat one.
  const span = d3.extent(effects.flat().flatMap(({ mean, low, high }) => [mean, low, high]));
  const y = [Math.min(0.95, span[0] / 1.03), Math.max(1.05, span[1] * 1.03)];
  const legend = element("div", MEASURES.map(({ name }, at) => element("span", [element("i", [], { style: `background:${d3.schemeObservable10[at]}` }), name])), { class: "legend", style: "grid-column: 1 / -1" });
  host.replaceChildren(legend, ...varying.map((_, at) => element("figure", [], { id: `effect-${at}` })));
  if (!points.length) return;
  for (const [at, axis] of varying.entries()) effectChart(document.getElementById(`effect-${at}`), axis, effects[at], y);
}

// Parallel coordinates: parameters, then measures; with brushes.
function parallel() {
  const points = measuredOfModel();
  const keys = [...AXES.filter((axis) => new Set(points.map((point) => point[axis])).size > 1), ...MEASURES.map(({ key }) => key)];
  const host = document.getElementById("parallel");
  const gap = 128;
  const width = Math.max(widthOf(host.parentElement), 60 + gap * (keys.length - 1) + 90);
  const [height, top, bottom] = [330, 44, 300];
  const x = d3.scalePoint(keys, [46, width - 86]);
  const scales = Object.fromEntries(keys.map((key) => {
    const [low, high] = d3.extent(points, (point) => place_on(point, key));
    return [key, d3.scaleLinear([low, high > low ? high : low + 1], [bottom, top])];
  }));
  const colourOf = colouring();
  const svg = d3.create("svg").attr("width", width).attr("height", height).attr("viewBox", [0, 0, width, height]).attr("style", "max-width:none");
  const path = (point) => d3.line()(keys.map((key) => [x(key), scales[key](place_on(point, key))]));
  const drawn = [...points].sort((a, b) => kept(a) - kept(b) || onFront.has(a) - onFront.has(b) || (a === state.chosen) - (b === state.chosen));
  svg.append("g").attr("fill", "none").selectAll("path").data(drawn).join("path").attr("d", path)
    .attr("data-tip", tipOf).attr("data-point", (point) => point.at)
    .attr("stroke", (point) => (point === state.chosen ? "var(--ink)" : kept(point) ? colourOf(point) : "var(--line)"))
    .attr("stroke-width", (point) => (point === state.chosen ? 3 : onFront.has(point) ? 1.8 : 1))
    .attr("stroke-opacity", (point) => (point === state.chosen || (onFront.has(point) && kept(point)) ? 1 : kept(point) ? (points.length > 400 ? 0.18 : 0.45) : 0.25));
  for (const key of keys) axisOf(svg, key, x(key), scales[key], points);
  host.replaceChildren(svg.node());
}

function axisOf(svg, key, x, scale, points) {
  const measure = MEASURES.find((measure) => measure.key === key);
  const words = WORDS[key];
  const distinct = d3.sort(new Set(points.map((point) => place_on(point, key))));
  const ticks = words || distinct.length <= 7 ? distinct : scale.ticks(5);
  const show = measure ? measure.show : words ? (at) => words[at] : (value) => String(value);
  const axis = svg.append("g").attr("class", "axis").attr("transform", `translate(${x},0)`);
  axis.append("line").attr("y1", 44).attr("y2", 300).attr("stroke", "var(--faint)");
  // A label that would lie on the one before is left out.
  const apart = ticks.reduce((kept, tick) => (kept.length && Math.abs(scale(tick) - scale(kept.at(-1))) < 11 ? kept : [...kept, tick]), []);
  for (const tick of apart) axis.append("text").attr("x", 6).attr("y", scale(tick)).attr("dy", "0.32em").text(show(tick));
  const name = measure ? measure.name : key;
  const [section, last] = name.includes(".") ? name.split(/\.(?=[^.]*$)/) : ["", name];
  axis.append("text").attr("text-anchor", "middle").attr("y", 16).text(section);
  axis.append("text").attr("class", "name").attr("text-anchor", "middle").attr("y", 30).text(last);
  const brush = d3.brushY().extent([[-14, 38], [14, 306]]).on("end", ({ selection, sourceEvent }) => {
    if (!sourceEvent) return;
    if (selection) state.kept[key] = selection.map(scale.invert).reverse();
    else delete state.kept[key];
    pointsChanged();
  });
  axis.append("g").call(brush).call((g) => { if (state.kept[key]) brush.move(g, state.kept[key].map(scale).reverse()); });
}

// Each network with its best points beside each other, over its own best.
function across() {
  document.getElementById("models").hidden = MODELS.length < 2;
  if (MODELS.length < 2) return;
  const host = document.getElementById("across");
  const configuration = (point) => [point.machine, point.mapping, point.objective, ...AXES.map((axis) => point[axis])].join("|");
  const byModel = new Map(MODELS.map((model) => [model, DATA.points.filter((point) => point.model === model && measured(point))]));
  const named = new Map();
  for (const [, points] of byModel) for (const point of front(points, MEASURES)) named.set(configuration(point), point.name);
  const measures = MEASURES.filter(({ key }) => key === "total_cycles" || key === "total_energy_pj");
  const rows = measures.flatMap((measure) => [...byModel].flatMap(([model, points]) => {
    const best = d3.min(points, (point) => point[measure.key]);
    return points.filter((point) => named.has(configuration(point))).map((point) => ({ model, measure, name: point.name, over: point[measure.key] / best, value: point[measure.key] }));
  }));
  // The machines that are the least far from the best over all networks come first.
  const order = d3.groupSort(rows, (some) => d3.mean(some, (row) => Math.log(row.over)), (row) => row.name).slice(0, 24);
  const shown = rows.filter((row) => order.includes(row.name));
  host.replaceChildren(...measures.map((measure) => element("figure", [], { id: `across-${measure.key}` })));
  // The end of a long name says more than its beginning.
  const letters = Math.max(18, Math.floor(widthOf(host) * 0.42 / 6.6));
  const short = (name) => (name.length > letters ? `\u2026${name.slice(1 - letters)}` : name);
  const names = 20 + 6.6 * d3.max(order, (name) => short(name).length);
  for (const measure of measures) {
    const width = Math.max(widthOf(host), names + 110 * MODELS.length);
    place(`across-${measure.key}`, Plot.plot({
      width, height: 70 + 19 * order.length, marginLeft: names, marginTop: 44, marginRight: 20, style: FONT,
      fx: { domain: MODELS, label: null, padding: 0.08 },
      x: { label: `${measure.name} over the network's best \u2192`, labelAnchor: "center", ticks: 3, tickFormat: (v) => `${v}x`, domain: [0, d3.max(shown.filter((row) => row.measure === measure), (row) => row.over)], grid: true },
      y: { domain: order, label: null, tickFormat: short },
      marks: [
        Plot.barX(shown.filter((row) => row.measure === measure), { fx: "model", x1: 0, x2: "over", y: "name", fill: (row) => d3.schemeObservable10[MODELS.indexOf(row.model) % 10], insetTop: 2, insetBottom: 2, title: (row) => `${row.model}, ${row.name}\n${measure.name}: ${measure.show(row.value)}, ${row.over.toFixed(2)}x of the best` }),
        Plot.ruleX([1], { stroke: "var(--ink)", strokeDasharray: "2 3" }),
      ],
    }));
  }
}
