// Run by node (see tests/web/test_clients.py): the clients that pages use read what the encoders have made.
//
// Usage: node clients.mjs FOLDER_WITH_NODE_MODULES < cases.json
//
// A case is {client, frames, cut, status, type}: the frames of a response, which the client gets one by one from a
// `fetch` of its own; `cut`: the connection breaks after them. The answer is a list with what each client has made of
// its case, and with everything that it has warned of.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , folder] = process.argv;
const require = createRequire(`${folder}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const { AbstractChat, DefaultChatTransport, parseJsonEventStream, readUIMessageStream, uiMessageChunkSchema } =
  await load("ai");
const { HttpAgent } = await load("@ag-ui/client");
const { Anthropic } = require("@anthropic-ai/sdk");
const { MessageStream } = require("@anthropic-ai/sdk/lib/MessageStream");

// A stream that breaks rejects promises within the clients too, which nobody can wait for.
process.on("unhandledRejection", () => {});

let warnings = [];
console.warn = (...words) => warnings.push(words.map(String).join(" "));
console.error = () => {}; // the clients tell of the errors that they report as well

/** The response of a case, as fetch returns it. */
function response({ frames, cut, status = 200, type = "text/event-stream" }) {
  const bytes = new TextEncoder();
  const body = new ReadableStream({
    async pull(controller) {
      const frame = frames.shift();
      if (frame !== undefined) controller.enqueue(bytes.encode(frame));
      else if (cut) {
        await new Promise((resolve) => setTimeout(resolve, 1)); // the frames before it are read
        controller.error(new TypeError("network error"));
      }
      else controller.close();
    },
  });
  return new Response(body, { status, headers: { "content-type": type } });
}

/** The state of a chat, as `useChat` keeps it. */
class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages[index] = this.snapshot(message));
  snapshot = (thing) => structuredClone(thing);
}

class Chat extends AbstractChat {}

/** What a page with `useChat` shows. */
async function aiSDK(given) {
  const ran = [];
  const transient = [];
  let finish;
  const chat = new Chat({
    state: new State(),
    transport: new DefaultChatTransport({ fetch: async () => response(given) }),
    onToolCall: ({ toolCall }) => void ran.push({ id: toolCall.toolCallId, input: toolCall.input }),
    onData: (part) => transient.push(part),
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) =>
      (finish = { isAbort, isDisconnect, isError, finishReason }),
  });
  await chat.sendMessage({ text: "Hello" });
  const message = chat.messages.find(({ role }) => role === "assistant");
  return { status: chat.status, error: chat.error?.message, finish, message, ran, transient };
}

/** What a reader of UI messages has at the end, which goes on after errors. */
async function aiSDKReader(given) {
  const errors = [];
  let message;
  const chunks = parseJsonEventStream({ stream: response(given).body, schema: uiMessageChunkSchema }).pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        if (!chunk.success) throw chunk.error;
        controller.enqueue(chunk.value);
      },
    }),
  );
  const onError = (error) => errors.push(String(error.message ?? error));
  for await (const next of readUIMessageStream({ stream: chunks, onError })) message = next;
  return { errors, message };
}

/** What a page with an `HttpAgent` knows. */
async function agUI(given) {
  const agent = new HttpAgent({ url: "http://page.test/", threadId: "thread", fetch: async () => response(given) });
  const custom = [];
  let finish;
  let error;
  let runError;
  try {
    await agent.runAgent(
      { runId: "run" },
      {
        onRunFinishedEvent: ({ event, outcome, pendingToolCallIds, interrupts }) =>
          void (finish = { outcome, pendingToolCallIds, interrupts, usage: event.usage, metadata: event.metadata }),
        onRunErrorEvent: ({ event }) =>
          void (runError = { message: event.message, code: event.code, usage: event.usage }),
        onCustomEvent: ({ event }) => void custom.push({ name: event.name, value: event.value }),
      },
    );
  } catch (raised) {
    error = raised.message;
  }
  const { messages, pendingInterrupts } = agent;
  return { messages, finish, error, runError, custom, pendingInterrupts };
}

/** What a message stream of the API's own client has at its end. */
async function readMessage(stream) {
  const texts = [];
  stream.on("text", (text) => texts.push(text));
  try {
    const message = await stream.finalMessage();
    return { message, texts };
  } catch (raised) {
    return { error: raised.message, type: raised.error?.error?.type, status: raised.status, texts };
  }
}

const clients = {
  "ai-sdk": aiSDK,
  "ai-sdk-reader": aiSDKReader,
  "ag-ui": agUI,
  anthropic(given) {
    const fetch = async () => response(given);
    const client = new Anthropic({ apiKey: "test", baseURL: "http://page.test", maxRetries: 0, fetch });
    const messages = [{ role: "user", content: "Hello" }];
    return readMessage(client.messages.stream({ model: "claude-sonnet-5-5", max_tokens: 1024, messages }));
  },
  "json-lines": (given) => readMessage(MessageStream.fromReadableStream(response(given).body)),
};

let input = "";
for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
const answers = [];
for (const given of JSON.parse(input)) {
  warnings = [];
  answers.push({ ...(await clients[given.client](given)), warnings });
}
process.stdout.write(JSON.stringify(answers));
