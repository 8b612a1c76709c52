// Requests to the bot. The CSRF token comes with the session, and goes with each POST.

/** The answer is no: `status` and one line. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

let csrf = "";

/** What only looks. */
export function look(name, params = {}) {
  return ask(`api/${name}?${new URLSearchParams(params)}`);
}

/** What changes or shows something. */
export function act(name, params = {}) {
  return ask(`api/${name}`, params);
}

/** The session: {who, may_write}; `who` is null if there is none. */
export async function session() {
  return keep(await ask("api/session"));
}

export async function login(secret) {
  return keep(await ask("login", { secret }));
}

export async function logout() {
  await ask("logout", {});
  csrf = "";
}

function keep(answer) {
  csrf = answer.csrf;
  return answer;
}

async function ask(path, body) {
  const options = { credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const data = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, data.error ?? `status ${answer.status}`);
  return data;
}
