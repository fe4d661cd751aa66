// What the pages share: the data, numbers as words, elements, CSV, tips, the theme.

const DATA = JSON.parse(document.getElementById("data").textContent);

const words = (name) => name.replaceAll("_", " ").replace(/\b(fifo|dram|ppu|dcnn|rams|kc)\b/g, (word) => ({ kc: "Kc", rams: "RAMs" })[word] ?? word.toUpperCase());
const colour = (name) => `var(--${name})`;
const sum = (values) => values.reduce((a, b) => a + b, 0);

// Three figures and a prefix, as the terminal says it.
function si(value, unit = "") {
  if (!value) return `0 ${unit}`.trim();
  const prefixes = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "u"], [1e-9, "n"], [1e-12, "p"]];
  const [factor, prefix] = prefixes.find(([factor]) => Math.abs(value) >= factor) ?? [1e-12, "p"];
  const scaled = value / factor;
  const digits = scaled >= 100 || (factor === 1 && !unit && Number.isInteger(value)) ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${prefix}${unit}`.trim();
}
const exactly = (value) => Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
// Two places, or as many as a small ratio needs to have two figures.
const times = (ratio) => `${ratio.toFixed(ratio > 0 ? Math.min(12, Math.max(2, 1 - Math.floor(Math.log10(ratio)))) : 2)}x`;

function element(tag, content, attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat().filter((part) => part !== null && part !== undefined));
  return made;
}

// The glossary's entry of a name, as a tip; a name that it lacks has none.
function meaning(name) {
  const term = words(name).toLowerCase().replace(/s$/, "");
  return DATA.glossary?.[term] ?? null;
}
const explained = (name, attributes = {}) => (meaning(name) ? { ...attributes, "data-tip": meaning(name) } : attributes);

const FONT = { fontSize: "12px", fontFamily: "inherit", background: "none" };

// Pixels that a chart has in its place.
const room = (id) => Math.max(260, Math.floor(document.getElementById(id).getBoundingClientRect().width));

// Ticks that an axis of so many pixels has room for.
const ticksIn = (pixels) => Math.max(1, Math.min(10, Math.floor(pixels / 62)));

// Puts a chart into its place; titles become tips.
function place(id, chart) {
  const host = document.getElementById(id);
  for (const note of chart.querySelectorAll("title")) {
    const mark = note.parentElement;
    mark.setAttribute("data-tip", note.textContent);
    mark.setAttribute("aria-label", note.textContent);
    note.remove();
  }
  for (const link of chart.querySelectorAll("a")) link.setAttribute("tabindex", "-1");
  host.replaceChildren(chart);
}

// Saves rows, which have the columns of the data, as a CSV file.
function saveCsv(name, rows) {
  const quote = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [DATA.columns, ...rows].map((row) => row.map((value) => quote(String(value ?? ""))).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Draws again when the window has got another width.
function whenResized(draw) {
  let drawnWidth = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== drawnWidth) { drawnWidth = innerWidth; draw(); } });
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
