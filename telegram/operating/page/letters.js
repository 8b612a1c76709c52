// Dead letters: pages of them, one opened, some chosen. Each is named by number and hash.

import { make, write } from "./dom.js";

const PAGE = 50;

export class Letters {
  #list = document.getElementById("letters");
  #older = document.getElementById("older");
  #all = document.getElementById("all");
  #shown = new Map(); // number -> {letter, element, box}
  #bot;
  #reads = Promise.resolve(); // one after another: else the answer of an older one could be shown last

  /** `bot`: look(name, params), act(name, params), replay(letters), discard(letters), fail(error). */
  constructor(bot) {
    this.#bot = bot;
    this.#older.addEventListener("click", () => this.#load(true));
    this.#all.addEventListener("change", () => {
      for (const { box } of this.#shown.values()) box.checked = this.#all.checked;
      this.#chosenChanged();
    });
    document.getElementById("replay-some").addEventListener("click", () => bot.replay(this.#chosen()));
    document.getElementById("discard-some").addEventListener("click", () => bot.discard(this.#chosen()));
  }

  /** Read the newest ones; those that are gone disappear, what is open stays open. */
  refresh() {
    return this.#load(false);
  }

  #load(isOlder) {
    this.#reads = this.#reads.then(() => this.#read(isOlder));
    return this.#reads;
  }

  async #read(isOlder) {
    const below = isOlder && this.#shown.size ? Math.min(...this.#shown.keys()) : 0;
    try {
      const { letters, total } = await this.#bot.look("dead", { limit: PAGE, ...(below ? { below } : {}) });
      write(document.getElementById("dead-total"), total ? String(total) : "");
      if (!below) this.#forget(letters);
      for (const letter of letters) if (!this.#shown.has(letter.number)) this.#add(letter);
      document.getElementById("no-letters").hidden = this.#shown.size > 0;
      this.#older.hidden = this.#shown.size >= total;
      this.#chosenChanged();
    } catch (error) {
      this.#bot.fail(error);
    }
  }

  /** Remove the rows of letters that are gone: of the page that was read, all that are not on it. */
  #forget(letters) {
    const numbers = new Set(letters.map(({ number }) => number));
    const lowest = letters.length === PAGE ? Math.min(...numbers) : 0;
    for (const [number, { element }] of this.#shown) {
      if (number < lowest || numbers.has(number)) continue;
      element.remove();
      this.#shown.delete(number);
    }
  }

  #add(letter) {
    const { number, queue, key, id, what, attempts, at, reason, bytes } = letter;
    const box = make("input", { type: "checkbox", "aria-label": `Choose ${number}`, onchange: () => this.#chosenChanged() });
    const whole = make("div", { class: "whole", hidden: true });
    const open = make("button", { type: "button", class: "small", "aria-expanded": "false" }, "Show text");
    open.title = "The traceback, and what the message contains; that you look is recorded";
    open.addEventListener("click", () => this.#open(letter, open, whole));
    const facts = `#${number} · ${queue} · ${what} ${id} · ${attempts} ${attempts === 1 ? "attempt" : "attempts"} · ${new Date(at * 1000).toLocaleString()} · ${bytes} bytes`;
    const buttons = make(
      "div",
      { class: "buttons" },
      open,
      make("button", { type: "button", class: "small", "data-writes": "", onclick: () => this.#bot.replay([letter]) }, "Replay"),
      make("button", { type: "button", class: "small danger", "data-writes": "", onclick: () => this.#bot.discard([letter]) }, "Discard"),
    );
    const text = make("div", {}, make("p", {}, make("b", {}, key)), make("p", { class: "reason" }, reason), make("p", { class: "facts" }, facts));
    const element = make(
      "li",
      { "data-letter": number },
      make("div", { class: "letter" }, make("label", { class: "check" }, box), text, buttons),
      whole,
    );
    const after = [...this.#shown.values()].find((other) => other.letter.number < number);
    this.#shown.set(number, { letter, element, box });
    this.#list.insertBefore(element, after?.element ?? null);
    this.#shown = new Map([...this.#shown].sort(([one], [other]) => other - one));
  }

  async #open(letter, open, whole) {
    if (whole.hidden && !whole.childElementCount) {
      try {
        const { letter: found } = await this.#bot.act("letter", { number: letter.number });
        if (found === null) return this.refresh();
        whole.append(
          make("h3", {}, "Traceback"),
          make("pre", { tabindex: "0" }, found.trace || "none: it was refused, or it comes from an older version"),
          make("h3", {}, `What it contains · hash ${found.hash}`),
          make("pre", { tabindex: "0" }, found.body + (found.is_cut ? "\n…" : "")),
        );
      } catch (error) {
        return this.#bot.fail(error);
      }
    }
    whole.hidden = !whole.hidden;
    open.setAttribute("aria-expanded", String(!whole.hidden));
    write(open, whole.hidden ? "Show text" : "Hide text");
  }

  #chosen() {
    return [...this.#shown.values()].filter(({ box }) => box.checked).map(({ letter }) => letter);
  }

  #chosenChanged() {
    const count = this.#chosen().length;
    for (const [id, verb] of [["replay-some", "Replay"], ["discard-some", "Discard"]]) {
      const button = document.getElementById(id);
      button.disabled = count === 0;
      write(button, count ? `${verb} ${count}` : verb);
    }
    this.#all.checked = count > 0 && count === this.#shown.size;
    this.#all.indeterminate = count > 0 && count < this.#shown.size;
  }
}
