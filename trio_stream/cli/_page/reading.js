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

// A browser opens six connections to one server, for all of its tabs together: with six answers being read, not even
// Stop would get through. So four are read at a time, and the other tabs look now and then. A lock is shared by all
// tabs, and let go of by those that close.

const SEATS = 4;
const LOOK = 500; // milliseconds for which a tab without a seat reads
const LOOK_AFTER = 1000; // and until it looks again

const TAKEN = Symbol("taken");

async function withSeat(use) {
  if (!navigator.locks) return use(true); // not at this machine, and without TLS
  for (let seat = 0; seat < SEATS; seat++) {
    const options = { ifAvailable: true };
    const outcome = await navigator.locks.request(`seat ${seat}`, options, (lock) => (lock ? use(true) : TAKEN));
    if (outcome !== TAKEN) return outcome;
  }
  return use(false);
}

/**
 * Read an answer to its end. When the connection breaks, it goes on after the last event that came.
 *
 * `show` has the methods `event(data)`; `restart()`: what was shown is void, and comes again; `waiting(is)`: whether
 * the connection is away; and `gone(sentence)`: there is no more to come, and no event has said how it ended.
 */
export async function read(path, show, signal) {
  let last = null;
  let wait = SHORTEST_WAIT;

  /** Read as far as one response goes: to the end, to a break, or for a look. */
  async function readOn(hasSeat) {
    const look = new AbortController();
    const timer = hasSeat ? null : setTimeout(() => look.abort(), LOOK);
    try {
      const response = await request(path, {
        signal: AbortSignal.any([signal, look.signal]),
        headers: last === null ? {} : { "last-event-id": last },
      });
      if (response.status === 204) {
        show.gone(last === null ? "This answer is not kept any more." : "The answer was cut off.");
        return "ended";
      }
      if (!response.ok) {
        show.gone((await refusalOf(response)).message);
        return "ended";
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
        if (said.type === "run_end" || said.type === "error") return "ended";
      }
      return "broken";
    } catch (error) {
      if (signal.aborted) return "ended";
      if (look.signal.aborted) return "looked";
      if (error instanceof TypeError) return "broken"; // as `fetch` says it
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  while (!signal.aborted) {
    const how = await withSeat(readOn);
    if (how === "ended") return;
    if (how === "looked") {
      await pause(LOOK_AFTER, signal);
      continue;
    }
    show.waiting(true);
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}
