// The state of a lane in one queue: the pill is what runs or waits, a dot is a pending item.

import { make, write } from "./dom.js";

const DOTS_MAX = 20;
const DOTS_MAX_PARKED = 4; // leaves space for the reason
const DONE_WORDS = { inbox: "handled", outbox: "sent" };

export class Half {
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
