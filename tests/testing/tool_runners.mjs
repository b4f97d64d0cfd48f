// Run by node (see test_tool_runners.py): the tool runner of the official TypeScript SDK does a task of two tools.
//
// Usage: node tool_runners.mjs BASE_URL FOLDER_WITH_NODE_MODULES

import { createRequire } from "node:module";

const [, , baseURL, folder] = process.argv;
const require = createRequire(`${folder}/`);
const { Anthropic } = require("@anthropic-ai/sdk");
const { betaTool } = require("@anthropic-ai/sdk/helpers/beta/json-schema");

const called = [];

function tool(name) {
  return betaTool({
    name,
    description: `The ${name} of a city.`,
    inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    run: async ({ city }) => {
      called.at(-1).push(name);
      return `${name} of ${city}`;
    },
  });
}

const client = new Anthropic({ apiKey: "test", baseURL, maxRetries: 0 });
const ways = {
  threads: {},
  "no threads": { thread: false },
  "one at a time": { tool_choice: { type: "auto", disable_parallel_tool_use: true } },
  streamed: { stream: true },
};
const answers = {};
for (const [way, options] of Object.entries(ways)) {
  called.push([]);
  const runner = client.beta.messages.toolRunner({
    model: "claude-sonnet-5-5",
    max_tokens: 1024,
    messages: [{ role: "user", content: "How are the weather and the tides in Lisbon?" }],
    tools: [tool("get_weather"), tool("get_tides")],
    ...options,
  });
  const message = await runner.runUntilDone();
  answers[way] = message.content.filter((block) => block.type === "text").map((block) => block.text);
}
console.log(JSON.stringify({ answers, called }));
