// The page: conversations, the message to send, and what keys do.
//
// What belongs here: what the user does. What does not: an answer (answer.js), and reading it (reading.js).
//
// The server holds the conversations, so every tab shows the same. Tabs of one browser tell each other at once; others
// see by looking, every few seconds.

import { Answer } from "./answer.js";
import { get, post, read } from "./reading.js";

const LOOK_EVERY = 2000; // milliseconds

const find = (selector) => document.querySelector(selector);
const talk = find("#talk");
const turns = find("#turns");
const welcome = find("#welcome");
const words = find("#words");
const send = find("#send");
const stop = find("#stop");
const notice = find("#notice");
const status = find("#status");
const latest = find("#latest");
const others = new BroadcastChannel("trio-stream");

let chat = null; // the id of the conversation that is shown
let shown = new Map(); // its answers, by the numbers of their turns
let reading = new AbortController(); // ends the reading of all of them
let isSending = false;

// Scrolling: the end stays in sight for whoever is there, and nobody is moved who reads further up.

const isAtEnd = () => talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
const toEnd = () => (talk.scrollTop = talk.scrollHeight);

function drawn(change) {
  const stays = isAtEnd();
  change();
  if (stays) toEnd();
  latest.hidden = isAtEnd();
}

talk.addEventListener("scroll", () => (latest.hidden = isAtEnd()));
latest.addEventListener("click", () => {
  toEnd();
  words.focus();
});

// Showing.

const lastAnswer = () => [...shown.values()].at(-1);
const isLive = () => lastAnswer() !== undefined && !lastAnswer().hasEnded;

function showState() {
  const live = isLive();
  send.hidden = live;
  stop.hidden = !live;
  send.disabled = isSending || !words.value.trim();
  welcome.hidden = shown.size > 0;
  for (const answer of shown.values()) answer.offersAgain(answer === lastAnswer() && !isSending);
}

const complain = (error) => {
  notice.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
};

/** Do something that may fail, and say so if it does. */
async function attempt(action) {
  notice.textContent = "";
  try {
    return await action();
  } catch (error) {
    complain(error);
    return null;
  }
}

function add({ number, question }) {
  const id = chat;
  const answer = new Answer(question, {
    drawn,
    ask: (call, allowed) => attempt(() => post(`/api/chats/${id}/decide`, { id: call, allowed })),
    again: () => act(() => post(`/api/chats/${id}/again`)),
    announce: (sentence) => (status.textContent = sentence),
    ended: (sentence) => {
      if (answer === lastAnswer()) status.textContent = sentence;
      showState();
      listQuietly();
    },
  });
  shown.set(number, answer);
  drawn(() => turns.append(answer.node));
  answer.isRead = read(`/api/chats/${id}/turns/${number}`, answer, reading.signal);
}

/** Show what the server has of this conversation: new questions, and none that were asked again. */
async function look() {
  const id = chat;
  if (id === null) return;
  const found = await get(`/api/chats/${id}`);
  if (id !== chat) return;
  const numbers = new Set(found.turns.map((turn) => turn.number));
  for (const [number, answer] of shown) {
    if (numbers.has(number)) continue;
    answer.node.remove();
    shown.delete(number);
  }
  document.title = `${found.title} – trio-stream`;
  for (const turn of found.turns) if (!shown.has(turn.number)) add(turn);
  showState();
}

async function list() {
  const { chats, model, real, tools } = await get("/api/chats");
  const badge = find("#model");
  badge.textContent = real ? `${model} – real, costs money` : "Scripted model – no key, no cost";
  badge.dataset.real = real;
  welcome.querySelector("p").textContent = real
    ? `You talk to ${model}. Every answer is paid for.`
    : "A script answers here, about Trio and streams. Start it with --real to talk to a model.";
  offerIdeas(real ? [] : tools);
  const items = chats.map(({ id, title, live }) => {
    const link = document.createElement("a");
    link.href = `#${id}`;
    link.textContent = title;
    if (id === chat) link.setAttribute("aria-current", "page");
    if (live) link.dataset.live = "";
    const item = document.createElement("li");
    item.append(link);
    return item;
  });
  // Drawn only if it has changed: whoever has the focus on one of them keeps it.
  const drawing = JSON.stringify([chats, chat]);
  if (drawing === list.drawn) return;
  list.drawn = drawing;
  find("#chats ul").replaceChildren(...items);
}

function offerIdeas(tools) {
  const ideas = ["What is a nursery?", "Show me an example with code."];
  if (tools.includes("clock")) ideas.push("What time is it?");
  if (tools.includes("roll_dice")) ideas.push("Roll the dice for me.");
  const place = welcome.querySelector(".ideas");
  if (place.childElementCount) return;
  for (const idea of ideas) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = idea;
    button.addEventListener("click", () => ask(idea));
    place.append(button);
  }
}

async function open(id) {
  reading.abort();
  reading = new AbortController();
  chat = id;
  shown = new Map();
  turns.replaceChildren();
  document.title = "trio-stream";
  showState();
  if (id !== null) {
    try {
      await look();
    } catch (error) {
      if (error.status === 404) location.replace("#"); // of an earlier start of the server
      complain(error);
    }
  }
  toEnd();
  await attempt(list);
}

// Doing.

/** Do something to this conversation, and show what became of it, here and in other tabs. */
async function act(action) {
  if (isSending) return false;
  isSending = true;
  showState();
  const done = await attempt(action);
  isSending = false;
  await attempt(look);
  others.postMessage("changed");
  await attempt(list);
  return done !== null || false;
}

async function ask(text) {
  if (isLive() || isSending || !text.trim()) return;
  status.textContent = "The model is answering.";
  const asked = act(async () => {
    if (chat === null) {
      const { id } = await post("/api/chats");
      chat = id;
      history.replaceState(null, "", `#${id}`);
    }
    return post(`/api/chats/${chat}/ask`, { messages: [{ role: "user", content: text }] });
  });
  if (words.value === text) words.value = "";
  fit();
  if (!(await asked) && !words.value) words.value = text;
  toEnd();
  fit();
  showState();
}

async function stopAnswer() {
  if (isLive()) await attempt(() => post(`/api/chats/${chat}/stop`));
}

function fit() {
  words.style.height = "auto";
  words.style.height = `${words.scrollHeight}px`;
}

find("#composer").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(words.value);
});
words.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask(words.value);
});
words.addEventListener("input", () => {
  fit();
  showState();
});
stop.addEventListener("click", () => {
  stopAnswer();
  words.focus();
});

const nav = find("#chats");
const menu = find("#menu");
const openMenu = (is) => {
  nav.classList.toggle("open", is);
  menu.setAttribute("aria-expanded", String(is));
};
menu.addEventListener("click", () => openMenu(!nav.classList.contains("open")));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (nav.classList.contains("open")) {
    openMenu(false);
    menu.focus();
  } else stopAnswer();
});
find("#new").addEventListener("click", () => {
  location.hash = "";
  openMenu(false);
  words.focus();
});

const hashId = () => location.hash.slice(1) || null;
addEventListener("hashchange", () => {
  openMenu(false);
  if (hashId() !== chat) open(hashId());
});

// Other tabs, and other browsers.

// A look that fails says nothing: an answer that is being read tells of a lost connection itself, and so does a button.
const listQuietly = () => list().catch(() => {});
const lookQuietly = async () => {
  if (isSending) return;
  await look().catch(() => {});
  await listQuietly();
};
others.addEventListener("message", lookQuietly);
document.addEventListener("visibilitychange", () => document.hidden || lookQuietly());
setInterval(() => document.hidden || lookQuietly(), LOOK_EVERY);

await open(hashId());
words.focus();
