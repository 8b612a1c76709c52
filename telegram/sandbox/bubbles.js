// One message as a bubble: sender, text with its entities, buttons, time.

import { avatar, make } from "./dom.js";
import { media } from "./media.js";

const STYLES = {
  bold: "b",
  italic: "i",
  underline: "u",
  strikethrough: "s",
  code: "code",
  pre: "code",
  spoiler: "mark",
  blockquote: "q",
  expandable_blockquote: "q",
};
const SAFE_LINK = /^(https?|tg|mailto):/i;

/** Key of a button press without an answer: message and data. */
export function pressKey(messageId, data) {
  return `${messageId} ${data}`;
}

/**
 * Returns the list item of `parts`: a message, or all messages of an album. `isBot`: sent by the bot. `onPress(data)`,
 * `onCommand(text)` and `onMenu(button)` are called for buttons, commands in the text, and the message's own menu;
 * `waiting`: the keys of presses without an answer, `reactions`: the emoji, `pictures` shows photos.
 */
export function bubble(parts, { isBot, onPress, onCommand, onMenu, waiting, reactions, pictures }) {
  const message = parts.find((each) => each.caption) ?? parts[0];
  const { forward_origin: origin, reply_to_message: quoted, via_bot: via } = message;
  const from = message.from ?? { first_name: message.sender_chat?.title ?? "?", id: message.chat.id };
  const time = make("time", {}, (message.edit_date ? "edited " : "") + clock(message.date));
  const shown = media(parts, pictures);
  const text = formatted(message, onCommand);
  if (!text.length && !shown.length) text.push(make("i", {}, "(the sandbox does not show this kind of message)"));
  const body = make(
    "div",
    { class: "bubble" },
    make("div", { class: "who" }, make("b", {}, from.first_name), " ", time),
    menuButton(parts[0].message_id, from.first_name, onMenu),
    origin ? about(`forwarded from ${origin.sender_user?.first_name ?? "an unknown sender"}`) : null,
    via ? about(`via @${via.username}`) : null,
    quoted ? about(`↩ ${quoted.text ?? quoted.caption ?? ""}`) : null,
    ...shown,
    text.length || !shown.length ? make("div", { class: "text", dir: "auto" }, ...text) : null,
  );
  const column = make("div", { class: "column" }, body);
  if (reactions.length) column.append(make("div", { class: "reactions" }, ...reactions.map((each) => make("span", {}, each))));
  const rows = message.reply_markup?.inline_keyboard;
  if (rows) {
    const buttons = rows.map((row) => buttonRow(row, message, onPress, waiting));
    column.append(make("div", { class: "keyboard" }, ...buttons));
  }
  const kind = isBot ? "message bot" : "message mine";
  const attributes = { class: kind, "data-message": parts[0].message_id, tabindex: "-1" };
  return make("li", attributes, avatar(from.first_name, from.id), column);
}

/** Show on the buttons of a message whether their press waits for an answer. */
export function markWaiting(item, messageId, waiting) {
  for (const button of item.querySelectorAll("button[data-press]")) {
    const waits = waiting.has(pressKey(messageId, button.dataset.press));
    button.classList.toggle("waiting", waits);
    button.setAttribute("aria-busy", String(waits));
  }
}

/** Every message has one; it is reached with the arrow keys, so Tab skips it. */
function menuButton(id, name, onMenu) {
  const button = make("button", { type: "button", class: "dots-menu", tabindex: "-1", "aria-label": `Menu of message ${id} by ${name}` }, "⋯");
  button.addEventListener("click", () => onMenu(button));
  return button;
}

function about(text) {
  return make("span", { class: "about" }, text);
}

function buttonRow(row, message, onPress, waiting) {
  return make("div", { class: row.length > 3 ? "row narrow" : "row" }, ...row.map((button) => oneButton(button, message, onPress, waiting)));
}

function oneButton(button, message, onPress, waiting) {
  if (button.callback_data !== undefined) {
    const waits = waiting.has(pressKey(message.message_id, button.callback_data));
    return make(
      "button",
      {
        type: "button",
        class: waits ? "waiting" : null,
        "aria-busy": String(waits),
        "data-press": button.callback_data,
        onclick: () => onPress(button.callback_data),
      },
      button.text,
    );
  }
  if (button.url !== undefined && SAFE_LINK.test(button.url)) {
    return link(button.url, `${button.text} ↗`);
  }
  const title = "The sandbox cannot press this kind of button";
  return make("button", { type: "button", disabled: true, title }, button.text);
}

/** Splits the text at the entities' edges, with the entities over each piece. Offsets are UTF-16 units, as in JavaScript. */
function formatted(message, onCommand) {
  const text = message.text ?? message.caption ?? "";
  const entities = message.entities ?? message.caption_entities ?? [];
  if (!text) return [];
  const cuts = new Set([0, text.length]);
  for (const { offset, length } of entities) {
    cuts.add(Math.min(offset, text.length));
    cuts.add(Math.min(offset + length, text.length));
  }
  const edges = [...cuts].sort((a, b) => a - b);
  return edges.slice(1).map((end, index) => {
    const start = edges[index];
    const covers = ({ offset, length }) => offset <= start && end <= offset + length;
    const piece = document.createTextNode(text.slice(start, end));
    return entities.filter(covers).reduce((inner, entity) => styled(entity, inner, onCommand), piece);
  });
}

function styled(entity, inner, onCommand) {
  if (entity.type === "bot_command") {
    const command = inner.textContent;
    return make("button", { type: "button", class: "command", onclick: () => onCommand(command) }, inner);
  }
  const url = entity.type === "text_link" ? entity.url : entity.type === "url" ? inner.textContent : "";
  if (SAFE_LINK.test(url ?? "")) return link(url, inner);
  return STYLES[entity.type] ? make(STYLES[entity.type], {}, inner) : inner;
}

function link(url, inside) {
  return make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, inside);
}

function clock(unixTime) {
  return new Date(unixTime * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
