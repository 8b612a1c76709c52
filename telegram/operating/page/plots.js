// Plots of the last minutes: a line per series, the newest values in the legend, which is also what a screen reader reads.

import { make, write } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const POINTS = 300;
const WIDTH = 300;
const HEIGHT = 100;

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export class Plot {
  #lines;
  #values;
  #most;
  #series;
  #format;

  /** `series`: name of the value in a sample -> label. */
  constructor(place, series, format) {
    this.#series = series;
    this.#format = format;
    const names = Object.keys(series);
    this.#lines = names.map((_, index) => draw("path", { class: `line-${index}` }));
    const grid = draw("path", { class: "grid", d: `M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}` });
    const picture = draw("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(grid, ...this.#lines);
    this.#most = make("span", { class: "most", "aria-hidden": "true" });
    this.#values = names.map(() => make("b"));
    const legend = names.map((name, index) =>
      make("span", {}, make("i", { class: `line-${index}` }), `${series[name]} `, this.#values[index]),
    );
    place.replaceChildren(make("div", { class: "plot-frame" }, picture, this.#most), make("p", { class: "legend" }, ...legend));
  }

  /** Show samples, oldest first. */
  show(samples) {
    const shown = samples.slice(-POINTS);
    const names = Object.keys(this.#series);
    const most = Math.max(0, ...shown.flatMap((sample) => names.map((name) => sample[name] ?? 0)));
    const top = most || 1;
    write(this.#most, most ? this.#format(most) : "");
    names.forEach((name, index) => {
      const values = shown.map((sample) => sample[name]);
      this.#lines[index].setAttribute("d", path(values, top, POINTS - shown.length));
      const last = values.at(-1);
      write(this.#values[index], last === null || last === undefined ? "–" : this.#format(last));
    });
  }
}

/** A value that is missing interrupts the line; one between two missing ones is a short dash. */
function path(values, top, before) {
  const step = WIDTH / (POINTS - 1);
  let text = "";
  let isDown = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      isDown = false;
      return;
    }
    const x = ((before + index) * step).toFixed(1);
    const y = (HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1);
    text += isDown ? `L${x} ${y}` : `M${x} ${y}h0.8`;
    isDown = true;
  });
  return text;
}
