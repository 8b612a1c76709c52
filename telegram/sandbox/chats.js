// The chats side by side, one panel each, with messages, reply keyboard and input box.

import { bubble, markWaiting, pressKey } from "./bubbles.js";
import { avatar, make, write } from "./dom.js";
import { smallJpeg } from "./media.js";
import { openMenu } from "./menu.js";

const MESSAGES_MAX = 200;
const TYPING_MS = 5000;
const DRAFT_MS = 30000;
const ANSWER_TIMEOUT_MS = 60000;
const TOAST_MS = 4000;
const COMMANDS_MAX = 6;
const INLINE_TIMEOUT_MS = 10000; // like Telegram
const REACTIONS = ["👍", "❤", "🔥", "😁", "👎"];

/**
 * One chat. `world` has `bot`, `people`, `commands` and `pictures`; `send(action)` returns false without a connection,
 * `widen(panel)` toggles the full width.
 */
export class ChatPanel {
  #world;
  #send;
  #widen;
  #messages = new Map(); // message id -> {message, item}; the messages of an album share their item
  #reactions = new Map(); // message id -> Map(user id -> emoji)
  #editing = 0; // id of the message that is being edited
  #inline = ""; // the current inline query, answered or not
  #inlineTimer = 0;
  #waiting = new Map(); // press key -> ids of queries without an answer
  #typingTimer = 0;
  #draft = null; // the element of a draft
  #draftTimer = 0;
  #followsEnd = true; // until the user scrolls up
  #reply = null; // the reply keyboard's markup

  constructor(chat, world, send, widen) {
    this.chat = chat;
    this.name = chat.title ?? chat.first_name;
    this.isGroup = chat.type !== "private";
    this.#world = world;
    this.#send = send;
    this.#widen = widen;
    this.#build();
  }

  get messages() {
    return [...this.#messages.values()].map(({ message }) => message);
  }

  /** Replace the contents with those of a snapshot; the text in the input box stays. */
  reset({ messages, keyboard, reactions, blocked, administrator }) {
    this.#messages.clear();
    this.#reactions.clear();
    for (const each of reactions) this.#note(each);
    this.setBlocked(blocked);
    this.isAdministrator = administrator;
    this.#showResults(null);
    this.#waiting.clear();
    this.list.replaceChildren();
    this.draft(null);
    this.#setTyping(false);
    this.setKeyboard(keyboard);
    for (const message of messages) this.show(message);
    this.#toEnd();
    this.#showSuggestions();
  }

  /** Add a message, or replace it by its new version. */
  show(message) {
    const known = this.#messages.get(message.message_id);
    this.#messages.set(message.message_id, { message, item: known?.item });
    this.#render(message, Boolean(known && message.edit_date));
    if (this.#messages.size > MESSAGES_MAX) this.remove(this.#messages.keys().next().value);
    if (this.#isBots(message)) {
      this.#setTyping(false);
      this.draft(null);
    }
    if (this.#followsEnd) this.#toEnd();
    this.#showSuggestions();
  }

  remove(messageId) {
    const known = this.#messages.get(messageId);
    this.#messages.delete(messageId);
    this.#reactions.delete(messageId);
    const others = known ? this.#partsOf(known.message) : [];
    if (others.length) this.#render(others[0]);
    else known?.item.remove();
    this.#showSuggestions();
  }

  /** Write as the chat's user, or in a group as the selected one; returns false without a connection. */
  say(text) {
    return this.#send({ do: "say", chat: this.chat.id, user: this.#speaker(), text });
  }

  press(messageId, data) {
    return this.#send({ do: "press", chat: this.chat.id, user: this.#speaker(), message: messageId, data });
  }

  /** Press a button of the reply keyboard that sends a contact or a location, or opens a dialog. */
  pressKey(text) {
    return this.#send({ do: "key", chat: this.chat.id, user: this.#speaker(), text });
  }

  /** Set or remove a user's reaction to a message. */
  react(event) {
    this.#note(event);
    const known = this.#messages.get(event.message_id);
    if (known) this.#render(known.message);
  }

  /** Show that a call of the bot was refused. */
  refused({ method, code, reason }) {
    const text = `${method} was refused: ${code} ${reason}`;
    this.list.append(make("li", { class: "service", role: "alert" }, text));
    if (this.#followsEnd) this.#toEnd();
  }

  /** The user has blocked or unblocked the bot. */
  setBlocked(isBlocked) {
    this.isBlocked = isBlocked;
    this.form.hidden = isBlocked;
    this.unblock.hidden = !isBlocked;
    this.element.classList.toggle("blocked", isBlocked);
  }

  setWide(isWide) {
    this.element.classList.toggle("wide", isWide);
    this.widener.setAttribute("aria-pressed", String(isWide));
    this.#toEnd();
  }

  /** An inline query was sent in this chat. */
  asked(query) {
    if (this.#inline === "asked") this.#inline = query.id;
  }

  /** Show the bot's results; returns false if the query was sent by another page. */
  offer(queryId, results) {
    if (this.#inline === queryId) this.#showResults(results);
  }

  /** A button was pressed; it is shown as waiting until its query is answered. */
  wait(query) {
    const key = pressKey(query.message.message_id, query.data);
    const queries = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, queries.add(query.id));
    this.#mark(query.message.message_id);
    setTimeout(() => this.answered(query.id), ANSWER_TIMEOUT_MS);
  }

  answered(queryId) {
    for (const [key, queries] of this.#waiting) {
      if (!queries.delete(queryId) || queries.size) continue;
      this.#waiting.delete(key);
      this.#mark(Number(key.split(" ", 1)[0]));
    }
  }

  /** Show a short notice at the top of the chat. */
  toast(text) {
    const notice = make("p", { class: "toast" }, text);
    this.notices.append(notice);
    setTimeout(() => notice.remove(), TOAST_MS);
  }

  /** Show the draft of a message that grows, until the bot sends a message or DRAFT_MS have passed; null removes it. */
  draft(text) {
    clearTimeout(this.#draftTimer);
    this.#draft?.remove();
    this.#draft = null;
    if (text === null) return;
    this.#draft = make("li", { class: "service draft" }, text || "Thinking …");
    this.list.append(this.#draft);
    this.#draftTimer = setTimeout(() => this.draft(null), DRAFT_MS);
    if (this.#followsEnd) this.#toEnd();
  }

  typing(action) {
    this.#setTyping(action === "typing" ? "is typing …" : `is busy (${action.replaceAll("_", " ")}) …`);
  }

  /** Show the reply keyboard of a message, or remove it. */
  setKeyboard(markup) {
    this.#reply = markup?.keyboard ? markup : null;
    const rows = this.#reply?.keyboard ?? [];
    const buttonsOf = (row) => row.map((button) => this.#replyButton(button));
    this.keyboard.replaceChildren(...rows.map((row) => make("div", { class: "row" }, ...buttonsOf(row))));
    this.keyboard.hidden = !this.#reply;
  }

  /** The list of users has changed: in a group each of them may write. */
  offerSpeakers() {
    if (!this.isGroup) return;
    const chosen = this.speakers.value;
    const options = this.#world.people.map(({ id, first_name: name }) =>
      make("option", { value: id, selected: String(id) === chosen }, name),
    );
    this.speakers.replaceChildren(...options);
    write(this.about, `group of ${this.#world.people.length}`);
  }

  /** Put the item of a message, or of its album, into the list. */
  #render(message, isEdited = false) {
    const parts = this.#partsOf(message);
    const emoji = parts.flatMap((each) => [...(this.#reactions.get(each.message_id)?.values() ?? [])]);
    const item = bubble(parts, {
      isBot: this.#isBots(message),
      onPress: (data) => this.press(message.message_id, data),
      onCommand: (text) => this.say(text),
      onMenu: (button) => this.#openMessageMenu(button, parts),
      waiting: this.#waiting,
      reactions: emoji,
      pictures: this.#world.pictures,
    });
    if (isEdited) item.classList.add("edited");
    const old = parts.map((each) => this.#messages.get(each.message_id)?.item).find(Boolean);
    if (old) old.replaceWith(item);
    else this.list.append(item);
    for (const each of parts) this.#messages.get(each.message_id).item = item;
  }

  #partsOf({ message_id: id, media_group_id: group }) {
    if (group) return this.messages.filter((each) => each.media_group_id === group);
    const known = this.#messages.get(id);
    return known ? [known.message] : [];
  }

  #isBots(message) {
    return message.from?.id === this.#world.bot.id;
  }

  #note({ message_id: id, user_id: user, reaction }) {
    const byUser = this.#reactions.get(id) ?? new Map();
    this.#reactions.set(id, byUser);
    if (reaction.length) byUser.set(user, reaction.map((each) => each.emoji ?? "★").join(""));
    else byUser.delete(user);
  }

  #openMessageMenu(anchor, parts) {
    const [message] = parts;
    const id = message.message_id;
    const action = { chat: this.chat.id, user: this.#speaker(), message: id };
    const mine = this.#reactions.get(id)?.has(action.user);
    const items = REACTIONS.map((emoji) => ({
      label: emoji,
      title: `React with ${emoji}`,
      run: () => this.#send({ do: "react", ...action, emoji }),
    }));
    if (mine) items.push({ label: "Remove the reaction", run: () => this.#send({ do: "react", ...action, emoji: "" }) });
    const isOwn = message.from?.id === action.user && !message.via_bot;
    if (isOwn && (message.text || parts.some((each) => each.photo))) {
      items.push({ label: "Edit", run: () => this.#startEdit(parts.find((each) => each.caption) ?? message) });
    }
    openMenu(anchor, items);
  }

  #openChatMenu(anchor) {
    const action = { chat: this.chat.id, user: this.#speaker() };
    const sends = (what) => () => this.#send({ do: "send", ...action, what, caption: this.#takeCaption(what) });
    const items = [
      { label: "Photo", title: "The text in the box becomes the caption", run: sends("photo") },
      { label: "Photo from this computer …", run: () => this.#choosePhoto(action) },
      { label: "Album of three photos", run: sends("album") },
      { label: "Contact", run: sends("contact") },
      { label: "Location", run: sends("location") },
      { label: `Inline query: @${this.#world.bot.username} …`, run: () => this.#startInline() },
    ];
    if (!this.isGroup) {
      items.push({ label: "Stop the bot (block)", run: () => this.#send({ do: "block", user: this.chat.id, blocked: true }) });
    } else if (!this.isAdministrator) {
      items.push({ label: "Make the bot an administrator", run: () => this.#send({ do: "promote", ...action }) });
    }
    openMenu(anchor, items);
  }

  #choosePhoto(action) {
    const chooser = make("input", { type: "file", accept: "image/*" });
    chooser.addEventListener("change", async () => {
      try {
        const picture = await smallJpeg(chooser.files[0]);
        this.#send({ do: "send", ...action, what: "photo", picture, caption: this.#takeCaption("photo") });
      } catch {
        this.toast("This picture cannot be read.");
      }
    });
    chooser.click();
  }

  #takeCaption(what) {
    if (what !== "photo" && what !== "album") return "";
    const caption = this.box.value.trim();
    this.box.value = "";
    return caption;
  }

  #startInline() {
    this.box.value = `@${this.#world.bot.username} `;
    this.box.focus();
  }

  #startEdit(message) {
    this.#editing = message.message_id;
    this.box.value = message.text ?? message.caption ?? "";
    this.banner.hidden = false;
    this.box.focus();
  }

  /** Cancel an edit or an inline query; returns false if there is none. */
  cancel() {
    const isBegun = this.#editing || this.#inline;
    if (this.#editing) this.box.value = "";
    this.#editing = 0;
    this.banner.hidden = true;
    this.#showResults(null);
    return Boolean(isBegun);
  }

  /** Show the results of an inline query, a text about it, or nothing (null). */
  #showResults(results) {
    clearTimeout(this.#inlineTimer);
    this.results.hidden = results === null;
    if (results === null) {
      this.#inline = "";
      this.results.replaceChildren();
      return;
    }
    if (typeof results === "string" || !results.length) {
      this.results.replaceChildren(make("p", {}, results.length ? results : "The bot has no results."));
      return;
    }
    this.results.replaceChildren(...results.map((result) => this.#result(result)));
    this.results.firstChild.focus();
  }

  #result(result) {
    const query = this.#inline;
    const choose = () => {
      this.#send({ do: "choose", chat: this.chat.id, user: this.#speaker(), query, result: result.id });
      this.box.value = "";
      this.cancel();
      this.box.focus();
    };
    const title = result.title ?? result.caption ?? result.type;
    const about = result.description ? make("span", {}, result.description) : null;
    return make("button", { type: "button", onclick: choose }, make("b", {}, title), about);
  }

  #build() {
    this.about = make("span", { class: "about" }, this.isGroup ? "" : "private chat");
    this.list = make("ol", {
      class: "messages",
      role: "log",
      "aria-label": `Messages of ${this.name}`,
      tabindex: "0", // scrollable with the keyboard
      onscroll: () => this.#onScroll(),
      onkeydown: (event) => this.#onListKey(event),
    });
    new ResizeObserver(() => this.#followsEnd && this.#toEnd()).observe(this.list);
    this.notices = make("div", { class: "notices", role: "status" });
    this.suggestions = make("div", { class: "suggestions" });
    this.results = make("div", {
      class: "results",
      role: "group",
      "aria-label": "Results of the inline query",
      hidden: true,
      onkeydown: (event) => this.#onEscape(event) && this.box.focus(),
    });
    this.banner = make("p", { class: "banner", hidden: true }, "Editing your message. Escape cancels.");
    this.unblock = make(
      "button",
      {
        type: "button",
        class: "primary unblock",
        hidden: true,
        onclick: () => this.#send({ do: "block", user: this.chat.id, blocked: false }),
      },
      `${this.name} has stopped the bot. Let it write again`,
    );
    this.widener = make(
      "button",
      {
        type: "button",
        class: "widen",
        "aria-pressed": "false",
        "aria-label": `Full width of ${this.name}`,
        title: "Full width (f), back with Escape",
        onclick: () => this.#widen(this),
      },
      "⤢",
    );
    this.keyboard = make("div", { class: "keyboard reply", hidden: true });
    this.speakers = make("select", { "aria-label": `Write in ${this.name} as` });
    this.box = make("textarea", {
      rows: "1",
      maxlength: "4096",
      placeholder: this.isGroup ? "Message" : `Message as ${this.name}`,
      "aria-label": `Message in ${this.name}`,
      enterkeyhint: "send",
      onkeydown: (event) => this.#onKey(event),
    });
    const submit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    const plus = make("button", { type: "button", class: "plus", "aria-label": `More to send in ${this.name}`, title: "Photo, contact, inline query …" }, "+");
    plus.addEventListener("click", () => this.#openChatMenu(plus));
    this.form = make(
      "form",
      { onsubmit: submit },
      this.isGroup ? make("label", { class: "as" }, "as ", this.speakers) : null,
      plus,
      this.box,
      make("button", { class: "primary send", "aria-label": `Send in ${this.name}`, title: "Send (Enter)" }, "➤"),
    );
    this.element = make(
      "section",
      { class: this.isGroup ? "chat group" : "chat", "data-chat": this.chat.id, "aria-label": this.name },
      make("h2", {}, avatar(this.name, this.chat.id), make("span", { class: "name" }, this.name), this.about, this.widener),
      make("div", { class: "middle" }, this.list, this.suggestions, this.notices),
      this.keyboard,
      this.results,
      this.banner,
      this.form,
      this.unblock,
    );
    this.offerSpeakers();
    this.suggest();
  }

  /** Suggest the bot's commands. */
  suggest() {
    const texts = [...this.#world.commands.slice(0, COMMANDS_MAX), "Hello!"];
    this.suggestions.replaceChildren(
      make("p", {}, this.isGroup ? "Say something to the group." : `Be ${this.name}: say something to the bot.`),
      ...texts.map((text) => make("button", { type: "button", onclick: () => this.say(text) }, text)),
    );
  }

  /** Move between messages with the arrow keys; Enter opens the menu of one. */
  #onListKey(event) {
    const items = [...this.list.querySelectorAll(".message")];
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && items.length) {
      event.preventDefault();
      items[Math.max(0, Math.min(items.length - 1, at < 0 ? items.length - 1 : at + step))].focus();
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      items[at].querySelector(".dots-menu").click();
    }
  }

  #onKey(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit();
    } else {
      this.#onEscape(event);
    }
  }

  /** Cancel an edit or a query with Escape; returns whether there was one. */
  #onEscape(event) {
    const isCancelled = event.key === "Escape" && this.cancel();
    if (isCancelled) event.preventDefault();
    return isCancelled;
  }

  #submit() {
    const text = this.box.value.trim();
    if (!text) return;
    const name = `@${this.#world.bot.username}`;
    if (text === name || text.startsWith(`${name} `)) {
      this.#ask(text.slice(name.length).trim());
    } else if (this.#editing ? this.#sendEdit(text) : this.say(text)) {
      this.box.value = "";
      this.cancel();
      this.#toEnd();
    }
  }

  #sendEdit(text) {
    return this.#send({ do: "edit", chat: this.chat.id, user: this.#speaker(), message: this.#editing, text });
  }

  #ask(query) {
    this.#inline = "asked";
    this.#showResults("Asking the bot …");
    this.#inlineTimer = setTimeout(() => this.#showResults("The bot has not answered within 10 s."), INLINE_TIMEOUT_MS);
    if (!this.#send({ do: "ask", chat: this.chat.id, user: this.#speaker(), query })) this.cancel();
  }

  #toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  #onScroll() {
    this.#followsEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 80;
  }

  #speaker() {
    return this.isGroup ? Number(this.speakers.value) : this.chat.id;
  }

  #replyButton(button) {
    const text = typeof button === "string" ? button : button.text;
    const asks = Object.keys(button).some((name) => name.startsWith("request_") || name === "web_app");
    const press = () => {
      if ((asks ? this.pressKey(text) : this.say(text)) && this.#reply?.one_time_keyboard) this.setKeyboard(null);
    };
    return make("button", { type: "button", onclick: press }, text);
  }

  #mark(messageId) {
    const known = this.#messages.get(messageId);
    if (known) markWaiting(known.item, messageId, this.#waiting);
  }

  #setTyping(what) {
    clearTimeout(this.#typingTimer);
    if (what) this.#typingTimer = setTimeout(() => this.#setTyping(false), TYPING_MS);
    this.element.classList.toggle("typing", Boolean(what));
    if (what) write(this.about, `${this.#world.bot.first_name} ${what}`);
    else if (this.isGroup) this.offerSpeakers();
    else write(this.about, "private chat");
  }

  #showSuggestions() {
    this.suggestions.hidden = this.#messages.size > 0;
  }
}
