// Creates elements. All text becomes text nodes, so texts of users and bots are never parsed as HTML.

/** An element; attributes starting with "on" are listeners, false and null ones are omitted. */
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

/** Set text only if it differs: an unchanged node keeps its selection and is not read out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A round picture with the first letter of a name; the colour depends on the id. */
export function avatar(name, id) {
  const picture = make("span", { class: "avatar", "aria-hidden": "true" }, [...name][0] ?? "?");
  picture.style.setProperty("--hue", String((Math.abs(id) * 137) % 360));
  return picture;
}
