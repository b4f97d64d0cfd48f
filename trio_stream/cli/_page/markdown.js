// Markdown as nodes of the page: paragraphs, headings, lists, quotes, tables and code.
//
// What belongs here: the notation. What does not: when it is drawn (answer.js). Text becomes text nodes, and nothing
// else: no string is ever read as HTML. What is no notation stays as the model wrote it. A link is one only if it is
// to http or https.

const element = (name, ...children) => {
  const node = document.createElement(name);
  node.append(...children);
  return node;
};

const INLINE =
  /`([^`\n]+)`|\*\*(?=\S)([^\n]*?\S)\*\*(?!\*)|\*(?=[^\s*])([^*\n]*?[^\s*])\*(?!\*)|\[([^\]\n]+)\]\((https?:\/\/[^\s()<>"]+)\)/g;

const link = (label, address) => {
  const node = element("a", label);
  node.href = new URL(address).href;
  node.rel = "noopener noreferrer nofollow";
  node.target = "_blank";
  node.title = address;
  return node;
};

const inline = (text) => {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, strong, em, label, address] = match;
    let node;
    if (code !== undefined) node = element("code", code);
    else if (strong !== undefined) node = element("strong", ...inline(strong));
    else if (em !== undefined) node = element("em", ...inline(em));
    else if (URL.canParse(address)) node = link(label, address);
    else continue;
    nodes.push(text.slice(end, match.index), node);
    end = match.index + whole.length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
};

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^(#{1,6}) +(.+?)(?: +#+)?$/;
const ITEM = /^( {0,12})([-*+]|\d{1,9}[.)]) +(.*)$/;
const QUOTE = /^> ?(.*)$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const TABLE_RULE = /^\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$/;

const copyButton = (code) => {
  const button = element("button", "Copy");
  button.type = "button";
  button.className = "quiet copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
};

const codeBlock = (language, code) => {
  const pre = element("pre", element("code", code));
  pre.tabIndex = 0; // so that a keyboard can scroll it
  const title = element("figcaption", element("span", language || "code"));
  if (navigator.clipboard) title.append(copyButton(code)); // there is none at other machines, without TLS
  const figure = element("figure", title, pre);
  figure.className = "code";
  return figure;
};

const cells = (line) =>
  line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

const table = (lines) => {
  const row = (kind, line) => element("tr", ...cells(line).map((cell) => element(kind, ...inline(cell))));
  const body = element("tbody", ...lines.slice(2).map((line) => row("td", line)));
  const node = element("div", element("table", element("thead", row("th", lines[0])), body));
  node.className = "table";
  return node;
};

/** Make a list of its items: `[{depth, marker, lines}]`. Deeper items are a list within the one before. */
const list = (items) => {
  const first = items[0];
  const isOrdered = /\d/.test(first.marker);
  const node = element(isOrdered ? "ol" : "ul");
  if (isOrdered) node.start = parseInt(first.marker, 10);
  for (let index = 0; index < items.length; ) {
    const item = items[index++];
    const inner = [];
    while (index < items.length && items[index].depth > item.depth) inner.push(items[index++]);
    node.append(element("li", ...inline(item.lines.join("\n")), ...(inner.length ? [list(inner)] : [])));
  }
  return node;
};

/** The blocks of a text as nodes. */
export function nodesOf(source) {
  const lines = source.split("\n");
  const nodes = [];
  let at = 0;
  const takeWhile = (fits) => {
    const from = at;
    while (at < lines.length && fits(lines[at])) at++;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (!line.trim()) {
      at++;
    } else if ((match = FENCE.exec(line))) {
      at++;
      const [, fence, language] = match;
      const code = takeWhile((other) => !(other.trim().startsWith(fence) && !other.trim().replaceAll(fence[0], "")));
      at++;
      nodes.push(codeBlock(language.trim(), code.join("\n")));
    } else if ((match = HEADING.exec(line))) {
      at++;
      nodes.push(element(`h${Math.min(6, match[1].length + 2)}`, ...inline(match[2])));
    } else if (RULE.test(line)) {
      at++;
      nodes.push(element("hr"));
    } else if (QUOTE.test(line)) {
      const quoted = takeWhile((other) => QUOTE.test(other)).map((other) => QUOTE.exec(other)[1]);
      nodes.push(element("blockquote", ...nodesOf(quoted.join("\n"))));
    } else if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) {
      nodes.push(table(takeWhile((other) => other.includes("|"))));
    } else if (ITEM.test(line)) {
      const items = [];
      for (const other of takeWhile((other) => ITEM.test(other) || /^ {2,}\S/.test(other))) {
        const found = ITEM.exec(other);
        if (found) items.push({ depth: found[1].length, marker: found[2], lines: [found[3]] });
        else items.at(-1).lines.push(other.trim());
      }
      nodes.push(list(items));
    } else {
      at++;
      const more = takeWhile(
        (other) =>
          other.trim() && !FENCE.test(other) && !HEADING.test(other) && !QUOTE.test(other) && !ITEM.test(other),
      );
      nodes.push(element("p", ...inline([line, ...more].join("\n"))));
    }
  }
  return nodes;
}

/** Where the last block of a text begins that is whole, so that what comes before it need not be drawn again. */
export function settledEnd(source) {
  let fence = null;
  let end = 0;
  let at = 0;
  for (const line of source.split("\n")) {
    const match = FENCE.exec(line);
    if (fence === null && match) fence = match[1];
    else if (fence !== null && line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], "")) fence = null;
    at += line.length + 1;
    if (fence === null && !line.trim() && at <= source.length) end = at;
  }
  return end;
}
