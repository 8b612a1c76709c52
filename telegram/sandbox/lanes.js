// The live view of the lanes: one row per lane, inbox left, outbox right; a dot is a pending item, the pill the running one.

import { avatar, make, write } from "./dom.js";
import { Half } from "./pills.js";

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
