// Draws the diagrams from the data block of the page; report_lanes.js, in the same script, draws the lanes. Plotly
// reads a little HTML in names and labels, so text that comes from the test passes `plain` first.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;

const FAULTS = { kill: "#d6458b", stop: "#8a8f99", "429": "#d99a1c", "5xx": "#c8642b", slow: "#8fa832", cut: "#9a6fd0" };
const OTHER_FAULT = "#8a8f99";
const PROCESSES = ["#3f7fd6", "#1c9a83", "#8a6fd8", "#b98a1f", "#3fa3bd", "#5d9e3c"];
const CLASSES = ["#3f7fd6", "#d6732b", "#1c9a83", "#8a6fd8", "#b98a1f", "#d6458b"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const STRIP_PX = 20;
const FROM_ZERO = { rangemode: "tozero", nticks: 5 };
const CONFIG = { responsive: true, displayModeBar: false, scrollZoom: false };

const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const short = (text, most) => plain(text.length > most ? `${text.slice(0, most - 1)}…` : text);
const ending = (text, most) => plain(text.length > most ? `…${text.slice(1 - most)}` : text);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const seconds = (at) => `${at.toFixed(3)} s`;
const lasting = (ms) => (ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`);
const faultColor = (kind) => FAULTS[kind] ?? OTHER_FAULT;

const kinds = [...new Set(data.faults.map((fault) => fault.kind))];

/** The layout of all diagrams in the current colour scheme; as paths, so that Plotly.relayout accepts it, too. */
function theme(axes) {
  const paths = {
    "font.color": color("ink"),
    "hoverlabel.bgcolor": color("card"),
    "hoverlabel.bordercolor": color("quiet"),
    "hoverlabel.font.color": color("ink"),
  };
  for (const axis of axes) paths[`${axis}.gridcolor`] = color("line");
  return paths;
}

const themed = [];

function draw(id, traces, layout) {
  const plot = document.getElementById(id);
  const axes = Object.keys(layout).filter((key) => /^[xy]axis/.test(key) && layout[key].showgrid !== false);
  const common = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5 },
    dragmode: touch ? false : "zoom", // a finger scrolls the page
    hoverlabel: { align: "left", namelength: -1, font: { size: 12.5 } },
  };
  plot.style.height = `${layout.height}px`; // a resize drops the height of the layout, but not that of the element
  Plotly.newPlot(plot, traces, { ...common, ...layout }, CONFIG);
  Plotly.relayout(plot, theme(axes));
  themed.push([plot, axes]);
  return plot;
}

function none(id, text) {
  const plot = document.getElementById(id);
  plot.textContent = text;
  plot.classList.add("none");
}

/** The faults across a diagram, from `below` to `above` on its y axis. */
function bands(yref, below, above) {
  return data.faults.map((fault) => ({
    type: "rect", layer: "below", xref: "x", yref,
    x0: fault.from, x1: fault.to, y0: below, y1: above,
    fillcolor: faultColor(fault.kind), opacity: 0.2, line: { width: 1, color: faultColor(fault.kind) },
  }));
}

/** The faults as bars, one row per kind, the first at `top`. */
function strips(yaxis, top) {
  return kinds.map((kind, row) => {
    const faults = data.faults.filter((fault) => fault.kind === kind);
    return {
      type: "bar", orientation: "h", yaxis, showlegend: false, width: 0.7,
      base: faults.map((fault) => fault.from),
      x: faults.map((fault) => fault.to - fault.from),
      y: faults.map(() => top + row),
      text: faults.map((fault) => `${plain(kind)}: ${seconds(fault.from)} to ${seconds(fault.to)}`),
      textposition: "none", hovertemplate: "%{text}<extra></extra>",
      marker: { color: faultColor(kind), line: { width: 2, color: faultColor(kind) } },
    };
  });
}

function drawTime() {
  const { at, sent, handled, backlog, p99, active } = data.series;
  if (at.length === 0) return none("time", "No samples were taken.");
  const strip = kinds.length * STRIP_PX;
  const height = 3 * 150 + strip;
  const part = (from, to) => [(from * 150) / height, (to * 150) / height];
  const line = (name, y, yaxis, colour, more = {}) => ({
    type: "scatter", mode: at.length > 1 ? "lines" : "markers", name, x: at, y, yaxis, yhoverformat: ",.0f", line: { color: colour, width: 2 }, ...more,
  });
  const traces = [
    line("sent per second", sent, "y3", "#8a8f99", { line: { color: "#8a8f99", width: 1.5, dash: "dot" } }),
    line("handled per second", handled, "y3", "#1c9a83"),
    line("backlog: sent, not handled yet", backlog, "y2", "#d6732b", { fill: "tozeroy", fillcolor: "rgba(214,115,43,.18)" }),
    line("running handlers", active, "y2", "#8a6fd8", { visible: "legendonly" }),
    line("p99 waiting time, ms", p99.map((ms) => (ms > 0 ? ms : null)), "y", "#3f7fd6"),
    ...strips("y4", 0),
  ];
  const axis = (title, domain, more = {}) => ({
    title: { text: title, standoff: 6 }, domain, fixedrange: true, automargin: true, zeroline: false, ...more,
  });
  const layout = {
    height: height + 110,
    margin: { l: 64, r: 12, t: 8, b: 44 },
    barmode: "overlay", hovermode: "x unified", hoversubplots: "axis",
    legend: { orientation: "h", y: 1.01, yanchor: "bottom", x: 0 },
    shapes: bands("paper", 0, 1),
    xaxis: { title: { text: "seconds since the test began" }, range: [0, data.end], minallowed: 0, maxallowed: data.end, zeroline: false, anchor: "y", unifiedhovertitle: { text: "%{x:.1f} s" } },
    yaxis: axis("p99 (ms)", part(0.03, 0.9), { type: "log", dtick: 1 }),
    yaxis2: axis("backlog", part(1.07, 1.93), FROM_ZERO),
    yaxis3: axis("per second", part(2.07, 2.95), FROM_ZERO),
    yaxis4: {
      domain: [450 / height, 1], range: [kinds.length - 0.4, -0.6], fixedrange: true, showgrid: false,
      zeroline: false, tickvals: kinds.map((_, row) => row), ticktext: kinds.map((kind) => short(kind, 10)),
    },
  };
  if (kinds.length === 0) delete layout.yaxis4;
  const plot = draw("time", traces, layout);
  plot.on("plotly_click", (event) => showMoment(event.points[0].x));
}

function drawLatency() {
  if (data.classes.length === 0) return none("latency", "Nothing was handled.");
  const top = Math.max(1, ...data.classes.map((each) => each.nines.at(-1)));
  const ticks = [Math.log10(2), ...Array.from({ length: Math.floor(top) }, (_, nine) => nine + 1)];
  const share = (nines) => 100 * (1 - 10 ** -nines);
  const percent = (nines) => `${share(nines).toFixed(nines > 2.01 ? Math.min(Math.ceil(nines) - 2, 6) : 0)} %`;
  const traces = data.classes.map((each, place) => ({
    type: "scatter", mode: "lines", name: short(each.name, 60), x: each.nines, y: each.ms,
    line: { color: CLASSES[place % CLASSES.length], width: 2.5, dash: DASHES[Math.floor(place / CLASSES.length) % DASHES.length], shape: "hv" },
    text: each.nines.map((nines, step) => `${percent(nines)} within ${lasting(each.ms[step])}`),
    hovertemplate: "%{text}",
  }));
  const all = data.classes.flatMap((each) => each.ms);
  const steps = Math.max(...all) / Math.min(...all) < 1000 ? [1, 2, 5] : [1];
  const values = Array.from({ length: 10 }, (_, decade) => steps.map((step) => step * 10 ** decade / 100)).flat();
  draw("latency", traces, {
    height: 360,
    margin: { l: 64, r: 20, t: 8, b: 44 },
    hovermode: "closest",
    showlegend: true,
    legend: { orientation: "h", y: 1.01, yanchor: "bottom", x: 0 },
    xaxis: { title: { text: "share of the updates" }, tickvals: ticks, ticktext: ticks.map(percent), tickangle: 0, range: [0, top * 1.02], zeroline: false },
    yaxis: { title: { text: "handled within" }, type: "log", zeroline: false, tickvals: values, ticktext: values.map((ms) => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`)), automargin: true },
  });
}
