// Talking to the server: requests, and reading an answer to its end whatever happens to the connection.
//
// What belongs here: bytes and connections. What does not: what an event means (answer.js).

const token = document.querySelector("meta[name=token]").content;

const SHORTEST_WAIT = 250; // milliseconds until the next attempt, doubled after each
const LONGEST_WAIT = 4000;

/** A refusal or failure that the server has put in words. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const request = (path, options = {}) =>
  fetch(path, {
    cache: "no-store",
    ...options,
    headers: { "x-trio-stream-token": token, "content-type": "application/json", ...options.headers },
  });

const refusalOf = async (response) => {
  const body = await response.json().catch(() => null);
  return new Refusal(body?.error?.message ?? `The server answered with ${response.status}.`, response.status);
};

const json = async (response) => {
  if (!response.ok) throw await refusalOf(response);
  return response.json();
};

export const get = async (path) => json(await request(path));
export const post = async (path, body = {}) =>
  json(await request(path, { method: "POST", body: JSON.stringify(body) }));

/** The events of a response: section 9.2.6 of WHATWG HTML, as far as this server uses it. */
async function* framesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (let part; !(part = await reader.read()).done; ) {
      const frames = (rest + part.value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const fields = {};
        for (const line of frame.split("\n")) {
          const colon = line.indexOf(": ");
          if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
        }
        if (fields.data !== undefined) yield fields;
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // whoever stops reading wants no more
  }
}

const follows = (id, last) => {
  const [epoch, number] = (id ?? "").split("-");
  const [lastEpoch, lastNumber] = last.split("-");
  return epoch === lastEpoch && Number(number) === Number(lastNumber) + 1;
};

/** Wait, but no longer than the network is away. */
const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
  });

/**
 * Read an answer to its end. When the connection breaks, it goes on after the last event that came.
 *
 * `show` has the methods `event(data)`; `restart()`: what was shown is void, and comes again; `waiting(is)`: whether
 * the connection is away; and `gone(sentence)`: there is no more to come, and no event has said how it ended.
 */
export async function read(path, show, signal) {
  let last = null;
  let wait = SHORTEST_WAIT;
  while (!signal.aborted) {
    try {
      const response = await request(path, { signal, headers: last === null ? {} : { "last-event-id": last } });
      if (response.status === 204) {
        show.gone(last === null ? "This answer is not kept any more." : "The answer was cut off.");
        return;
      }
      if (!response.ok) {
        show.gone((await refusalOf(response)).message);
        return;
      }
      let isFirst = true;
      for await (const { id, event, data } of framesOf(response.body)) {
        show.waiting(false);
        wait = SHORTEST_WAIT;
        if (event === "ping") continue;
        if (isFirst && last !== null && !follows(id, last)) show.restart();
        isFirst = false;
        last = id ?? last;
        const said = JSON.parse(data);
        show.event(said);
        if (said.type === "run_end" || said.type === "error") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TypeError)) throw error; // a TypeError is what a broken connection raises
    }
    show.waiting(true);
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}
