// The points, the measures that they have, and the fronts.

// Measures: column of the table, name, whether more is better, and a value as words.
const MEASURES = [
  { key: "total_cycles", name: "cycles", more: false, show: (v) => si(v) },
  { key: "total_energy_pj", name: "energy", more: false, show: (v) => si(v * 1e-12, "J") },
  { key: "area_mm2", name: "area", more: false, show: (v) => `${v.toFixed(2)} mm\u00b2` },
  { key: "top1_ratio", name: "top-1 accuracy", more: true, show: (v) => percent(v, 1) },
].filter(({ key }) => DATA.points.some((point) => typeof point[key] === "number"));

// How many points are drawn and listed at most: more would only hide each other.
const MOST_ROWS = 300;

const AXES = DATA.axes;
const MODELS = [...new Set(DATA.points.map((point) => point.model))];
const measured = (point) => MEASURES.every(({ key }) => typeof point[key] === "number");
for (const [at, point] of DATA.points.entries()) {
  point.at = at;
  point.name = AXES.map((axis) => `${axis.split(".").pop()} ${point[axis]}`).join(", ") || point.machine;
  point.words = Object.values(point).join("\n").toLowerCase();
}

// Choices of the reader.
const state = { model: 0, chosen: null, search: "", onlyFront: false, sort: "point", descending: false, colour: "", zero: false, all: false, kept: {} };

// Whether `a` is at least as good as `b` in all of some measures, and better in one.
function better(a, b, measures) {
  let ahead = false;
  for (const { key, more } of measures) {
    const gain = more ? a[key] - b[key] : b[key] - a[key];
    if (gain < 0) return false;
    if (gain > 0) ahead = true;
  }
  return ahead;
}

// The points that no other is better than. Of two measures in the order of the first, of more by comparing all.
function front(points, measures) {
  if (measures.length !== 2) return points.filter((point) => !points.some((other) => better(other, point, measures)));
  const [first, second] = measures;
  const rank = (point, { key, more }) => (more ? -point[key] : point[key]);
  const sorted = [...points].sort((a, b) => rank(a, first) - rank(b, first) || rank(a, second) - rank(b, second));
  const kept = [];
  let best = Infinity;
  let last = null;
  for (const point of sorted) {
    const value = rank(point, second);
    if (value < best || (last !== null && value === best && rank(point, first) === rank(last, first))) {
      kept.push(point);
      best = value;
      last = point;
    }
  }
  return kept;
}

// The points of the network that is shown.
const ofModel = () => DATA.points.filter((point) => point.model === MODELS[state.model]);
const measuredOfModel = () => ofModel().filter(measured);

// A point's place on an axis: a number, or the number of its word.
const WORDS = Object.fromEntries(AXES.map((axis) => {
  const values = [...new Set(DATA.points.map((point) => point[axis]))];
  const numbers = values.every((value) => value !== "" && Number.isFinite(Number(value)));
  return [axis, numbers ? null : values.sort()];
}));
const place_on = (point, key) => (AXES.includes(key) ? (WORDS[key] ? WORDS[key].indexOf(point[key]) : Number(point[key])) : point[key]);

// Points that the ranges on the axes keep.
const kept = (point) => Object.entries(state.kept).every(([key, [low, high]]) => low <= place_on(point, key) && place_on(point, key) <= high);

// The pairs of measures that have a front.
const PAIRS = d3.cross(MEASURES, MEASURES).filter(([a, b]) => MEASURES.indexOf(a) < MEASURES.indexOf(b));

// The points on the front of all measures together.
let onFront = new Set();
function findFront() {
  onFront = new Set(front(measuredOfModel(), MEASURES));
}

const tipOf = (point) => [`#${point.point} ${point.name}`, ...MEASURES.map(({ key, name, show }) => `${name}: ${show(point[key])}`),
  `${point.mapping}, ${point.fidelity}`, onFront.has(point) ? "on the front of all measures" : ""].filter(Boolean).join("\n");
