"use strict";

const { rows, curves } = JSON.parse(document.getElementById("data").textContent);
const NORMS = { linf: "ℓ∞", l2: "L2" };
const DASH = "–";

// ---- Formatting of values ----

const percent = (fraction) => `${(100 * fraction).toFixed(2)}%`;
const count = (number) => number.toLocaleString("en");
const norm = (name) => NORMS[name] ?? name;

function milliseconds(number) {
  return number >= 1 ? number.toLocaleString("en", { maximumFractionDigits: 1 })
    : String(Number(number.toPrecision(2)));
}

function attackDetails(row) {
  if (row.attack === null) return "no attack was measured at this budget";
  const parameters = Object.entries(row.attack_parameters).map(([key, value]) => `${key} ${value}`);
  return [row.attack, ...parameters, `n = ${count(row.attacked_n)}`].join(", ");
}

function costDetails(row) {
  if (row.milliseconds === null) return "not measured";
  return `n = ${count(row.cost_n)}, ${row.cost_hardware}`;
}

// One entry for each column. `value` gives the value to sort by, `show` the text of a cell, `small` its
// second line, and `title` its tooltip. With `best`, the first click sorts from the highest value down.
const COLUMNS = [
  { label: "model", value: (r) => r.model, small: (r) => `${r.approach}: ${r.architecture}`,
    title: (r) => r.paper },
  { label: "data set", value: (r) => r.dataset },
  { label: "norm", value: (r) => r.norm, show: (r) => norm(r.norm) },
  { label: "eps", number: true, value: (r) => r.budget, show: (r) => r.eps },
  { label: "clean", number: true, best: true, value: (r) => r.clean, show: (r) => percent(r.clean) },
  { label: "attacked", number: true, best: true, value: (r) => r.attacked,
    show: (r) => percent(r.attacked), title: attackDetails,
    small: (r) => r.attacked_n === r.n ? r.attack : `${r.attack}, n = ${count(r.attacked_n)}`,
    about: "upper bound: the strongest attack tried" },
  { label: "certified", number: true, best: true, value: (r) => r.certified,
    show: (r) => percent(r.certified), about: "lower bound against any attack",
    small: (r) => `${percent(r.certified_low)} to ${percent(r.certified_high)}` },
  { label: "method", value: (r) => r.method, about: "of the certificate" },
  { label: "n", number: true, best: true, value: (r) => r.n, show: (r) => count(r.n),
    about: "test images measured" },
  { label: "parameters", number: true, value: (r) => r.parameters, show: (r) => count(r.parameters) },
  { label: "MB", number: true, value: (r) => r.bytes, show: (r) => (r.bytes / 1e6).toFixed(r.bytes < 1e5 ? 2 : 1) },
  { label: "training, s", number: true, value: (r) => r.seconds,
    show: (r) => count(Math.round(r.seconds)) },
  { label: "epochs", number: true, value: (r) => r.epochs, show: (r) => count(r.epochs) },
  { label: "hardware", value: (r) => r.hardware, about: "of the training" },
  { label: "certificate, ms/image", number: true, value: (r) => r.milliseconds,
    show: (r) => milliseconds(r.milliseconds), title: costDetails, small: (r) => r.cost_hardware },
  { label: "deterministic", value: (r) => r.deterministic,
    about: "the certificate holds for certain, not with some probability" },
  { label: "extra training data", value: (r) => r.extra_data },
  { label: "notes", value: (r) => r.notes || null },
];

// ---- Building elements: text is inserted only as text nodes and attributes, never as markup ----

function put(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const html = (name, attributes = {}, ...children) =>
  put(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  put(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// ---- Filters ----

const form = document.getElementById("filters");
const unique = (values) => [...new Set(values)];

function fillFilters() {
  for (const key of ["dataset", "norm", "approach"]) {
    const values = unique(rows.map((row) => row[key])).sort();
    form.elements[key].append(
      html("option", { value: "" }, "all"),
      ...values.map((value) => html("option", { value }, key === "norm" ? norm(value) : value)),
    );
  }
}

function searched(row) {
  const texts = [row.model, row.approach, row.architecture, row.paper, row.dataset, norm(row.norm),
    row.norm, row.eps, row.method, row.attack ?? "", row.hardware, row.notes];
  return texts.join(" ").toLowerCase();
}

function matching() {
  const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) =>
    ["dataset", "norm", "approach"].every((key) => ["", row[key]].includes(form.elements[key].value))
    && words.every((word) => searched(row).includes(word)));
}

// ---- Table ----

const table = document.getElementById("results");
let sorting = { column: null, direction: 1 };

function drawHead() {
  const cells = COLUMNS.map((column) => {
    const button = html("button", { type: "button", title: column.about }, column.label);
    button.addEventListener("click", () => {
      const direction = sorting.column === column ? -sorting.direction : column.best ? -1 : 1;
      sorting = { column, direction };
      draw();
    });
    return html("th", { scope: "col", class: column.number && "number" }, button);
  });
  table.tHead.rows[0].append(...cells);
}

// Rows without a value come last in both directions; rows with equal values keep their order.
function compare(a, b) {
  const [left, right] = [sorting.column.value(a), sorting.column.value(b)];
  if (left === null || right === null) return (left === null) - (right === null);
  return sorting.direction * (sorting.column.number ? left - right : left.localeCompare(right));
}

function drawTable(visible) {
  const order = sorting.column ? [...visible].sort(compare) : visible;
  COLUMNS.forEach((column, i) => {
    const direction = sorting.direction > 0 ? "ascending" : "descending";
    table.tHead.rows[0].cells[i].setAttribute("aria-sort",
      column === sorting.column ? direction : "none");
  });
  table.tBodies[0].replaceChildren(...order.map((row) => html("tr", {}, ...COLUMNS.map(
    (column, i) => drawCell(column, row, i === 0)))));
  table.parentElement.hidden = !visible.length;
  document.getElementById("no-results").hidden = visible.length > 0;
  const models = unique(visible.map((row) => row.model)).length;
  document.getElementById("count").textContent =
    `${visible.length} of ${rows.length} rows, ${models} models`;
}

function drawCell(column, row, isName) {
  const value = column.value(row);
  const text = value === null ? DASH : column.show ? column.show(row) : value;
  const small = value === null ? null : column.small?.(row);
  const classes = [column.number && "number", ["certified", "notes"].includes(column.label)
    && column.label].filter(Boolean).join(" ");
  const attributes = { class: classes || null, title: column.title?.(row) };
  const children = small ? [text, html("small", {}, small)] : [text];
  return isName ? html("th", { scope: "row", ...attributes }, ...children)
    : html("td", attributes, ...children);
}

// ---- Charts ----

const WIDTH = 440;
const HEIGHT = 280;
const MARGIN = { left: 58, right: 16, top: 14, bottom: 44 };

// A checkpoint has the same colour in all charts of its data set and norm, whatever the filters are.
function style(model, dataset, normName) {
  const inGroup = unique(curves.filter((c) => c.dataset === dataset && c.norm === normName)
    .map((c) => c.model));
  const place = inGroup.indexOf(model);
  const color = `var(--series-${place % 8})`;
  // After eight checkpoints the colours repeat, with dashed lines and hollow markers.
  return place < 8 ? { color, dash: null, fill: color }
    : { color, dash: "6 3", fill: "var(--card)" };
}

function scale([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

function frame(label, xDomain, yDomain, xTicks, yTicks, xTitle, yTitle) {
  const x = scale(xDomain, [MARGIN.left, WIDTH - MARGIN.right]);
  const y = scale(yDomain, [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const bottom = HEIGHT - MARGIN.bottom;
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const { at, text } of yTicks) {
    root.append(
      svg("line", { class: "grid", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y(at), y2: y(at) }),
      svg("text", { x: MARGIN.left - 6, y: y(at) + 4, "text-anchor": "end" }, text));
  }
  let end = -Infinity;
  for (const { at, text } of xTicks) {
    root.append(svg("line", { class: "axis", x1: x(at), x2: x(at), y1: bottom, y2: bottom + 4 }));
    const half = 4.3 * text.length;
    if (x(at) - half < end + 6) continue; // its text would run into the one before
    root.append(svg("text", { x: x(at), y: bottom + 17, "text-anchor": "middle" }, text));
    end = x(at) + half;
  }
  root.append(
    svg("line", { class: "axis", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: bottom, y2: bottom }),
    svg("text", { x: (MARGIN.left + WIDTH - MARGIN.right) / 2, y: HEIGHT - 8,
      "text-anchor": "middle" }, xTitle),
    svg("text", { x: 12, y: (MARGIN.top + bottom) / 2, "text-anchor": "middle",
      transform: `rotate(-90 12 ${(MARGIN.top + bottom) / 2})` }, yTitle));
  return { root, x, y };
}

const percentTicks = (low, high, step) => {
  const ticks = [];
  for (let at = low; at <= high; at += step) ticks.push({ at: at / 100, text: `${at}%` });
  return ticks;
};

function dot({ color, fill }, cx, cy, r, ...children) {
  return svg("circle", { cx, cy, r, fill, stroke: color, "stroke-width": 2 }, ...children);
}

function swatch(look) {
  return svg("svg", { viewBox: "0 0 32 14", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 32, y1: 7, y2: 7, stroke: look.color, "stroke-width": 2,
      "stroke-dasharray": look.dash }),
    dot(look, 16, 7, 3));
}

function legendEntry(look, name, detail) {
  return html("li", {}, swatch(look), html("div", {}, html("span", {}, name), html("small", {}, detail)));
}

function drawCurves(visible) {
  const shown = new Set(visible.map((row) => `${row.model} ${row.norm}`));
  const charts = new Map();
  for (const curve of curves) {
    if (!shown.has(`${curve.model} ${curve.norm}`)) continue;
    const key = `${curve.dataset}, ${norm(curve.norm)}`;
    charts.set(key, [...(charts.get(key) ?? []), curve]);
  }
  const figures = [...charts.keys()].sort().map((key) => curveChart(key, charts.get(key)));
  document.getElementById("curves").replaceChildren(...(figures.length ? figures
    : [html("p", { class: "empty" }, "No model matches these filters.")]));
}

function curveChart(title, group) {
  const points = group.flatMap((curve) => curve.points);
  const texts = new Map(points.map((point) => [point.budget, point.eps]));
  const ticks = [{ at: 0, text: "0" }, ...[...texts.keys()].filter((at) => at > 0)
    .sort((a, b) => a - b).map((at) => ({ at, text: texts.get(at) }))];
  const longest = ticks.at(-1).at || 1;
  const { root, x, y } = frame(
    `Certified accuracy on ${title} by budget; the table has the numbers`,
    [0, 1.03 * longest], [0, 1], ticks, percentTicks(0, 100, 20),
    `budget eps, ${norm(group[0].norm)}`, "certified, at least");
  for (const curve of group) drawCurve(root, x, y, curve);
  const legend = group.map((curve) => legendEntry(
    style(curve.model, curve.dataset, curve.norm), curve.model,
    `${unique(curve.points.map((point) => point.method)).join(", ")}; n = ${count(curve.n)}`));
  return html("figure", {}, html("figcaption", {}, title), root,
    html("ul", { class: "legend" }, ...legend));
}

// Between two measured budgets, the accuracy at the larger one is a lower bound.
function drawCurve(root, x, y, curve) {
  const look = style(curve.model, curve.dataset, curve.norm);
  const start = curve.clean ?? curve.points[0].accuracy;
  const steps = curve.points.map((point) => `V${y(point.accuracy)}H${x(point.budget)}`);
  root.append(svg("path", { class: "curve", d: `M${x(0)} ${y(start)}${steps.join("")}`,
    stroke: look.color, "stroke-dasharray": look.dash, "data-model": curve.model }));
  for (const point of curve.points) {
    const text = `${curve.model}: ${percent(point.accuracy)} certified at eps ${point.eps}, ${point.method}`;
    root.append(dot(look, x(point.budget), y(point.accuracy), 2.5, svg("title", {}, text)));
  }
  if (curve.clean !== null) {
    root.append(svg("circle", { class: "clean", cx: x(0), cy: y(curve.clean), r: 4, stroke: look.color },
      svg("title", {}, `${curve.model}: ${percent(curve.clean)} clean`)));
  }
}

// ---- Scatter ----

const chooser = document.getElementById("threat");
const threat = (row) => JSON.stringify([row.dataset, row.norm, row.budget]);

function drawScatter(visible) {
  const threats = new Map(visible.map((row) =>
    [threat(row), `${row.dataset}, ${norm(row.norm)}, eps ${row.eps}`]));
  const before = chooser.value;
  chooser.replaceChildren(...[...threats].map(([value, text]) => html("option", { value }, text)));
  chooser.disabled = !threats.size;
  if (threats.has(before)) chooser.value = before;
  // The scatter plot shows each checkpoint's best certificate at this budget.
  const best = new Map();
  for (const row of visible.filter((row) => threat(row) === chooser.value)) {
    const known = best.get(row.model);
    if (!known || row.certified > known.certified) best.set(row.model, row);
  }
  document.getElementById("scatter").replaceChildren(best.size ? scatterChart([...best.values()])
    : html("p", { class: "empty" }, "No model matches these filters."));
}

// The axis range covers the values in whole steps of 5 points, so that close models can be told apart.
function around(values) {
  const low = Math.max(0, 5 * Math.floor(20 * Math.min(...values) - 0.2));
  const high = Math.min(100, 5 * Math.ceil(20 * Math.max(...values) + 0.2));
  const step = high - low > 50 ? 20 : high - low > 20 ? 10 : 5;
  return { domain: [low / 100, high / 100],
    ticks: percentTicks(step * Math.ceil(low / step), high, step) };
}

function scatterChart(points) {
  const title = chooser.selectedOptions[0].textContent;
  const xs = around(points.map((row) => row.clean));
  const ys = { domain: [0, 1], ticks: percentTicks(0, 100, 20) };
  const { root, x, y } = frame(`Clean against certified accuracy, ${title}; the table has the numbers`,
    xs.domain, ys.domain, xs.ticks, ys.ticks, "clean accuracy", "certified, at least");
  const [from, to] = xs.domain;
  root.append(svg("line", { class: "diagonal", x1: x(from), x2: x(to), y1: y(from), y2: y(to) }));
  for (const row of points) {
    const text = `${row.model}: ${percent(row.clean)} clean, ${percent(row.certified)} certified, ${row.method}`;
    const point = dot(style(row.model, row.dataset, row.norm), x(row.clean), y(row.certified), 5,
      svg("title", {}, text));
    root.append(put(point, { class: "point", "data-model": row.model }, []));
  }
  const ranked = [...points].sort((a, b) => b.certified - a.certified);
  const legend = ranked.map((row) => legendEntry(style(row.model, row.dataset, row.norm), row.model,
    `${percent(row.clean)} clean, ${percent(row.certified)} certified`));
  return html("figure", {}, html("figcaption", {}, title), root,
    html("ul", { class: "legend" }, ...legend));
}

// ---- The page ----

function draw() {
  const visible = matching();
  drawTable(visible);
  drawCurves(visible);
  drawScatter(visible);
}

fillFilters();
drawHead();
form.addEventListener("input", draw); // while typing
form.addEventListener("change", draw); // not everything that sets a selector also says "input"
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(draw)); // the fields are emptied after this event
chooser.addEventListener("change", () => drawScatter(matching()));
draw();
