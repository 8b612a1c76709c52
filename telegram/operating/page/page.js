// The operator's page: login, a look every second, and what the buttons do.

import { act, login, logout, look, session } from "./api.js";
import { make, write } from "./dom.js";
import { Letters } from "./letters.js";
import { Plot } from "./plots.js";
import { Lanes, Tiles, age, showRunning } from "./views.js";

const EVERY_MS = 1000;
const SAMPLES = 300;
const TOAST_MS = 6000;
const DEAD_EVERY = 15; // looks: another process of the bot may have made dead letters

const byId = (id) => document.getElementById(id);
const number = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : String(Number(value.toFixed(2))));

const tiles = new Tiles();
const lanes = new Lanes(laneAction);
const letters = new Letters({ look, act, replay, discard, fail });
const plots = [
  new Plot(byId("rates-plot"), { received: "received", handled: "handled", failed: "failed", sent: "sent" }, number),
  new Plot(byId("latency-plot"), { reply_p50: "reply, median", reply_p95: "reply, 95 %", handler_p95: "handler, 95 %" }, number),
  new Plot(byId("pending-plot"), { inbox: "updates", outbox: "calls" }, number),
];
let samples = [];
let paused = null;
let deadSeen = null;
let looks = 0;
let begun = 0; // looks, with those that have no answer yet
let timer = 0;
let isIn = false;

start();

async function start() {
  byId("login-form").addEventListener("submit", enter);
  byId("logout").addEventListener("click", leave);
  byId("pause").addEventListener("click", pauseOrResume);
  byId("drain").addEventListener("click", () => drain());
  byId("park-form").addEventListener("submit", park);
  byId("audit").addEventListener("toggle", showAudit);
  for (const id of ["queue", "by"]) byId(id).addEventListener("change", () => again(0));
  document.addEventListener("visibilitychange", () => isIn && !document.hidden && again(0));
  try {
    const found = await session();
    if (found.who === null) close();
    else open(found);
  } catch {
    state("lost");
    setTimeout(start, 2 * EVERY_MS);
  }
}

// -- login ------------------------------------------------------------------------------------------------------

async function enter(event) {
  event.preventDefault();
  const box = byId("secret");
  write(byId("login-problem"), "");
  try {
    open(await login(box.value));
    box.value = "";
  } catch (error) {
    write(byId("login-problem"), error.status ? error.message : "no answer: is the bot still running?");
    box.select();
  }
}

function open({ who, may_write }) {
  isIn = true;
  document.body.classList.toggle("reader", !may_write);
  byId("login").hidden = true;
  byId("board").hidden = byId("actions").hidden = false;
  byId("logout").title = who;
  again(0);
  letters.refresh();
}

function close() {
  isIn = false;
  clearTimeout(timer);
  samples = [];
  byId("board").hidden = byId("actions").hidden = true;
  byId("lost").hidden = byId("paused").hidden = true;
  byId("login").hidden = false;
  write(byId("about"), "");
  byId("secret").focus();
}

async function leave() {
  try {
    await logout();
  } catch (error) {
    if (error.status !== 401) return fail(error);
  }
  // What was read is not left in the page.
  location.reload();
}

// -- a look -----------------------------------------------------------------------------------------------------

function again(after) {
  clearTimeout(timer);
  if (isIn && !document.hidden) timer = setTimeout(glance, after);
}

async function glance() {
  const mine = ++begun;
  const began = performance.now();
  const since = samples.at(-1)?.number ?? 0;
  try {
    const seen = await look("live", { queue: byId("queue").value, by: byId("by").value, limit: 30, since });
    if (!isIn || mine !== begun) return; // the answer of a newer look may be shown already
    samples = [...samples, ...seen.samples.filter((each) => each.number > since)].slice(-SAMPLES);
    show(seen);
    state("live");
    looks += 1;
    if (deadSeen !== seen.stats.dead || looks % DEAD_EVERY === 0) {
      deadSeen = seen.stats.dead;
      letters.refresh();
    }
  } catch (error) {
    if (error.status === 401) return close();
    if (mine !== begun) return;
    samples = error.status ? samples : [];
    state("lost");
  }
  again(Math.max(EVERY_MS, 5 * (performance.now() - began))); // a busy bot is looked at less often
}

function show({ stats, lanes: found, running }) {
  tiles.show(stats);
  lanes.show(found);
  showRunning(running);
  for (const plot of plots) plot.show(samples);
  const { pid, host, state: how, up_s } = stats.process ?? { pid: "–", host: "–", state: "stopped", up_s: 0 };
  write(byId("about"), `${stats.bot ? `@${stats.bot} · ` : ""}process ${pid} on ${host} · ${how} · up ${age(up_s)}`);
  showProcesses(stats.processes ?? []);
  paused = stats.queues.outbox.paused;
  write(byId("pause"), paused ? "Resume sending" : "Pause sending");
  byId("paused").hidden = !paused && !stats.queues.inbox.paused;
  const handling = stats.queues.inbox.paused;
  write(byId("paused"), [paused && `Sending is paused (${paused}).`, handling && `Handling is paused (${handling}).`].filter(Boolean).join(" "));
}

function showProcesses(processes) {
  const several = processes.length > 1;
  byId("processes").hidden = !several;
  byId("drain").hidden = several;
  const shown = several ? JSON.stringify(processes.map(({ pid, host, state: how, running }) => [pid, host, how, running])) : "";
  if (byId("process-list").dataset.shown === shown) return;
  byId("process-list").dataset.shown = shown;
  byId("process-list").replaceChildren(
    ...processes.map(({ pid, host, state: how, running }) =>
      make(
        "li",
        {},
        make("b", {}, `process ${pid} on ${host}`),
        make("span", {}, `${how}, ${running.inbox} handlers, ${running.outbox} calls`),
        make(
          "button",
          { type: "button", class: "small", "data-writes": "", "aria-label": `Drain process ${pid} on ${host}`, onclick: () => drain(`${pid}@${host}`) },
          "Drain",
        ),
      ),
    ),
  );
}

function state(how) {
  write(byId("state"), how);
  byId("lost").hidden = how !== "lost";
  document.body.classList.toggle("offline", how !== "live");
}

async function showAudit() {
  if (!byId("audit").open) return;
  try {
    const { entries } = await look("audit", { limit: 100 });
    byId("entries").replaceChildren(...entries.map(entryLine));
  } catch (error) {
    fail(error);
  }
}

function entryLine({ at, who, where, what, about, result }) {
  const when = new Date(at * 1000);
  const detail = Object.keys(about ?? {}).length ? ` ${JSON.stringify(about)}` : "";
  return make(
    "li",
    {},
    make("time", { datetime: when.toISOString() }, when.toLocaleString()),
    ` ${who} (${where ?? ""}) `,
    make("b", {}, what),
    `${detail}: ${result}`,
  );
}

// -- what the buttons do ----------------------------------------------------------------------------------------

async function does(name, params, done) {
  try {
    const answer = await act(name, params);
    say(done(answer));
    again(0);
    letters.refresh();
    showAudit();
  } catch (error) {
    fail(error);
  }
}

function laneAction(verb, key) {
  const words = { done: verb === "park" ? "is parked" : "is released", already: "was parked already", "not parked": "is not parked" };
  return does(verb, { queue: byId("queue").value, key }, ({ result }) => `${key} ${words[result] ?? result}`);
}

function park(event) {
  event.preventDefault();
  laneAction("park", byId("park-key").value.trim());
  byId("park-key").value = "";
}

async function pauseOrResume() {
  if (paused) return does("resume", {}, () => "Sending goes on");
  const text = "Nothing is sent to Telegram until you resume, also over new starts of the bot. Updates are handled; their replies wait.";
  if (await confirmed("Pause sending?", text, "Pause")) does("pause", {}, () => "Sending is paused");
}

async function drain(process) {
  const text = "Running handlers finish, their replies go out, and the process exits. A supervisor starts it again if it is set up so.";
  const title = process ? `Drain process ${process}?` : "Drain this process?";
  if (await confirmed(title, text, "Drain")) does("drain", process ? { process } : {}, () => "The process stops");
}

const named = (chosen) => ({ letters: chosen.map(({ number: of, hash }) => ({ number: of, hash })), confirm: chosen.length });

async function replay(chosen) {
  const text = "Each goes back into its lane, before newer updates, and is handled again.";
  if (chosen.length > 1 && !(await confirmed(`Replay ${chosen.length} dead letters?`, text, `Replay ${chosen.length}`))) return;
  does("replay", named(chosen), ({ result }) => `Replay: ${result}`);
}

async function discard(chosen) {
  const text = `${chosen.length > 1 ? "They are" : "It is"} deleted, and cannot be brought back.`;
  const what = chosen.length > 1 ? `${chosen.length} dead letters` : `dead letter #${chosen[0].number} of ${chosen[0].key}`;
  if (await confirmed(`Discard ${what}?`, text, "Discard")) does("discard", named(chosen), ({ result }) => `Discard: ${result}`);
}

let questions = 0;

function confirmed(title, text, verb) {
  const mine = ++questions;
  const dialog = byId("confirm");
  write(byId("confirm-title"), title);
  write(byId("confirm-text"), text);
  write(byId("confirm-ok"), verb);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resume) => {
    const answer = () => {
      if (mine === questions && dialog.open) return; // a late close event of the previous question
      dialog.removeEventListener("close", answer);
      resume(mine === questions && dialog.returnValue === "ok");
    };
    dialog.addEventListener("close", answer);
  });
}

function fail(error) {
  if (error.status === 401) return close();
  say(error.status ? error.message : "No answer from the bot");
}

function say(text) {
  const toast = make("div", { class: "toast" }, text);
  byId("toasts").replaceChildren(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}
