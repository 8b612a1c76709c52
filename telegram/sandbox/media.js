// Attachments of a message: photos, locations, contacts, files.

import { make } from "./dom.js";

const SIDE_MAX = 800; // in pixels, the size of Telegram's photos

/** Pictures by file id. The server sends them as data: URLs, the only kind that the page's policy allows. */
export class Pictures {
  #ask;
  #urls = new Map(); // file id -> data: URL, "" for other files
  #waiting = new Map(); // file id -> elements

  /** `ask(fileId)` requests one from the server. */
  constructor(ask) {
    this.#ask = ask;
  }

  /** Returns an element that is replaced by the picture; `label`: its description. */
  show(fileId, label) {
    const place = make("span", { class: "picture" }, label);
    if (this.#urls.has(fileId)) {
      fill(place, this.#urls.get(fileId), label);
    } else {
      const others = this.#waiting.get(fileId);
      this.#waiting.set(fileId, [...(others ?? []), place]);
      if (!others) this.#ask(fileId);
    }
    return place;
  }

  /** The server has sent a picture. */
  arrived(fileId, url) {
    this.#urls.set(fileId, url);
    for (const place of this.#waiting.get(fileId) ?? []) fill(place, url, place.textContent);
    this.#waiting.delete(fileId);
  }

  /** Drop open requests after a lost connection: they will not be answered. */
  forget() {
    this.#waiting.clear();
  }
}

function fill(place, url, label) {
  if (!url) return;
  const image = make("img", { src: url, alt: label });
  image.addEventListener("error", () => place.replaceChildren(label)); // a file without real content
  place.replaceChildren(image);
}

/** Returns the elements of `parts`, the messages of an album or a single one. */
export function media(parts, pictures) {
  const shown = parts.flatMap((message) => one(message, pictures));
  const photos = shown.filter((each) => each.classList.contains("picture"));
  if (photos.length < 2) return shown;
  const others = shown.filter((each) => !photos.includes(each));
  return [make("div", { class: "album" }, ...photos), ...others];
}

function one(message, pictures) {
  const { photo, sticker, contact, location, venue, dice, poll, document, video, animation, audio, voice } = message;
  if (photo) return [pictures.show(photo.at(-1).file_id, "Photo")];
  if (sticker) return [pictures.show(sticker.file_id, `Sticker ${sticker.emoji ?? ""}`)];
  if (contact) return [card("Contact", `${contact.first_name} ${contact.last_name ?? ""}`, contact.phone_number)];
  if (venue) return [card("Venue", venue.title, venue.address)];
  if (location) return [card("Location", `${location.latitude}, ${location.longitude}`)];
  if (dice) return [card("Dice", `${dice.emoji} ${dice.value}`)];
  if (poll) return [card("Poll", poll.question, ...poll.options.map((each) => `${each.text}: ${each.voter_count}`))];
  for (const [name, file] of Object.entries({ Animation: animation, Video: video, Audio: audio, Voice: voice })) {
    if (file) return [card(name, file.file_name ?? "", `${file.duration ?? 0} s`)];
  }
  if (document) return [card("File", document.file_name ?? "document", `${document.file_size ?? "?"} bytes`)];
  return [];
}

function card(kind, ...lines) {
  const texts = lines.filter((line) => line.trim());
  return make("div", { class: "thing" }, make("span", { class: "kind" }, kind), ...texts.map((line) => make("span", {}, line)));
}

/** Converts an image file to a JPEG in base64, scaled down to SIDE_MAX. Rejects for other files. */
export async function smallJpeg(file) {
  const image = await createImageBitmap(file);
  const scale = Math.min(1, SIDE_MAX / Math.max(image.width, image.height));
  const side = (length) => Math.max(1, Math.round(length * scale));
  const canvas = make("canvas", { width: side(image.width), height: side(image.height) });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8).split(",")[1];
}
