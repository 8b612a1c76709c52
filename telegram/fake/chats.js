// The chats side by side: a panel each, with its messages, its reply keyboard and a box to write in.

import { bubble, markWaiting, pressKey } from "./bubbles.js";
import { avatar, make, write } from "./dom.js";

const MESSAGES_MAX = 200;
const TYPING_MS = 5000;
const ANSWER_TIMEOUT_MS = 60000;
const TOAST_MS = 4000;
const SUGGESTIONS = ["/start", "/help", "Hello!"];

/** One chat. `world` has `bot` and `people`; `send(wish)` is false while there is no connection. */
export class ChatPanel {
  #world;
  #send;
  #messages = new Map(); // message id -> {message, item}
  #waiting = new Map(); // press key -> ids of queries without an answer
  #typingTimer = 0;
  #followsEnd = true; // until somebody scrolls up
  #reply = null; // the reply keyboard's markup

  constructor(chat, world, send) {
    this.chat = chat;
    this.name = chat.title ?? chat.first_name;
    this.isGroup = chat.type !== "private";
    this.#world = world;
    this.#send = send;
    this.#build();
  }

  get messages() {
    return [...this.#messages.values()].map(({ message }) => message);
  }

  /** Start over with what the server remembers; what is being written stays. */
  reset(messages, keyboard) {
    this.#messages.clear();
    this.#waiting.clear();
    this.list.replaceChildren();
    this.#setTyping(false);
    this.setKeyboard(keyboard);
    for (const message of messages) this.show(message);
    this.#toEnd();
    this.#showSuggestions();
  }

  /** A new message, or the new version of one that is here. */
  show(message) {
    const isBot = message.from.id === this.#world.bot.id;
    const item = bubble(message, {
      isBot,
      onPress: (data) => this.press(message.message_id, data),
      onCommand: (text) => this.say(text),
      waiting: this.#waiting,
    });
    const known = this.#messages.get(message.message_id);
    if (known) {
      if (message.edit_date) item.classList.add("edited");
      known.item.replaceWith(item);
    } else {
      this.list.append(item);
    }
    this.#messages.set(message.message_id, { message, item });
    if (this.#messages.size > MESSAGES_MAX) this.remove(this.#messages.keys().next().value);
    if (isBot) this.#setTyping(false);
    if (this.#followsEnd) this.#toEnd();
    this.#showSuggestions();
  }

  remove(messageId) {
    this.#messages.get(messageId)?.item.remove();
    this.#messages.delete(messageId);
    this.#showSuggestions();
  }

  /** Write as the chat's person, or in a group as the chosen one; false while there is no connection. */
  say(text) {
    return this.#send({ do: "say", chat: this.chat.id, user: this.#speaker(), text });
  }

  press(messageId, data) {
    return this.#send({ do: "press", chat: this.chat.id, user: this.#speaker(), message: messageId, data });
  }

  /** Press a key in place of the letters that sends a contact or a place, or opens something. */
  pressKey(text) {
    return this.#send({ do: "key", chat: this.chat.id, user: this.#speaker(), text });
  }

  /** A button was pressed: it waits until its query is answered. */
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

  /** A short notice on top of the chat. */
  toast(text) {
    const notice = make("p", { class: "toast" }, text);
    this.notices.append(notice);
    setTimeout(() => notice.remove(), TOAST_MS);
  }

  typing(action) {
    this.#setTyping(action === "typing" ? "is typing …" : `is busy (${action.replaceAll("_", " ")}) …`);
  }

  /** Show the reply keyboard of a message, or take it away. */
  setKeyboard(markup) {
    this.#reply = markup?.keyboard ? markup : null;
    const rows = this.#reply?.keyboard ?? [];
    const buttonsOf = (row) => row.map((button) => this.#replyButton(button));
    this.keyboard.replaceChildren(...rows.map((row) => make("div", { class: "row" }, ...buttonsOf(row))));
    this.keyboard.hidden = !this.#reply;
  }

  /** The people have changed: in a group each of them may write. */
  offerSpeakers() {
    if (!this.isGroup) return;
    const chosen = this.speakers.value;
    const options = this.#world.people.map(({ id, first_name: name }) =>
      make("option", { value: id, selected: String(id) === chosen }, name),
    );
    this.speakers.replaceChildren(...options);
    write(this.about, `group of ${this.#world.people.length}`);
  }

  #build() {
    this.about = make("span", { class: "about" }, this.isGroup ? "" : "private chat");
    this.list = make("ol", {
      class: "messages",
      role: "log",
      "aria-label": `Messages of ${this.name}`,
      tabindex: "0", // so that the keyboard can scroll it
      onscroll: () => this.#onScroll(),
    });
    new ResizeObserver(() => this.#followsEnd && this.#toEnd()).observe(this.list);
    this.notices = make("div", { class: "notices", role: "status" });
    this.suggestions = make(
      "div",
      { class: "suggestions" },
      make("p", {}, this.isGroup ? "Say something to the group." : `Be ${this.name}: say something to the bot.`),
      ...SUGGESTIONS.map((text) => make("button", { type: "button", onclick: () => this.say(text) }, text)),
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
    this.element = make(
      "section",
      { class: this.isGroup ? "chat group" : "chat", "data-chat": this.chat.id, "aria-label": this.name },
      make("h2", {}, avatar(this.name, this.chat.id), make("span", { class: "name" }, this.name), this.about),
      make("div", { class: "middle" }, this.list, this.suggestions, this.notices),
      this.keyboard,
      make(
        "form",
        { onsubmit: submit },
        this.isGroup ? make("label", { class: "as" }, "as ", this.speakers) : null,
        this.box,
        make("button", { class: "primary send", "aria-label": `Send in ${this.name}`, title: "Send (Enter)" }, "➤"),
      ),
    );
    this.offerSpeakers();
  }

  #onKey(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit();
    }
  }

  #submit() {
    const text = this.box.value.trim();
    if (text && this.say(text)) {
      this.box.value = "";
      this.#toEnd();
    }
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
