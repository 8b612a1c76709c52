// Keyboard shortcuts: single keys outside of input boxes, Escape everywhere.

/** `page` has the actions of the keys: `focusChat(index)`, `widen()`, `fold()`, `help()`, `narrow()`. */
export function watchKeys(page) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const isOpen = document.querySelector("dialog[open], [popover]:popover-open");
    if (isOpen) return; // dialogs and menus handle their own keys
    if (event.key === "Escape") {
      if (!page.narrow()) document.activeElement?.blur();
      return;
    }
    if (event.target.matches("input, textarea, select")) return;
    const keys = { f: page.widen, l: page.fold, "?": page.help };
    const run = /^[1-9]$/.test(event.key) ? () => page.focusChat(Number(event.key) - 1) : keys[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
}
