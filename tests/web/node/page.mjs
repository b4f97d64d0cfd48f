// Run by node (see tests/web/test_documented_pages.py): the code of docs/web-clients.md, as in a page of a server.
//
// Usage: node page.mjs FOLDER_WITH_NODE_MODULES ORIGIN < blocks.json
//
// The answer is a list with what each block has logged, what its page shows in the end, and its error, if it has one.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , folder, origin] = process.argv;
const require = createRequire(`${folder}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const AsyncFunction = (async () => {}).constructor;

// What a page has that node has not.
const nodeFetch = globalThis.fetch;
globalThis.fetch = (url, options = {}) => {
  // A connection of its own for each request: the server of a test closes idle ones at once.
  const headers = new Headers(options.headers);
  headers.set("connection", "close");
  return nodeFetch(new URL(url, origin), { ...options, headers });
};
globalThis.location = new URL(origin);

let input = "";
for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
const answers = [];
for (const block of JSON.parse(input)) {
  const logged = [];
  globalThis.document = { body: { textContent: "" } };
  const source = block
    .replace(/^import (\w+) from ("[^"]+");$/gm, "const { default: $1 } = await load($2);")
    .replace(/^import (\{.*\}) from ("[^"]+");$/gm, "const $1 = await load($2);");
  let error;
  try {
    await new AsyncFunction("load", "console", source)(load, { log: (...words) => logged.push(words.join(" ")) });
  } catch (raised) {
    error = String(raised);
  }
  answers.push({ logged, shown: document.body.textContent, error });
}
process.stdout.write(JSON.stringify(answers));
