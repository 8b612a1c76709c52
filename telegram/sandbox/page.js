// The page: connects to the server and passes each message to its chat or to the lanes.

import { ChatPanel } from "./chats.js";
import { Connection } from "./connection.js";
import { make, write } from "./dom.js";
import { watchKeys } from "./keys.js";
import { LanesBoard } from "./lanes.js";
import { Pictures } from "./media.js";
import { watchMenu } from "./menu.js";
import { showLanes } from "./show.js";

const TOAST_MS = 7000;
const CAPTION_MS = 15000;
const STATES = { connecting: "connecting …", open: "live", lost: "connection lost" };

const byId = (id) => document.getElementById(id);
const world = { bot: null, people: [], commands: [], pictures: new Pictures((file) => send({ do: "look", file })) };
const panels = new Map(); // chat id -> ChatPanel
const chatOfQuery = new Map(); // button presses that wait for an answer
let wide = null; // the panel with the full width
let awaited = null; // the name of the user whom this page is adding
const board = new LanesBoard((number) => send({ do: "replay", number }));

const handlers = {
  world: showWorld,
  lanes: (message) => board.show(message),
  joined: showNewcomer,
  message: ({ message, keyboard }) => {
    const panel = panels.get(message.chat.id);
    panel?.show(message);
    if (keyboard) panel?.setKeyboard(keyboard);
  },
  edit: ({ message }) => panels.get(message.chat.id)?.show(message),
  delete: (event) => panels.get(event.chat_id)?.remove(event.message_id),
  callback: ({ callback_query: query }) => {
    if (!query.message) return; // a message sent via the bot
    chatOfQuery.set(query.id, query.message.chat.id);
    panels.get(query.message.chat.id)?.wait(query);
  },
  answer: showAnswer,
  draft: (event) => panels.get(event.chat_id)?.draft(event.text),
  chat_action: (event) => panels.get(event.chat_id)?.typing(event.action),
  reaction: (event) => panels.get(event.chat_id)?.react(event),
  inline_query: (event) => panels.get(event.chat_id)?.asked(event.inline_query),
  inline_answer: (event) => panels.forEach((panel) => panel.offer(event.inline_query_id, event.results)),
  block: (event) => panels.get(event.user_id)?.setBlocked(event.blocked),
  administrator: (event) => {
    const panel = panels.get(event.chat_id);
    if (panel) panel.isAdministrator = true;
    panel?.toast("The bot is an administrator now.");
  },
  picture: ({ file, url }) => world.pictures.arrived(file, url),
  commands: ({ commands }) => suggest(commands),
  passed: ({ hours, ahead_s: ahead }) => {
    showClock(ahead);
    caption(`${hours === 1 ? "An hour has" : `${hours} hours have`} passed: timers that are due now are handled.`);
  },
  refused_call: showRefusedCall,
  refused: ({ reason }) => toast(`Not possible: ${reason}`),
};

function showWorld({ bot, people, chats, commands, ahead_s: ahead }) {
  world.bot = bot;
  world.people = people;
  world.pictures.forget();
  suggest(commands);
  showClock(ahead);
  chatOfQuery.clear();
  const gone = new Set(panels.keys());
  for (const { messages, keyboard, reactions, blocked, administrator, ...chat } of chats) {
    gone.delete(chat.id);
    addPanel(chat).reset({ messages, keyboard, reactions, blocked, administrator });
  }
  for (const id of gone) {
    if (wide === panels.get(id)) widen(wide);
    panels.get(id).element.remove();
    panels.delete(id);
  }
}

function showNewcomer({ user, chat }) {
  if (user && !world.people.some((person) => person.id === user.id)) world.people.push(user);
  const panel = addPanel(chat);
  if (awaited === panel.name) panel.box.focus(); // not if another page has added the user
  awaited = null;
  for (const panel of panels.values()) panel.offerSpeakers();
}

function addPanel(chat) {
  let panel = panels.get(chat.id);
  if (!panel) {
    panel = new ChatPanel(chat, world, send, widen);
    panels.set(chat.id, panel);
    byId("chats").append(panel.element);
  }
  panel.offerSpeakers();
  return panel;
}

function showAnswer({ callback_query_id: id, text, show_alert: isAlert }) {
  const panel = panels.get(chatOfQuery.get(id));
  chatOfQuery.delete(id);
  panel?.answered(id);
  if (!panel || !text) return;
  if (!isAlert) {
    panel.toast(text);
    return;
  }
  write(byId("alert-text"), text);
  if (!byId("alert").open) byId("alert").showModal();
}

function suggest(commands) {
  world.commands = commands;
  for (const panel of panels.values()) panel.suggest();
}

function showClock(ahead) {
  const hours = Math.round(ahead / 360) / 10;
  write(byId("clock"), hours ? `${hours} h ahead` : "");
}

function showRefusedCall(event) {
  const panel = panels.get(event.chat_id);
  if (panel) panel.refused(event);
  else toast(`${event.method} was refused: ${event.code} ${event.reason}`);
}

/** Toggle the full width of a chat. */
function widen(panel) {
  wide?.setWide(false);
  wide = wide === panel ? null : panel;
  wide?.setWide(true);
  byId("chats").classList.toggle("one", wide !== null);
}

/** Fold the lanes to their totals, or unfold them. The browser stores the choice. */
function fold(isFolded) {
  byId("lanes").classList.toggle("folded", isFolded);
  byId("fold").setAttribute("aria-expanded", String(!isFolded));
  write(byId("fold"), isFolded ? "Unfold" : "Fold");
  storage()?.setItem("folded", isFolded ? "1" : "");
}

/** The browser's localStorage; null if it is disabled. */
function storage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

const toggleFold = () => fold(byId("fold").getAttribute("aria-expanded") === "true");
byId("fold").addEventListener("click", toggleFold);
if (storage()?.getItem("folded")) fold(true);
watchMenu();
watchKeys({
  focusChat: (index) => (wide ?? [...panels.values()][index])?.box.focus(),
  widen: () => {
    const inside = document.activeElement?.closest(".chat");
    const panel = [...panels.values()].find((each) => each.element === inside);
    widen(wide ?? panel ?? panels.values().next().value);
  },
  narrow: () => {
    if (wide) widen(wide);
    else return false;
    return true;
  },
  fold: toggleFold,
  help: () => byId("help").showModal(),
});

function showState(state) {
  write(byId("state"), STATES[state]);
  document.body.classList.toggle("offline", state !== "open");
  byId("lost").hidden = state !== "lost";
  for (const button of document.querySelectorAll(".actions button")) button.disabled = state !== "open";
}

function send(action) {
  const sent = connection.send(action);
  if (!sent) toast("Not sent: the connection is lost, trying again …");
  return sent;
}

function invite(action, name) {
  if (send(action)) awaited = name;
}

function toast(text) {
  const notice = make("p", { class: "toast" }, text);
  byId("toasts").replaceChildren(notice);
  setTimeout(() => notice.remove(), TOAST_MS);
}

/** Show a caption in the header of the page. */
function caption(text) {
  write(byId("caption"), text);
  setTimeout(() => byId("caption").textContent === text && write(byId("caption"), ""), CAPTION_MS);
}

let asked = 0;

/** Ask for a name; resolves to null if the user cancels. */
function ask(question) {
  const mine = ++asked;
  const dialog = byId("ask");
  const field = byId("ask-name");
  write(byId("ask-title"), question);
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = () => {
      if (mine === asked && dialog.open) return; // a late close event of the previous dialog
      dialog.removeEventListener("close", answer);
      const isAnswered = mine === asked && dialog.returnValue === "ok";
      resolve((isAnswered && field.value.trim()) || null);
    };
    dialog.addEventListener("close", answer);
  });
}

byId("ask-cancel").addEventListener("click", () => byId("ask").close());
const burst = () => send({ do: "burst" });
byId("burst").addEventListener("click", burst);
byId("show").addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    const panel = [...panels.values()].find((each) => !each.isGroup);
    if (panel) caption(await showLanes(panel, burst));
  } finally {
    event.target.disabled = document.body.classList.contains("offline");
  }
});
byId("pass").addEventListener("click", () => send({ do: "pass", hours: 1 }));
byId("keys").addEventListener("click", () => byId("help").showModal());
byId("add-person").addEventListener("click", async () => {
  const name = await ask("Name of the person");
  if (name) invite({ do: "add_person", name }, name);
});
byId("add-group").addEventListener("click", async () => {
  const title = await ask("Name of the group");
  if (title) invite({ do: "add_group", title }, title);
});

const connection = new Connection((message) => handlers[message.type]?.(message), showState);
