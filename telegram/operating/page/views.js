// What is shown anew every second: totals, what runs, lanes.

import { make, write } from "./dom.js";
import { Half } from "./pills.js";

/** Seconds as a person says them. */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${(seconds / size).toFixed(1)} ${unit}`;
  }
  return `${seconds.toFixed(1)} s`;
}

export class Tiles {
  #tiles = new Map();
  #place = document.getElementById("tiles");

  show(stats) {
    const { inbox, outbox } = stats.queues;
    this.#set("updates pending", inbox.pending);
    this.#set("oldest update", age(inbox.oldest_s), inbox.oldest_s > 300 ? "bad" : "");
    this.#set("calls pending", outbox.pending);
    this.#set("oldest call", age(outbox.oldest_s), outbox.oldest_s > 300 ? "bad" : "");
    this.#set("lanes parked", inbox.parked + outbox.parked, inbox.parked + outbox.parked ? "park" : "");
    this.#set("dead letters", stats.dead, stats.dead ? "bad" : "");
  }

  #set(label, value, kind = "") {
    let tile = this.#tiles.get(label);
    if (!tile) {
      const number = make("b");
      tile = { number, element: make("div", {}, number, make("span", {}, label)) };
      this.#tiles.set(label, tile);
      this.#place.append(tile.element);
    }
    write(tile.number, String(value));
    tile.element.className = `tile ${kind}`;
  }
}

export function showRunning({ running, total }) {
  write(document.getElementById("running-total"), total ? String(total) : "");
  document.getElementById("no-running").hidden = running.length > 0;
  const cells = running.slice(0, 30).map((run) => [run.key, age(run.running_s), run.where || "–", String(run.attempt)]);
  const body = document.getElementById("running");
  while (body.childElementCount > cells.length) body.lastChild.remove();
  while (body.childElementCount < cells.length) {
    body.append(make("tr", {}, make("td", {}, make("code")), make("td"), make("td", {}, make("code")), make("td")));
  }
  cells.forEach((texts, index) => {
    [...body.children[index].children].forEach((cell, at) => write(cell.firstElementChild ?? cell, texts[at]));
  });
}

export class Lanes {
  #rows = new Map();
  #list = document.getElementById("rows");
  #act;

  /** `act(name, key)` parks or releases a lane. */
  constructor(act) {
    this.#act = act;
  }

  show({ queue, lanes, held }) {
    const all = [
      ...lanes,
      ...held.map(({ key, held: why }) => ({ key, held: why, status: "parked", depth: 0, attempts: 0, wait_s: 0, reason: "", age_s: null })),
    ];
    const names = new Set(all.map(({ key }) => `${queue} ${key}`));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.element.remove();
      this.#rows.delete(name);
    }
    all.forEach((lane, index) => {
      const name = `${queue} ${lane.key}`;
      let row = this.#rows.get(name);
      if (!row) {
        row = new Row(queue, lane.key, this.#act);
        this.#rows.set(name, row);
      }
      // A row that moves loses the keyboard's focus: only those that are not in place do.
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
      row.show(lane);
    });
    document.getElementById("no-lanes").hidden = all.length > 0;
  }
}

class Row {
  constructor(queue, key, act) {
    this.half = new Half(queue);
    this.age = make("span", { class: "age" });
    this.button = make("button", { type: "button", class: "small", onclick: () => act(this.verb, key), "data-writes": "" });
    this.element = make(
      "li",
      { "data-lane": key },
      make("div", { class: "lane-name" }, make("b", {}, key)),
      this.age,
      this.half.element,
      make("div", { class: "end" }, this.button),
    );
    this.key = key;
  }

  show(lane) {
    this.verb = lane.status === "parked" || lane.held ? "release" : "park";
    write(this.age, lane.age_s === null ? "–" : age(lane.age_s));
    write(this.button, this.verb === "park" ? "Park" : "Release");
    this.button.setAttribute("aria-label", `${this.button.textContent} ${this.key}`);
    this.half.show({
      status: lane.status,
      pending: lane.depth,
      done: 0,
      worker: lane.worker ?? null,
      running_s: lane.running_s ?? 0,
      attempt: lane.attempts + 1,
      parked_s: lane.wait_s,
      reason: lane.held || lane.reason,
    });
    if (lane.held) write(this.half.pill, lane.status === "parked" ? lane.held : `${lane.status} · ${lane.held}`);
    write(this.half.more, lane.depth > 1 ? `${lane.depth} pending` : "");
  }
}
