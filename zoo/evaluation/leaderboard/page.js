"use strict";

const { rows, curves, published } = JSON.parse(document.getElementById("data").textContent);
const NORMS = { linf: "ℓ∞", l2: "L2" };
const DASH = "–";
const MOST_LINES = 6; // of a chart, unless the reader asks for more

// ---- Formatting of values ----

const percent = (fraction) => `${(100 * fraction).toFixed(2)}%`;
const count = (number) => number.toLocaleString("en");
const norm = (name) => NORMS[name] ?? name;
const interval = (low, high) => `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)}%`;

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
// `draw` makes the content of a cell from elements, instead of `show` and `small`. `paper` is the text of
// the column in a row of a paper.
const COLUMNS = [
  { label: "#", name: "rank", number: true, value: (r) => r.rank, paper: (p) => p.letter,
    about: "by certified accuracy" },
  { label: "model", value: (r) => r.model, draw: drawModel, title: (r) => r.architecture },
  { label: "certified", number: true, best: true, value: (r) => r.certified, draw: drawCertified,
    about: "lower bound against any attack", paper: (p) => percent(p.certified) },
  { label: "clean", number: true, best: true, value: (r) => r.clean, show: (r) => percent(r.clean),
    small: (r) => interval(r.clean_low, r.clean_high),
    paper: (p) => p.clean === null ? DASH : percent(p.clean) },
  { label: "attacked", number: true, best: true, value: (r) => r.attacked,
    show: (r) => percent(r.attacked), title: attackDetails,
    small: (r) => r.attacked_n === r.n ? r.attack : `${r.attack}, n = ${count(r.attacked_n)}`,
    about: "upper bound: the strongest attack tried" },
  { label: "certificate", value: (r) => r.method, about: "method of the certificate" },
  { label: "n", number: true, best: true, value: (r) => r.n, show: (r) => count(r.n),
    about: "test images measured" },
  { label: "first image, s", number: true, value: (r) => r.first_seconds, title: costDetails,
    show: (r) => r.first_seconds.toFixed(1), small: (r) => r.cost_hardware,
    about: "time of the certificate for the first image after a model was loaded" },
  { label: "ms/image", number: true, value: (r) => r.milliseconds,
    show: (r) => milliseconds(r.milliseconds), title: costDetails, small: (r) => r.cost_hardware,
    about: "time of the certificate for each further image" },
  { label: "parameters", number: true, value: (r) => r.parameters, show: (r) => count(r.parameters) },
  { label: "MB", number: true, value: (r) => r.bytes, show: (r) => (r.bytes / 1e6).toFixed(r.bytes < 1e5 ? 2 : 1) },
  { label: "training, s", number: true, value: (r) => r.seconds,
    show: (r) => count(Math.round(r.seconds)), small: (r) => r.hardware },
  { label: "epochs", number: true, value: (r) => r.epochs, show: (r) => count(r.epochs) },
  { label: "deterministic", value: (r) => r.deterministic, paper: (p) => p.deterministic ? "yes" : "no",
    about: "the certificate holds for certain, not with some probability" },
  { label: "extra training data", value: (r) => r.extra_data },
  { label: "architecture", value: (r) => r.architecture },
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

// Only addresses of the web become links, whatever the data say.
function link(address, text, title) {
  return /^https?:\/\//.test(address ?? "") ? html("a", { href: address, title }, text) : text;
}

function button(text, attributes, act) {
  const element = html("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", () => act(element));
  return element;
}

// ---- The threat model, and the filters ----

const form = document.getElementById("filters");
const more = document.getElementById("more");
const unique = (values) => [...new Set(values)];
const field = (name) => form.elements[name];
let sorting = { column: null, direction: 1 };
let chosenLines = new Map(); // checkpoint → whether the reader wants its line

function epsOf(dataset, normName) {
  const texts = new Map(rows.filter((row) => row.dataset === dataset && row.norm === normName)
    .map((row) => [row.budget, row.eps]));
  return [...texts].sort(([a], [b]) => a - b).map(([, text]) => text);
}

const isAt = (entry, [dataset, normName, eps]) => entry.dataset === dataset && entry.norm === normName
  && entry.budget === rows.find((r) => r.eps === eps)?.budget;

// The number of checkpoints and of papers that have a result for a threat model.
function entries(threat) {
  return unique(rows.filter((row) => isAt(row, threat)).map((row) => row.model)).length
    + published.filter((result) => isAt(result, threat)).length;
}

// The threat model with the most results among those that agree with what is given.
function mostKnown(dataset, normName) {
  const threats = new Map(rows
    .filter((row) => [undefined, row.dataset].includes(dataset) && [undefined, row.norm].includes(normName))
    .map((row) => [`${row.dataset} ${row.norm} ${row.budget}`, [row.dataset, row.norm, row.eps]]));
  let best = null, most = 0;
  for (const threat of threats.values()) {
    const found = entries(threat);
    if (found > most) [best, most] = [threat, found];
  }
  return best;
}

function setOptions(name, values, chosen, show = (value) => value) {
  field(name).replaceChildren(...values.map((value) => html("option", { value }, show(value))));
  field(name).value = chosen;
}

// Choose a threat model; what does not exist is replaced by what has the most results.
function setThreat(dataset, normName, eps) {
  const datasets = unique(rows.map((row) => row.dataset)).sort();
  if (!datasets.includes(dataset)) [dataset, normName, eps] = mostKnown() ?? [];
  const norms = unique(rows.filter((row) => row.dataset === dataset).map((row) => row.norm)).sort();
  if (!norms.includes(normName)) [, normName, eps] = mostKnown(dataset) ?? [];
  const budgets = epsOf(dataset, normName);
  if (!budgets.includes(eps)) [, , eps] = mostKnown(dataset, normName) ?? [];
  setOptions("dataset", datasets, dataset);
  setOptions("norm", norms, normName, norm);
  setOptions("eps", budgets, eps);
  const before = field("approach").value;
  const approaches = unique(rows.filter((row) => row.dataset === dataset && row.norm === normName)
    .map((row) => row.approach)).sort();
  setOptions("approach", ["", ...approaches], approaches.includes(before) ? before : "",
    (value) => value || "all");
}

const threat = () => ["dataset", "norm", "eps"].map((name) => field(name).value);
const byCertified = (a, b) => b.certified - a.certified || a.model.localeCompare(b.model);

function searched(row) {
  const texts = [row.model, row.approach, row.architecture, row.paper, row.method, row.attack ?? "",
    row.hardware, row.notes];
  return texts.join(" ").toLowerCase();
}

// The rows of the threat model that match the filters, with their ranks. Unless every certificate is
// asked for, there is one row for each checkpoint.
function matching() {
  const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const seen = new Set();
  const found = rows.filter((row) => isAt(row, threat())).sort(byCertified)
    .filter((row) => field("methods").checked || !seen.has(row.model) && seen.add(row.model));
  const ranks = unique(found.map((row) => row.model));
  return found.map((row) => ({ ...row, rank: 1 + ranks.indexOf(row.model) }))
    .filter((row) => ["", row.approach].includes(field("approach").value)
      && words.every((word) => searched(row).includes(word)));
}

// What papers print for the threat model, each with a letter.
function ofPapers() {
  return published.filter((result) => isAt(result, threat()))
    .map((result, i) => ({ ...result, letter: String.fromCharCode(97 + i % 26) }));
}

// ---- The state in the address: a link shows the same view ----

function address() {
  const state = new URLSearchParams();
  for (const name of ["dataset", "norm", "eps", "approach", "search"]) {
    if (field(name).value) state.set(name, field(name).value);
  }
  if (field("methods").checked) state.set("methods", "all");
  if (sorting.column) {
    state.set("sort", `${sorting.direction < 0 ? "-" : ""}${sorting.column.label}`);
  }
  return `#${state}`;
}

function readAddress() {
  const state = new URLSearchParams(location.hash.slice(1));
  setThreat(...["dataset", "norm", "eps"].map((name) => state.get(name) ?? undefined));
  field("search").value = state.get("search") ?? "";
  field("methods").checked = state.get("methods") === "all";
  const approach = state.get("approach") ?? "";
  field("approach").value = [...field("approach").options].some((o) => o.value === approach) ? approach : "";
  const sort = state.get("sort") ?? "";
  const column = COLUMNS.find(({ label }) => [label, `-${label}`].includes(sort)) ?? null;
  sorting = { column, direction: sort.startsWith("-") ? -1 : 1 };
  more.open = matchMedia("(min-width: 50rem)").matches
    || ["approach", "search", "methods"].some((key) => state.has(key));
}

function changed() {
  history.replaceState(null, "", address());
  draw();
}

// ---- Table ----

const table = document.getElementById("results");

function drawHead() {
  const cells = COLUMNS.map((column) => {
    const head = button(column.label, { title: column.about }, () => {
      const direction = sorting.column === column ? -sorting.direction : column.best ? -1 : 1;
      sorting = { column, direction };
      changed();
    });
    return html("th", { scope: "col", class: [column.number && "number", column.name ?? column.label]
      .filter(Boolean).join(" ") }, head);
  });
  table.tHead.rows[0].append(...cells);
}

// Rows without a value come last in both directions; rows with equal values keep their order.
function compare(a, b) {
  const [left, right] = [sorting.column.value(a), sorting.column.value(b)];
  if (left === null || right === null) return (left === null) - (right === null);
  return sorting.direction * (sorting.column.number ? left - right : left.localeCompare(right));
}

function drawTable(visible, papers) {
  const order = sorting.column ? [...visible].sort(compare) : visible;
  COLUMNS.forEach((column, i) => {
    const direction = sorting.direction > 0 ? "ascending" : "descending";
    table.tHead.rows[0].cells[i].setAttribute("aria-sort",
      column === sorting.column ? direction : "none");
  });
  document.getElementById("measured").replaceChildren(...order.map((row) =>
    html("tr", {}, ...COLUMNS.map((column) => drawCell(column, row)))));
  document.getElementById("published").replaceChildren(...(papers.length ? [
    html("tr", { class: "apart" }, html("th", { colspan: COLUMNS.length, scope: "rowgroup" },
      html("span", {}, "Printed in papers, not measured here"))),
    ...papers.map((paper) => html("tr", {}, ...COLUMNS.map((column) => drawPaperCell(column, paper)))),
  ] : []));
  document.getElementById("no-results").hidden = visible.length > 0;
  const models = unique(visible.map((row) => row.model)).length;
  document.getElementById("count").textContent =
    `${models} of ${unique(rows.map((row) => row.model)).length} checkpoints`;
}

const classesOf = (column) => [column.number && "number", column.name ?? column.label]
  .filter(Boolean).join(" ");

function drawCell(column, row) {
  const value = column.value(row);
  const attributes = { class: classesOf(column), title: column.title?.(row) };
  const cell = column.label === "model" ? html("th", { scope: "row", ...attributes })
    : html("td", attributes);
  if (value !== null && column.draw) return put(cell, {}, column.draw(row));
  const small = value === null ? null : column.small?.(row);
  cell.append(value === null ? DASH : column.show ? column.show(row) : String(value));
  if (small) cell.append(html("small", {}, small));
  return cell;
}

function drawPaperCell(column, paper) {
  if (column.label === "model") {
    return html("th", { scope: "row", class: "model", title: paper.source },
      paper.name, html("small", {}, [paper.short_source, paper.caveat].filter(Boolean).join("; ")));
  }
  return html("td", { class: classesOf(column) }, column.paper ? column.paper(paper) : "");
}

function drawModel(row) {
  const links = [["card", row.card, "the model card"], ["recipe", row.recipe, "how it was trained"],
    ["paper", row.paper_address, row.paper], ["docs", row.docs, "the documentation of its approach"]];
  const load = `model = zoo.load("${row.model}")`;
  return [row.model, html("small", { class: "links" },
    ...links.filter(([, target]) => target).map(([text, target, title]) => link(target, text, title)),
    button("copy load line", { class: "load", title: load, "data-load": load }, (own) => copy(load, own)))];
}

function drawCertified(row) {
  const bar = html("span", { class: "bar", "aria-hidden": "true" });
  for (const [key, value] of [["low", row.certified_low], ["high", row.certified_high]]) {
    bar.style.setProperty(`--${key}`, percent(value));
  }
  return [percent(row.certified), html("small", {}, interval(row.certified_low, row.certified_high)), bar];
}

// ---- Copying and downloading ----

async function copy(text, own) {
  const before = own.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page that is not served securely has no clipboard
    const area = html("textarea", {}, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    own.focus();
  }
  own.textContent = "copied";
  setTimeout(() => { own.textContent = before; }, 1500);
}

const CSV = ["model", "approach", "dataset", "norm", "eps", "certified", "certified_low", "certified_high",
  "clean", "clean_low", "clean_high", "attacked", "attack", "attacked_n", "method", "n",
  "first_seconds", "milliseconds", "cost_hardware", "parameters", "bytes", "seconds", "epochs", "hardware", "deterministic", "extra_data",
  "architecture", "notes", "paper", "card", "recipe", "docs"];

function csv(measured, papers) {
  const asRow = (p) => ({ ...p, model: p.name, paper: p.source, notes: p.caveat,
    deterministic: p.deterministic ? "yes" : "no" });
  const quoted = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const line = (kind, row) => [kind, ...CSV.map((key) => quoted(String(row[key] ?? "")))].join(",");
  return [["origin", ...CSV].join(","), ...measured.map((row) => line("measured", row)),
    ...papers.map((paper) => line("paper", asRow(paper)))].map((text) => `${text}\r\n`).join("");
}

function download(name, text) {
  const target = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  html("a", { href: target, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(target), 10000);
}

// ---- Charts ----

const MARGIN = { left: 54, right: 14, top: 14, bottom: 44 };

// A chart is drawn as wide as its place, so that its text has the size of the page's text.
function sizeOf(place) {
  const width = Math.round(Math.min(760, Math.max(280, place.clientWidth - 26)));
  return { width, height: Math.round(Math.min(400, 0.55 * width + 90)) };
}

// A checkpoint has the same colour in all charts of its data set and norm, whatever the filters are.
function style(model) {
  const [dataset, normName] = threat();
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

function frame({ width, height }, label, xs, ys, xTitle, yTitle) {
  const bottom = height - MARGIN.bottom;
  const x = scale(xs.domain, [MARGIN.left, width - MARGIN.right]);
  const y = scale(ys.domain, [bottom, MARGIN.top]);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const { at, text } of ys.ticks) {
    root.append(
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(at), y2: y(at) }),
      svg("text", { x: MARGIN.left - 6, y: y(at) + 4, "text-anchor": "end" }, text));
  }
  for (const { at, text } of xs.ticks) {
    root.append(svg("line", { class: "axis", x1: x(at), x2: x(at), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: x(at), y: bottom + 18, "text-anchor": "middle" }, text));
  }
  root.append(
    svg("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom }),
    svg("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 6,
      "text-anchor": "middle" }, xTitle),
    svg("text", { x: 12, y: (MARGIN.top + bottom) / 2, "text-anchor": "middle",
      transform: `rotate(-90 12 ${(MARGIN.top + bottom) / 2})` }, yTitle));
  return { root, x, y };
}

// Round values from low to high, about as many as wanted; at least the ends of a short range are covered.
function ticks(low, high, wanted, show) {
  const raw = (high - low) / wanted;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) {
    found.push({ at: i * step, text: show(i * step, step) });
  }
  return found;
}

const asPercent = (at) => `${Number((100 * at).toFixed(1))}%`;

// An axis for accuracies: it covers them with some space around, so that close models can be told apart.
function accuracyAxis(values, wanted) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const space = Math.max(0.01, 0.08 * (high - low));
  const domain = [Math.max(0, low - space), Math.min(1, high + space)];
  return { domain, ticks: ticks(...domain, wanted, asPercent) };
}

function dot({ color, fill }, cx, cy, r, ...children) {
  return svg("circle", { cx, cy, r, fill, stroke: color, "stroke-width": 2 }, ...children);
}

function diamond(cx, cy, r, ...children) {
  return svg("path", { class: "diamond", d: `M${cx} ${cy - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z` },
    ...children);
}

function swatch(look) {
  return svg("svg", { viewBox: "0 0 32 14", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 32, y1: 7, y2: 7, stroke: look.color, "stroke-width": 2.5,
      "stroke-dasharray": look.dash }));
}

// ---- Curves ----

// The certified accuracy at any budget: that at the next larger budget that is known. Beyond the radii it
// is 0; where only few budgets were measured, nothing is known beyond the last one.
function accuracyAt(curve, budget) {
  const known = curve.budgets ?? curve.points.map((point) => point.budget);
  const place = known.findIndex((one) => one >= budget);
  if (place < 0) return curve.budgets ? 0 : null;
  return curve.budgets ? curve.certified[place] / curve.n : curve.points[place].accuracy;
}

const corners = (curve) => curve.budgets
  ? curve.budgets.map((budget, i) => [budget, curve.certified[i] / curve.n])
  : curve.points.map((point) => [point.budget, point.accuracy]);

function drawCurves(visible, papers) {
  const place = document.getElementById("curves");
  const [dataset, normName, eps] = threat();
  const models = unique([...visible].sort(byCertified).map((row) => row.model));
  const group = models.flatMap((model) => curves.filter((curve) => curve.model === model
    && curve.dataset === dataset && curve.norm === normName));
  if (!group.length) return place.replaceChildren(nothing());
  const isShown = (curve) => chosenLines.get(curve.model) ?? models.indexOf(curve.model) < MOST_LINES;
  const shown = group.filter(isShown);
  const budget = rows.find((row) => isAt(row, threat())).budget;
  const others = published.filter((p) => p.dataset === dataset && p.norm === normName
    && !papers.some((paper) => paper.name === p.name && paper.budget === p.budget));
  const far = shown.flatMap((curve) => corners(curve).filter(([, accuracy]) => accuracy >= 0.01)
    .map(([at]) => at));
  const reach = 1.04 * Math.max(budget, ...far);
  const size = sizeOf(place);
  const xs = { domain: [0, reach], ticks: ticks(0, reach, size.width / 90,
    (at, step) => Number(at.toFixed(Math.max(0, -Math.floor(Math.log10(step))))).toString()) };
  const ys = { domain: [0, 1], ticks: ticks(0, 1, 5, asPercent) };
  const title = `${dataset}, ${norm(normName)}`;
  const { root, x, y } = frame(size, `Certified accuracy on ${title} by budget; the table has the numbers`,
    xs, ys, `budget eps, ${norm(normName)}`, "certified, at least");
  const line = svg("line", { class: "probe", y1: MARGIN.top, y2: size.height - MARGIN.bottom });
  root.append(line);
  for (const curve of shown) drawCurve(root, x, y, curve, reach);
  for (const paper of [...papers, ...others].filter((p) => p.budget <= reach)) {
    root.append(diamond(x(paper.budget), y(paper.certified), 4.5, svg("title", {},
      `${paper.name}: ${percent(paper.certified)} at eps ${paper.eps}; ${paper.short_source}`)));
  }

  // The legend has the accuracies at one budget: the chosen one, or that under the pointer.
  const values = new Map();
  const legend = html("ul", { class: "legend" }, ...group.map((curve) => {
    const value = html("span", { class: "value" });
    values.set(curve, value);
    const toggle = html("button", { type: "button", "aria-pressed": isShown(curve), "data-model": curve.model,
      title: `${legendDetail(curve)}; click to ${isShown(curve) ? "hide" : "show"} its line` },
    swatch(style(curve.model)), html("span", {}, curve.model), value);
    toggle.addEventListener("click", () => {
      chosenLines.set(curve.model, !isShown(curve));
      drawCurves(visible, papers);
      document.querySelector(`#curves [data-model="${CSS.escape(curve.model)}"][aria-pressed]`).focus();
    });
    return html("li", {}, toggle);
  }));
  const probed = html("p", { class: "probed" });
  const probe = (at, text) => {
    put(line, { x1: x(at), x2: x(at) }, []);
    probed.textContent = `Certified at eps ${text}:`;
    for (const [curve, value] of values) {
      const accuracy = accuracyAt(curve, at);
      value.textContent = accuracy === null ? DASH : percent(accuracy);
    }
  };
  probe(budget, eps);
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width * size.width;
    const at = (across - MARGIN.left) / (size.width - MARGIN.left - MARGIN.right) * reach;
    if (at >= 0 && at <= reach) probe(at, at.toPrecision(3));
  });
  root.addEventListener("pointerleave", () => probe(budget, eps));
  const figure = html("figure", {}, html("figcaption", {}, title), root, probed, legend);
  if (shown.length < group.length) {
    figure.append(button(`Show all ${group.length} lines`, { class: "all" }, () => {
      chosenLines = new Map(models.map((model) => [model, true]));
      drawCurves(visible, papers);
    }));
  }
  return place.replaceChildren(figure);
}

function legendDetail(curve) {
  const methods = unique(curve.points.map((point) => point.method)).join(", ");
  return `${methods}, ${curve.budgets ? "from the radii of" : `at ${curve.points.length} budgets, on`} ${
    count(curve.n)} images`;
}

// A falling step function: between two budgets it has the value of the right one.
function drawCurve(root, x, y, curve, reach) {
  const look = style(curve.model);
  const all = corners(curve);
  const inside = all.filter(([budget]) => budget <= reach);
  if (inside.length < all.length) inside.push([reach, all[inside.length][1]]);
  const steps = inside.map(([budget, accuracy]) => `V${y(accuracy).toFixed(2)}H${x(budget).toFixed(2)}`);
  const start = curve.clean ?? all[0][1];
  root.append(svg("path", { class: "curve", d: `M${x(0)} ${y(start)}${steps.join("")}`,
    stroke: look.color, "stroke-dasharray": look.dash, "data-model": curve.model },
  svg("title", {}, curve.model)));
  for (const point of curve.budgets ? [] : curve.points.filter((p) => p.budget <= reach)) {
    const text = `${curve.model}: ${percent(point.accuracy)} certified at eps ${point.eps}, ${point.method}`;
    root.append(dot(look, x(point.budget), y(point.accuracy), 3, svg("title", {}, text)));
  }
  if (curve.clean !== null) {
    root.append(svg("circle", { class: "clean", cx: x(0), cy: y(curve.clean), r: 4, stroke: look.color },
      svg("title", {}, `${curve.model}: ${percent(curve.clean)} clean`)));
  }
}

// ---- Scatter ----

function drawScatter(visible, papers) {
  const place = document.getElementById("scatter");
  const best = unique(visible.map((row) => row.model)).map((model) =>
    visible.filter((row) => row.model === model).sort(byCertified)[0]);
  if (!best.length) return place.replaceChildren(nothing());
  const [dataset, normName, eps] = threat();
  const drawn = papers.filter((paper) => paper.clean !== null);
  const size = sizeOf(place);
  const xs = accuracyAxis([...best.flatMap((row) => [row.clean_low, row.clean_high]),
    ...drawn.map((paper) => paper.clean)], size.width / 80);
  const ys = accuracyAxis([...best.flatMap((row) => [row.certified_low, row.certified_high]),
    ...drawn.map((paper) => paper.certified)], 6);
  const title = `${dataset}, ${norm(normName)}, eps ${eps}`;
  const { root, x, y } = frame(size, `Clean against certified accuracy, ${title}; the table has the numbers`,
    xs, ys, "clean accuracy", "certified, at least");
  const [from, to] = [Math.max(xs.domain[0], ys.domain[0]), Math.min(xs.domain[1], ys.domain[1])];
  if (from < to) {
    root.append(svg("line", { class: "diagonal", x1: x(from), x2: x(to), y1: y(from), y2: y(to) }));
  }
  for (const paper of drawn) {
    root.append(diamond(x(paper.clean), y(paper.certified), 8, svg("title", {},
      `${paper.name}: ${percent(paper.clean)} clean, ${percent(paper.certified)} certified; ${paper.short_source}`)),
    svg("text", { class: "mark", x: x(paper.clean), y: y(paper.certified) + 3.5 }, paper.letter));
  }
  for (const row of best) {
    const [cx, cy] = [x(row.clean), y(row.certified)];
    const { color } = style(row.model);
    const text = `${row.model}: ${percent(row.clean)} clean, ${percent(row.certified)} certified, ${row.method}`;
    root.append(
      svg("path", { class: "whisker", stroke: color, d: `M${x(row.clean_low)} ${cy}H${x(row.clean_high)}`
        + `M${cx} ${y(row.certified_low)}V${y(row.certified_high)}` }),
      svg("circle", { class: "point", cx, cy, r: 8.5, stroke: color, "data-model": row.model },
        svg("title", {}, text)),
      svg("text", { class: "mark", x: cx, y: cy + 3.5 }, row.rank));
  }
  const marks = [...best.map((row) => [row.rank, row.model]),
    ...drawn.map((paper) => [paper.letter, `${paper.name}, ${paper.short_source}`])];
  const figure = html("figure", {}, html("figcaption", {}, title), root, html("ul", { class: "marks" },
    ...marks.map(([mark, text]) => html("li", {}, html("b", {}, String(mark)), html("span", {}, text)))));
  const missing = papers.filter((paper) => paper.clean === null);
  if (missing.length) {
    figure.append(html("p", { class: "probed" }, "Not drawn, because no clean accuracy is printed: ",
      missing.map((paper) => `${paper.name} (${percent(paper.certified)})`).join(", "), "."));
  }
  return place.replaceChildren(figure);
}

// ---- The page ----

const nothing = () => html("p", { class: "empty" }, "No checkpoint matches these filters.");

function drawHeadline(visible, papers) {
  const best = [...visible].sort(byCertified)[0];
  const printed = papers.find((paper) => paper.deterministic); // the first is the highest
  const [dataset, normName, eps] = threat();
  const parts = best ? [html("b", {}, percent(best.certified)),
    html("span", {}, "certified by ", html("strong", {}, best.model),
      ` on ${dataset} at ${norm(normName)} eps ${eps}`,
      printed ? `; best printed in a paper: ${percent(printed.certified)} (${printed.short_source})` : "")] : [];
  document.getElementById("headline").replaceChildren(...parts);
}

function draw() {
  const [visible, papers] = [matching(), ofPapers()];
  drawHeadline(visible, papers);
  drawTable(visible, papers);
  drawCurves(visible, papers);
  drawScatter(visible, papers);
}

function filtered(event) {
  if (["dataset", "norm", "eps"].includes(event.target.name)) {
    setThreat(...threat());
    chosenLines = new Map();
  }
  changed();
}

drawHead();
readAddress();
form.addEventListener("input", filtered); // while typing
form.addEventListener("change", filtered); // not everything that sets a selector also says "input"
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => { // the fields are emptied after this event
  sorting = { column: null, direction: 1 };
  chosenLines = new Map();
  setThreat();
  changed();
}));
addEventListener("hashchange", () => {
  readAddress();
  chosenLines = new Map();
  draw();
});
document.getElementById("csv").addEventListener("click", () =>
  download(`certified-zoo ${threat().join(" ").replaceAll("/", "-")}.csv`, csv(matching(), ofPapers())));
document.getElementById("csv-all").addEventListener("click", () =>
  download("certified-zoo.csv", csv(rows, published)));
document.getElementById("link").addEventListener("click", (event) =>
  copy(`${location.href.split("#")[0]}${address()}`, event.currentTarget));
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) draw(); // a phone's bars change the height alone while it scrolls
  width = innerWidth;
});
draw();
