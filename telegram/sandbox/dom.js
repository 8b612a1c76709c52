// Makes elements. Text only ever becomes text nodes, so what people and bots write is never read as HTML.

/** An element; attributes starting with "on" are listeners, false and null ones are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Set text only where it differs: an untouched node keeps selection and screen reader quiet. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A round picture with the first letter of a name; the colour belongs to the id. */
export function avatar(name, id) {
  const picture = make("span", { class: "avatar", "aria-hidden": "true" }, [...name][0] ?? "?");
  picture.style.setProperty("--hue", String((Math.abs(id) * 137) % 360));
  return picture;
}
