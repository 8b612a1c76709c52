// A WebSocket that reconnects by itself; the server sends a new snapshot after each connect.

const RETRY_MS = [300, 1000, 2000, 3000];
const RECONNECT_SOONER = ["online", "focus", "visibilitychange"];

export class Connection {
  #onMessage;
  #onState;
  #socket = null;
  #failures = 0;
  #timer = 0;

  /** `onMessage` gets each message as an object, `onState` gets "connecting", "open" or "lost". */
  constructor(onMessage, onState) {
    this.#onMessage = onMessage;
    this.#onState = onState;
    for (const name of RECONNECT_SOONER) {
      window.addEventListener(name, () => this.#timer && this.#connect());
    }
    this.#onState("connecting");
    this.#connect();
  }

  /** Send an action; returns false without a connection. */
  send(action) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(action));
    return true;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    // The key is new at each start of the bot.
    fetch("key")
      .then((answer) => answer.text())
      .then((key) => this.#open(key))
      .catch(() => this.#retry());
  }

  #retry() {
    this.#onState("lost");
    const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #open(key) {
    const socket = new WebSocket(`ws://${location.host}/live?key=${key}`);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#failures = 0;
      this.#onState("open");
    });
    socket.addEventListener("message", (event) => this.#onMessage(JSON.parse(event.data)));
    socket.addEventListener("close", () => this.#retry());
  }
}
