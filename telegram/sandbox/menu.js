// One menu for the whole page. Escape and a click elsewhere close it (HTML Standard, the popover attribute).

import { make } from "./dom.js";

const GAP = 4;
const SHORT = 2; // labels up to this length (emoji) share one row

/** Show `items` ({label, run, title?}) beside `anchor`; `run` is called when one is chosen. */
export function openMenu(anchor, items) {
  const menu = document.getElementById("menu");
  const choose = (run) => {
    menu.hidePopover();
    run();
  };
  const entry = ({ label, run, title }) =>
    make("button", { type: "button", role: "menuitem", title, onclick: () => choose(run) }, label);
  const inRow = items.filter(({ label }) => label.length <= SHORT);
  const others = items.filter((each) => !inRow.includes(each));
  menu.replaceChildren(
    ...(inRow.length ? [make("div", { class: "row", role: "none" }, ...inRow.map(entry))] : []),
    ...others.map(entry),
  );
  if (menu.matches(":popover-open")) menu.hidePopover();
  menu.showPopover();
  const { left, top, bottom } = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const above = top - height - GAP;
  menu.style.left = `${Math.max(GAP, Math.min(left, window.innerWidth - width - GAP))}px`;
  menu.style.top = `${Math.max(GAP, above > GAP ? above : Math.min(bottom + GAP, window.innerHeight - height - GAP))}px`;
  menu.querySelector("button")?.focus();
}

/** Move in the menu with the arrow keys. */
export function watchMenu() {
  const menu = document.getElementById("menu");
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...menu.querySelectorAll("button")];
    all.at((all.indexOf(document.activeElement) + step) % all.length)?.focus();
  });
}
