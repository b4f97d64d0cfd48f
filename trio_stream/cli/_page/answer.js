// One question and its answer, as it is written: text, thinking folded, and the calls of tools.
//
// What belongs here: what an event becomes on the page. What does not: where events come from (reading.js), and the
// conversation around it (page.js). All text goes into text nodes.

import { nodesOf, settledEnd } from "./markdown.js";

const DRAW_AFTER = 40; // milliseconds for which pieces of text are collected

const element = (name, className, ...children) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
};

const folded = (className, title) => {
  const summary = element("summary", "", title);
  const node = element("details", className, summary);
  return { node, summary };
};

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

const prettyInput = (input) => (Object.keys(input).length ? pretty(input) : "no input");

/** The content of a tool's result, as text. */
const resultText = (content) => {
  if (!Array.isArray(content)) return pretty(content ?? "");
  return content.map((block) => (block.type === "text" ? block.text : pretty(block))).join("\n");
};

/** A text that grows. Blocks of it that are whole stay; the last one is drawn anew. */
class GrowingText {
  constructor(onDrawn) {
    this.node = element("div", "text");
    this.tail = element("div", "tail");
    this.node.append(this.tail);
    this.onDrawn = onDrawn;
    this.rest = ""; // what the tail shows
    this.timer = null;
  }

  add(piece) {
    this.rest += piece;
    this.timer ??= setTimeout(() => this.draw(), DRAW_AFTER);
  }

  draw() {
    clearTimeout(this.timer);
    this.timer = null;
    this.onDrawn(() => {
      const end = settledEnd(this.rest);
      if (end) this.tail.before(...nodesOf(this.rest.slice(0, end)));
      this.rest = this.rest.slice(end);
      this.tail.replaceChildren(...nodesOf(this.rest));
    });
  }
}

/** A text that is shown as it is: thinking, and the input of a tool. */
class PlainText {
  constructor() {
    this.node = element("pre", "plain");
  }

  add(piece) {
    this.node.append(piece);
  }

  draw() {}
}

class Call {
  constructor(id, name, ask) {
    this.ask = ask;
    this.state = element("span", "state", "");
    const { node, summary } = folded("call", "");
    summary.append(element("code", "", name), " ", this.state);
    this.node = element("div", "tool", node);
    this.input = new PlainText();
    this.details = node;
    node.append(element("h4", "", "Input"), this.input.node);
    this.questions = new Map();
    this.says("is being called");
  }

  says(words, kind = "") {
    this.state.textContent = words;
    this.node.dataset.state = kind;
  }

  starts(input) {
    this.input.node.textContent = prettyInput(input);
    this.settle();
    this.says("is running");
  }

  /** Ask whether a call may run: this one, or one of an agent within it. */
  asks(id, name, input) {
    if (this.questions.has(id)) return;
    const allow = element("button", "", "Allow");
    const deny = element("button", "quiet", "Do not allow");
    const words = element("p", "", "May ", element("code", "", name), " run?");
    const box = element("div", "question", words, element("pre", "plain", prettyInput(input)), allow, " ", deny);
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `May ${name} run?`);
    for (const [button, isAllowed] of [[allow, true], [deny, false]]) {
      button.type = "button";
      button.addEventListener("click", () => {
        allow.disabled = deny.disabled = true;
        this.ask(id, isAllowed);
      });
    }
    this.questions.set(id, box);
    this.node.append(box);
    this.says("waits for you", "asks");
  }

  settle() {
    for (const box of this.questions.values()) box.remove();
  }

  stops(isError, content) {
    this.settle();
    this.says(isError ? "failed" : "done", isError ? "failed" : "done");
    this.details.append(element("h4", "", isError ? "Error" : "Result"), element("pre", "plain", resultText(content)));
  }
}

export class Answer {
  /**
   * `hooks`: `drawn(change)` makes a change to the page; `ask(id, isAllowed)` tells the server; `again()` is the
   * button; `ended(sentence)`, and `announce(sentence)` for those who listen.
   */
  constructor(question, hooks) {
    this.hooks = hooks;
    this.body = element("div", "body");
    this.foot = element("p", "foot");
    this.article = element("article", "answer", element("h3", "unseen", "Answer"), this.body, this.foot);
    const asked = element("div", "question-text", question);
    const heading = element("h3", "unseen", "You");
    this.node = element("section", "turn", element("div", "asked", heading, asked), this.article);
    this.restart();
  }

  restart() {
    this.body.replaceChildren();
    this.blocks = new Map();
    this.calls = new Map();
    this.turnNodes = [];
    this.hasEnded = false;
    this.text = ""; // as the model wrote it
    this.article.setAttribute("aria-busy", "true");
    this.says("", "waits");
  }

  says(sentence, kind = "") {
    this.foot.replaceChildren(sentence);
    this.article.dataset.state = kind;
  }

  waiting(is) {
    if (is === (this.article.dataset.state === "away") || this.hasEnded) return;
    if (is) this.says("The connection is away. Trying again …", "away");
    else this.says("", "writes");
  }

  gone(sentence) {
    this.end(sentence, "failed");
  }

  event(said) {
    if (this.article.dataset.state === "waits" && said.type !== "turn_start") this.says("", "writes");
    switch (said.type) {
      case "turn_start":
        this.turnNodes = [];
        this.blocks.clear();
        break;
      case "turn_restart":
        for (const node of this.turnNodes) node.remove();
        this.turnNodes = [];
        this.says(`${said.error.message} It is asked again.`, "waits");
        break;
      case "message_start":
        this.blocks.clear();
        break;
      case "content_block_start":
        this.blockStarts(said.index, said.content_block);
        break;
      case "content_block_delta":
        this.blockGrows(this.blocks.get(said.index), said.delta);
        break;
      case "content_block_stop":
        this.blockStops(this.blocks.get(said.index));
        break;
      case "tool_start":
        this.calls.get(said.id)?.starts(said.input);
        break;
      case "tool_progress":
        this.calls.get(said.id)?.says(pretty(said.progress));
        break;
      case "approval":
        this.asks(this.calls.get(said.id), said);
        break;
      case "nested":
        this.nested(said);
        break;
      case "tool_stop":
        this.calls.get(said.id)?.stops(said.is_error, said.result.content);
        break;
      case "run_end":
        this.runEnds(said);
        break;
      case "error":
        if (said.error.type === "interrupted") this.end(said.error.message, "stopped");
        else this.end(said.error.message, "failed");
        break;
    }
  }

  add(node) {
    this.turnNodes.push(node);
    this.hooks.drawn(() => this.body.append(node));
  }

  blockStarts(index, block) {
    let view;
    if (block.type === "text") {
      view = { grows: new GrowingText(this.hooks.drawn), block };
      this.add(view.grows.node);
      if (block.text) this.write(view, block.text);
    } else if (block.type === "thinking") {
      const { node, summary } = folded("thinking", "Thinking …");
      view = { grows: new PlainText(), block, summary };
      node.append(view.grows.node);
      this.add(node);
      if (block.thinking) view.grows.add(block.thinking);
    } else if (block.type === "tool_use" || block.type.endsWith("_tool_use")) {
      const call = new Call(block.id, block.name, this.hooks.ask);
      this.calls.set(block.id, call);
      view = { grows: call.input, block };
      this.add(call.node);
    } else if (this.calls.has(block.tool_use_id)) {
      const content = block.content;
      const isError = block.is_error === true || (content?.type ?? "").endsWith("_error");
      this.calls.get(block.tool_use_id).stops(isError, content);
      view = { block };
    } else {
      const { node } = folded("other", block.type.replaceAll("_", " "));
      if (block.type !== "redacted_thinking") node.append(element("pre", "plain", pretty(block)));
      view = { block };
      this.add(node);
    }
    this.blocks.set(index, view);
  }

  write(view, piece) {
    this.text += piece;
    view.grows.add(piece);
  }

  blockGrows(view, delta) {
    if (!view?.grows) return;
    if (delta.type === "text_delta") this.write(view, delta.text);
    else if (delta.type === "thinking_delta") view.grows.add(delta.thinking);
    else if (delta.type === "input_json_delta") view.grows.add(delta.partial_json);
  }

  blockStops(view) {
    view?.grows?.draw();
    if (view?.summary) view.summary.textContent = "Thought";
  }

  asks(call, { id, name, input }) {
    if (!call) return;
    this.hooks.drawn(() => call.asks(id, name, input));
    this.hooks.announce(`May ${name} run? Choose Allow or Do not allow.`);
  }

  /** An event of an agent within a call. Its own calls are told by the call around it. */
  nested(said) {
    const call = this.calls.get(said.id);
    let inner = said.event;
    while (inner.type === "nested") inner = inner.event;
    if (inner.type === "approval") this.asks(call, inner);
    else if (inner.type === "tool_start") {
      call?.settle();
      call?.says(`calls ${inner.name}`);
    }
  }

  runEnds({ outcome, tokens, cost }) {
    const used = `${tokens.toLocaleString()} tokens in this conversation`;
    const costs = cost === null ? used : `${used}, $${cost.toFixed(4)}`;
    switch (outcome) {
      case "completed":
        this.end(costs, "complete");
        break;
      case "truncated":
        this.end("The answer is as long as it may be.", "stopped");
        break;
      case "refused":
        this.end("The model does not answer this.", "failed");
        break;
      default:
        this.end("The answer ended early.", "failed");
    }
  }

  end(sentence, kind) {
    this.hasEnded = true;
    for (const view of this.blocks.values()) this.blockStops(view);
    for (const call of this.calls.values()) {
      call.settle();
      if (!["done", "failed"].includes(call.node.dataset.state)) call.says("has not run", "failed");
    }
    this.hooks.drawn(() => this.says(sentence, kind));
    this.article.setAttribute("aria-busy", "false");
    this.hooks.ended(kind === "complete" ? "The answer is complete." : sentence);
  }

  /** Offer to ask again, which only the last question can be. */
  offersAgain(does) {
    const has = this.foot.querySelector("button");
    const may = does && this.hasEnded && ["stopped", "failed"].includes(this.article.dataset.state);
    if (!may) has?.remove();
    else if (!has) {
      const button = element("button", "quiet", "Try again");
      button.type = "button";
      button.addEventListener("click", () => this.hooks.again());
      this.foot.append(" ", button);
    }
  }
}
