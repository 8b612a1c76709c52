// Draws the lanes, one bar per handling; continues report.js. At most some thousands of bars are drawn: those in the
// visible window, and those with invisible gaps between them as one.

const ROW_PX = 27;
const BAR = 0.6; // of a row
const MERGED_PX = 6;
const GAP_PX = 3;

const processes = [...new Set(data.lanes.flatMap((lane) => lane.process))].sort((a, b) => a - b);
const OUTCOMES = { end: "returned", fail: "raised an error", cut: "cut off by a kill" };
let lanesPlot = null;

/** The kinds of bars: which handlings, and their style. */
function looks() {
  const hatched = (shape, ink) => ({ color: color("card"), line: { width: 1, color: ink }, pattern: { shape, fgcolor: ink, bgcolor: color("card"), size: 5, solidity: 0.4 } });
  return [
    ...processes.map((process, place) => ({
      id: process, name: `process ${process}`, showlegend: place < PROCESSES.length, offset: 0, height: BAR,
      marker: { color: PROCESSES[place % PROCESSES.length] },
    })),
    { id: "cut", name: "cut off by a kill", offset: 0, height: BAR, marker: hatched("/", color("quiet")) },
    { id: "fail", name: "raised an error", offset: 0, height: BAR, marker: hatched("x", color("alarm")) },
    { id: "overlap", name: "OVERLAP", offset: 0.3, height: 0.4, marker: { color: color("alarm"), line: { width: 1, color: color("ink") } } },
  ];
}

const overlaps = data.lanes.map((lane) => new Set(lane.overlapping));

function lookOf(lane, row, place) {
  if (overlaps[row].has(place)) return "overlap";
  return lane.outcome[place] === "end" ? lane.process[place] : lane.outcome[place];
}

/** The bars between two moments; those too close together are merged. Returns a Map from kind to bars. */
function runs(from, to, pixel) {
  const found = new Map();
  data.lanes.forEach((lane, row) => {
    const last = new Map();
    for (let place = 0; place < lane.id.length; place += 1) {
      const [begin, end] = [lane.begin[place], lane.end[place]];
      if (end < from || begin > to) continue;
      const look = lookOf(lane, row, place);
      const run = last.get(look);
      if (run && begin - run.end < GAP_PX * pixel && end - run.begin < MERGED_PX * pixel) {
        run.end = Math.max(end, run.end);
        run.count += 1;
        continue;
      }
      const next = { row, place, begin, end, count: 1 };
      last.set(look, next);
      if (!found.has(look)) found.set(look, []);
      found.get(look).push(next);
    }
  });
  return found;
}

function hoverText({ row, place, begin, end, count }) {
  const lane = data.lanes[row];
  const where = `<b>${short(lane.key, 60)}</b><br>`;
  const when = `${seconds(begin)} to ${seconds(end)} (${lasting((end - begin) * 1000)})`;
  if (count > 1) return `${where}${count} handlings, zoom in to separate them<br>${when}`;
  const outcome = OUTCOMES[lane.outcome[place]] ?? lane.outcome[place];
  const overlap = overlaps[row].has(place) ? "<br><b>began before an earlier one of this chat had ended</b>" : "";
  return `${where}update ${lane.id[place]}, process ${lane.process[place]}, ${plain(outcome)}<br>${when}${overlap}`;
}

function ticks(from, to, pixel) {
  const found = { x: [], y: [], text: [] };
  data.lanes.forEach((lane, row) => {
    let before = -Infinity;
    for (const at of lane.sent) {
      if (at < from || at > to || at - before < GAP_PX * pixel) continue;
      before = at;
      found.x.push(at);
      found.y.push(row + 0.42);
      found.text.push(`sent at ${seconds(at)}`);
    }
  });
  return found;
}

function laneTraces([from, to]) {
  const width = lanesPlot?._fullLayout?.xaxis?._length ?? document.getElementById("lanes").clientWidth - 110;
  const pixel = (to - from) / Math.max(width, 100);
  const margin = (to - from) / 2; // drawn beyond the edges, for dragging
  const found = runs(from - margin, to + margin, pixel);
  const bars = looks().filter(({ id }) => found.has(id)).map(({ id, offset, height, marker, ...look }) => {
    const mine = found.get(id);
    const isProcess = typeof id === "number";
    return {
      type: "bar", orientation: "h", width: height, ...look, ...(isProcess && { legendrank: id }),
      base: mine.map((run) => run.begin),
      x: mine.map((run) => Math.max(run.end - run.begin, pixel)),
      y: mine.map((run) => run.row + offset),
      text: mine.map(hoverText), textposition: "none", hovertemplate: "%{text}<extra></extra>",
      marker: isProcess ? { ...marker, opacity: mine.map((run) => (run.count === 1 && run.place % 2 ? 0.6 : 1)) } : marker,
    };
  });
  const sent = {
    type: "scatter", mode: "markers", name: "update sent", ...ticks(from - margin, to + margin, pixel),
    marker: { symbol: "line-ns-open", size: 5, color: color("quiet"), line: { width: 1 } }, hovertemplate: "%{text}<extra></extra>",
  };
  return [...bars, sent, ...strips("y", -kinds.length)];
}

function drawLanes() {
  if (processes.length === 0) return none("lanes", "No handling was recorded.");
  const labels = data.lanes.map((lane, row) => ending(lane.key, innerWidth < 640 ? 13 : 24) + (overlaps[row].size ? " ⚠" : ""));
  const first = data.jumps[0];
  const layout = {
    height: (data.lanes.length * ROW_PX) + (kinds.length * STRIP_PX) + 110,
    margin: { l: 60, r: 12, t: 8, b: 44 },
    barmode: "overlay", hovermode: "closest", hoverdistance: 4,
    legend: { orientation: "h", y: 1.01, yanchor: "bottom", x: 0 },
    shapes: bands("y", -kinds.length - 0.5, data.lanes.length - 0.4),
    xaxis: { title: { text: "seconds since the test began" }, range: [first.from, first.to], zeroline: false },
    yaxis: {
      range: [data.lanes.length - 0.4, -kinds.length - 0.6], fixedrange: true, automargin: true, showgrid: false, zeroline: false,
      tickvals: [...kinds.keys()].map((row) => row - kinds.length).concat([...data.lanes.keys()]),
      ticktext: kinds.map((kind) => `<i>${short(kind, 10)}</i>`).concat(labels),
    },
  };
  lanesPlot = draw("lanes", laneTraces([first.from, first.to]), layout);
  lanesPlot.on("plotly_relayout", (change) => {
    if (Object.keys(change).some((key) => key.startsWith("xaxis.range") || key === "xaxis.autorange")) redraw();
  });
  drawViews();
}

function redraw() {
  Plotly.react(lanesPlot, laneTraces(lanesPlot.layout.xaxis.range), lanesPlot.layout, CONFIG);
}

function show(from, to) {
  lanesPlot.layout.xaxis.range = [from, to];
  redraw();
}

function showMoment(at) {
  if (lanesPlot === null) return;
  show(at - data.width / 2, at + data.width / 2);
  document.getElementById("views").scrollIntoView({ behavior: "smooth" });
}

/** Buttons for moving and zooming, and for the windows of interest. */
function drawViews() {
  const views = document.getElementById("views");
  const button = (label, name, act) => {
    const made = document.createElement("button");
    made.textContent = label;
    made.title = name;
    made.addEventListener("click", act);
    return made;
  };
  const moved = (by, zoom) => () => {
    const [from, to] = lanesPlot.layout.xaxis.range;
    const [middle, half] = [(from + to) / 2 + by * (to - from), ((to - from) / 2) * zoom];
    show(middle - half, middle + half);
  };
  const steps = document.createElement("span");
  steps.append(
    button("◀", "Earlier", moved(-0.5, 1)), button("▶", "Later", moved(0.5, 1)),
    button("+", "Closer", moved(0, 0.5)), button("−", "Farther", moved(0, 2)),
  );
  views.append(steps, ...data.jumps.map(({ label, from, to }) => button(label, `Show: ${label}`, () => show(from, to))));
}

drawTime();
drawLatency();
drawLanes();
dark.addEventListener("change", () => {
  for (const [plot, axes] of themed) Plotly.relayout(plot, theme(axes));
  if (lanesPlot !== null) redraw();
});
