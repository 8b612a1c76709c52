// The live view of the lanes: one row per lane, inbox left, outbox right; a dot is a pending item, the pill the running one.

import { avatar, make, write } from "./dom.js";

const DOTS_MAX = 20;
const DOTS_MAX_PARKED = 4; // leaves space for the reason
const DONE_WORDS = { inbox: "handled", outbox: "sent" };

export class LanesBoard {
  #rows = new Map(); // key -> Row
  #list = document.getElementById("rows");
  #replay;

  /** `replay(number)` is called to put a dead letter back. */
  constructor(replay) {
    this.#replay = replay;
  }

  /** Show the data of a message "lanes". */
  show(lanes) {
    for (const queue of ["inbox", "outbox"]) this.#showTotals(queue, lanes[queue]);
    const keys = new Set(lanes.rows.map((row) => row.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    for (const data of lanes.rows) {
      let row = this.#rows.get(data.key);
      if (!row) {
        row = new Row(data);
        this.#rows.set(data.key, row);
        this.#list.append(row.element);
      }
      row.show(data);
    }
    document.getElementById("no-lanes").hidden = keys.size > 0;
    this.#showDead(lanes.dead, lanes.inbox.dead + lanes.outbox.dead);
  }

  #showTotals(queue, totals) {
    const place = document.getElementById(`${queue}-totals`);
    for (const number of place.querySelectorAll("b")) write(number, String(totals[number.dataset.total]));
  }

  #showDead(letters, count) {
    const place = document.getElementById("dead");
    place.hidden = letters.length === 0;
    write(document.getElementById("dead-count"), String(Math.max(count, letters.length)));
    const shown = JSON.stringify(letters);
    if (place.dataset.shown === shown) return;
    place.dataset.shown = shown;
    place.querySelector("ul").replaceChildren(...letters.map((letter) => this.#oneDead(letter)));
  }

  #oneDead({ number, queue, key, name, attempts, reason }) {
    const onclick = () => this.#replay(number);
    return make(
      "li",
      { "data-letter": number },
      make("b", {}, `#${number}`),
      make("span", {}, `${queue} · ${name || "unknown"} (${key}) · attempts ${attempts}`),
      make("span", { class: "reason" }, reason),
      make("button", { type: "button", onclick, title: "Put it back at the head of its lane" }, "Try again"),
    );
  }
}

class Row {
  constructor({ key, name }) {
    this.telegram = make("span", { class: "at-telegram" });
    this.inbox = new Half("inbox");
    this.outbox = new Half("outbox");
    const id = Number(key.split(":").at(-1)) || 0;
    const names = make("div", {}, make("b", {}, name || "unknown"), make("code", {}, key));
    const who = make("div", { class: "lane-name" }, avatar(name || key, id), names, this.telegram);
    this.element = make("li", { "data-lane": key }, who, this.inbox.element, this.outbox.element);
  }

  show(data) {
    this.inbox.show(data.inbox);
    this.outbox.show(data.outbox);
    const idle = data.inbox.status === "idle" && data.outbox.status === "idle" && !data.at_telegram;
    this.element.classList.toggle("idle", idle);
    write(this.telegram, data.at_telegram > 1 ? `+${data.at_telegram} at Telegram` : "");
  }
}

class Half {
  #queue;

  constructor(queue) {
    this.#queue = queue;
    this.pill = make("span", { class: "pill" });
    this.dots = make("span", { class: "dots", "aria-hidden": "true" });
    this.more = make("span", { class: "more" });
    this.done = make("span", { class: "done" });
    const parts = [this.done, this.pill, this.dots, this.more];
    this.element = make("div", { class: "half", "data-queue": queue }, ...parts);
  }

  show(half) {
    this.element.dataset.status = half.status;
    this.element.dataset.pending = String(half.pending);
    const { status, pending, attempt, reason } = half;
    const about = [status, `${pending} pending`, `attempt ${attempt}`, ...(reason ? [reason] : [])];
    this.element.title = status === "idle" ? "" : about.join(", ");
    write(this.pill, this.#words(half));
    const waiting = status === "leased" ? pending - 1 : pending;
    const most = status === "parked" ? DOTS_MAX_PARKED : DOTS_MAX;
    this.#setDots(Math.min(waiting, most));
    write(this.more, waiting > most ? `+${waiting - most}` : "");
    write(this.done, half.done ? `✓ ${half.done} ${DONE_WORDS[this.#queue]}` : "");
  }

  #words(half) {
    const attempt = half.attempt > 1 ? ` · attempt ${half.attempt}` : "";
    if (half.status === "leased") {
      const worker = half.worker === null ? "leased" : `worker ${half.worker}`;
      return `${worker} · ${half.running_s.toFixed(1)} s${attempt}`;
    }
    if (half.status === "parked") return `parked ${half.parked_s.toFixed(1)} s${attempt} · ${half.reason}`;
    return half.status === "ready" ? `ready${attempt}` : "";
  }

  #setDots(count) {
    while (this.dots.childElementCount > count) this.dots.firstChild.remove();
    while (this.dots.childElementCount < count) this.dots.append(make("i"));
  }
}
