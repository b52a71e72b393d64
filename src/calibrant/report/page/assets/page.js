"use strict";
const report = JSON.parse(document.getElementById("report").textContent);
const dialog = document.getElementById("details");

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function decibels(value) { return value === null || value === undefined ? "–" : value.toFixed(1) + " dB"; }
function number(value) { return value === null || value === undefined ? "–" : Number(value.toPrecision(4)).toString(); }
function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

// Tables

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", other === head ? order : "none"));
    const rows = [...table.tBodies[0].rows];
    const values = new Map(rows.map(row => [row, row.cells[column].dataset.value]));
    const numeric = rows.every(row => values.get(row) === "" || !isNaN(values.get(row)));
    rows.sort((a, b) => {
      const [x, y] = [values.get(a), values.get(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const compared = numeric ? x - y : x.localeCompare(y);
      return order === "ascending" ? compared : -compared;
    });
    table.tBodies[0].append(...rows);
  }));
}

const filter = document.getElementById("filter"), shown = document.getElementById("count");
function applyFilter() {
  const rows = [...document.querySelectorAll("#layer-table tbody tr")];
  const wanted = filter.value.toLowerCase();
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  shown.textContent = wanted ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
}
if (filter) filter.addEventListener("input", applyFilter);

// Suggestions

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const text = button.previousElementSibling.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", text);
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// Picture

const picture = document.getElementById("picture");
if (picture) {
  const whole = picture.dataset.view.split(" ").map(Number);
  let view = [...whole];
  const show = () => picture.setAttribute("viewBox", view.join(" "));
  const zoom = (factor, x, y) => {
    const [left, top, width, height] = view;
    view = [x - (x - left) * factor, y - (y - top) * factor, width * factor, height * factor];
    show();
  };
  const pixels = () => Math.max(view[2] / picture.clientWidth, view[3] / picture.clientHeight);
  const start = () => {
    view = [whole[0], whole[1], whole[2], whole[3]];
    if (pixels() > 1.6) view = [-picture.clientWidth * 0.65, whole[1], picture.clientWidth * 1.3, picture.clientHeight * 1.3];
    show();
  };
  const place = event => {
    const matrix = picture.getScreenCTM().inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    return [point.x, point.y];
  };
  picture.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, ...place(event));
  }, { passive: false });
  let held = null, moved = 0;
  picture.addEventListener("pointerdown", event => { held = [event.clientX, event.clientY, ...view]; moved = 0; });
  addEventListener("pointermove", event => {
    if (!held) return;
    const [x, y, left, top] = held, scale = pixels();
    moved = Math.max(moved, Math.abs(event.clientX - x) + Math.abs(event.clientY - y));
    view = [left - (event.clientX - x) * scale, top - (event.clientY - y) * scale, view[2], view[3]];
    show();
  });
  addEventListener("pointerup", () => { held = null; });
  picture.addEventListener("click", event => { if (moved > 4) event.stopPropagation(); }, true);
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => {
    const [left, top, width, height] = view;
    if (button.dataset.zoom === "all") { view = [...whole]; show(); return; }
    zoom(button.dataset.zoom === "in" ? 1 / 1.4 : 1.4, left + width / 2, top + height / 2);
  });
  picture.addEventListener("keydown", event => {
    if ((event.key === "Enter" || event.key === " ") && event.target.dataset.layer) {
      event.preventDefault();
      details(event.target.dataset.layer);
    }
  });
  start();
}

// Plots

const plots = [];
function plot(parent, options, data) {
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, size: 56 };
  const axes = (options.axes || [{}, {}]).map(own => ({ ...axis, ...own }));
  const chart = new uPlot({ width: Math.max(parent.clientWidth, 260), height: 220, ...options, axes }, data, parent);
  plots.push({ chart, parent });
}
addEventListener("resize", () => {
  for (const { chart, parent } of plots)
    if (parent.isConnected && parent.clientWidth) chart.setSize({ width: parent.clientWidth, height: 220 });
});

function figure(parent, caption) {
  const made = element("figure"), space = element("div", undefined, { class: "plot", role: "img", "aria-label": caption });
  made.append(space, element("figcaption", caption));
  parent.append(made);
  return space;
}

const log = values => values.map(value => value > 0 ? value : null);
const power = (chart, ticks) => ticks.map(value => value === null ? "" : Number(value.toPrecision(3)).toExponential(0));

function vertical(positions) {
  return { hooks: { draw: [chart => {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.strokeStyle = color("--link");
    ctx.setLineDash([5, 4]);
    ctx.lineWidth = 2;
    for (const value of positions) {
      const x = Math.round(chart.valToPos(value, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }] } };
}

function activationPlots(parent, entry, row) {
  const counts = row.histogram.counts;
  const x = counts.map((_, place) => row.histogram.start + (place + 0.5) * row.histogram.step);
  const clipped = row.clipped > 0 ? `, ${number(100 * row.clipped)} % of them clipped` : "";
  const caption = `Values of ${row.tensor} (${row.values.toLocaleString("en")} values from ${number(row.minimum)} to ` +
    `${number(row.maximum)}${clipped}); dashed: the clipping range, one code every ${number(entry.scale)}`;
  const search = row.search;
  const spaces = [figure(parent, caption), figure(parent, `The search: signal-to-noise ratio against the clipping range ` +
    `as a multiple of the extremes; dashed: chosen, ${decibels(search.chosen_db)}`)];
  plot(spaces[0], {
    scales: { x: { time: false }, y: { distr: 3 } }, legend: { show: false }, axes: [{}, { values: power }],
    series: [{}, { stroke: color("--soft"), fill: color("--d4"), paths: uPlot.paths.bars({ size: [1, Infinity] }), points: { show: false } }],
    plugins: [vertical([entry.low, entry.high])],
  }, [x, log(counts)]);
  plot(spaces[1], {
    scales: { x: { time: false, distr: 3, log: 2 } }, legend: { show: false },
    series: [{}, { stroke: color("--link"), width: 2, points: { show: false } }],
    axes: [{ values: (chart, ticks) => ticks.map(value => value === null ? "" : number(value)) }, {}],
    plugins: [vertical(search.chosen_ratio ? [search.chosen_ratio] : [])],
  }, [search.ratios, search.signal_to_noise_db]);
}

function weightPlots(parent, row) {
  const codes = row.codes_by_eights.map((_, place) => -124 + 8 * place);
  const some = row.shown_channels.length < row.channels ? `${row.shown_channels.length} of ${row.channels} channels` : `${row.channels} channels`;
  const spaces = [figure(parent, "Weights: how often codes occur, in groups of eight"), figure(parent,
    `Weights by channel (${some}, in order of magnitude): smallest and largest, and what the scale reaches`)];
  plot(spaces[0], {
    scales: { x: { time: false }, y: { distr: 3 } }, legend: { show: false }, axes: [{}, { values: power }],
    series: [{}, { stroke: color("--soft"), fill: color("--d3"), paths: uPlot.paths.bars({ size: [1, Infinity] }), points: { show: false } }],
  }, [codes, log(row.codes_by_eights)]);
  const place = row.shown_channels.map((_, index) => index);
  const data = [place, row.minimum, row.maximum];
  const series = [{ label: "channel" }, { label: "smallest", stroke: color("--soft"), width: 1 }, { label: "largest", stroke: color("--link"), width: 1 }];
  if (row.scale) {
    data.push(row.scale.map(value => 127 * value));
    series.push({ label: "127 · scale", stroke: "#d26a1a", dash: [4, 3], width: 1.5 });
  }
  plot(spaces[1], {
    scales: { x: { time: false } }, series,
  }, data);
}

// Details

function factTable(pairs) {
  const list = element("dl", undefined, { class: "facts" });
  for (const [label, value] of pairs) {
    const box = element("div");
    box.append(element("dt", label), element("dd", value));
    list.append(box);
  }
  return list;
}

function details(name) {
  const row = report.layers.find(entry => entry.layer === name);
  const left = report.left_in_float.find(entry => entry.layer === name);
  dialog.replaceChildren(element("h2", name, { id: "details-title" }));
  const close = element("button", "Close", { type: "button", class: "close" });
  close.addEventListener("click", () => dialog.close());
  dialog.append(close);
  const found = report.findings.filter(entry => entry.layer === name);
  for (const entry of found) dialog.append(element("p", `${entry.what} ${entry.advice}`));
  if (left) dialog.append(element("p", `${left.type}, left in float: ${left.reason}`));
  if (!dialog.open) dialog.showModal();
  if (!row) return;
  const weights = report.distributions.weights.find(entry => entry.layer === name);
  for (const input of row.inputs) {
    const key = row.type === "tensor" ? row.layer : `${row.layer}:${input.index}`;
    const seen = report.distributions.activations.find(entry => entry.read_by.includes(key));
    const growth = report.error_growth.inputs.find(entry => `${entry.layer}:${entry.index}` === key);
    dialog.append(element("h3", `Input ${input.index}: ${input.tensor}`), factTable([
      ["Scale", number(input.scale)], ["Offset", String(input.offset)],
      ["Range", `${number(input.low)} … ${number(input.high)}`], ["Bits", String(input.bits)],
      ["Rounding alone", decibels(input.signal_to_noise_db)], ["Codes in use (99.9 %)", String(input.codes_in_use ?? "–")],
      ...(growth ? [["Mean channel", decibels(growth.own_db)], ["Arriving", decibels(growth.arriving_db)]] : []),
      ...(input.joint_group ? [["Joint group", input.joint_group]] : []),
      ...(seen && seen.read_by.length > 1 ? [["Shared by", seen.read_by.join(", ")]] : []),
    ]));
    const space = element("div", undefined, { class: "plots" });
    dialog.append(space);
    if (seen) activationPlots(space, input, seen);
  }
  if (row.weights) {
    dialog.append(element("h3", "Weights"), factTable([
      ["Bits", String(row.weights.bits)], ["Scales", String(row.weights.scales)],
      ["Smallest scale", number(row.weights.smallest_scale)], ["Largest scale", number(row.weights.largest_scale)],
      ["Rounding", decibels(row.weights.signal_to_noise_db)],
      ...(row.bias ? [["Bias", `${row.bias.channels} channels`]] : []),
    ]));
    const space = element("div", undefined, { class: "plots" });
    dialog.append(space);
    if (weights) weightPlots(space, weights);
  }
  if (row.settings_from && Object.keys(row.settings_from).length)
    dialog.append(element("h3", "Where the settings come from"), factTable(Object.entries(row.settings_from)));
  dialog.scrollTop = 0;
}
document.addEventListener("click", event => {
  const target = event.target.closest("[data-layer]");
  if (target) details(target.dataset.layer);
});

// How the error grows

function growthPlot() {
  const space = document.getElementById("growth-plot");
  if (!space) return;
  space.replaceChildren();
  const rows = report.error_growth.inputs;
  if (!rows.length) return;
  const x = rows.map((_, place) => place);
  plot(space, {
    height: 260, scales: { x: { time: false } },
    axes: [{ values: (chart, ticks) => ticks.map(value => Number.isInteger(value) ? value + 1 : "") }, { label: "dB", labelSize: 20 }],
    series: [{ label: "layer", value: (chart, value) => value === null ? "–" : rows[value].layer },
      { label: "arriving", stroke: color("--link"), width: 2, value: (chart, value) => decibels(value) },
      { label: "rounded here", stroke: "#d26a1a", width: 1, value: (chart, value) => decibels(value) }],
  }, [x, rows.map(row => row.arriving_db), rows.map(row => row.own_db)]);
}
growthPlot();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", growthPlot);
