"""A server with a page that shows an answer as it is written: a reload in mid-answer goes on, and Stop stops.

It needs `pip install "hypercorn[trio]" starlette`. Open 127.0.0.1:8000 in a browser, and ask.
"""

import os

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

import trio_stream as ts
from trio_stream import web

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")
PORT = int(os.environ.get("PORT", "8000"))

PAGE = """<!doctype html><meta charset="utf-8"><title>Ask</title>
<form><input name="text" autofocus> <button>Ask</button> <button type="button">Stop</button></form>
<p style="white-space: pre-wrap"></p>
<script>
const [form] = document.forms, out = document.querySelector("p");
const read = async (response) => {
  const parts = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "", part; parts && !(part = await parts.read()).done; ) {
    const frames = (rest + part.value).split("\\n\\n");
    rest = frames.pop();
    for (const frame of frames) show(JSON.parse(frame.slice(frame.indexOf("data: ") + 6)));
  }
};
const show = (event) => {  // as text, never as HTML
  if (event.type === "message_start") out.textContent = "";
  if (event.type === "content_block_delta") out.textContent += event.delta.text ?? "";
  if (event.type === "error") out.textContent += ` [${event.error.message}]`;
};
form.onsubmit = (event) => {
  event.preventDefault();
  fetch("/ask", {method: "POST", body: JSON.stringify(form.text.value)}).then(read);
};
form.querySelector("[type=button]").onclick = () => fetch("/stop", {method: "POST"});
fetch("/answer").then(read);  // what is being written at the moment
</script>"""


async def main() -> None:
    async with ts.Client() as client, web.Hub(grace=10) as hub:

        async def page(_request: Request) -> Response:  # noqa: ASYNC124 - Starlette has plain ones run in threads
            return HTMLResponse(PAGE)

        async def ask(request: Request) -> web.Respondent:
            messages: list[ts.MessageParam] = [{"role": "user", "content": await request.json()}]
            hub.stop("answer", "There is another question.")
            await hub.until_done("answer")
            hub.start(
                "answer", client.messages.stream(model=MODEL, max_tokens=1024, messages=messages), web.Anthropic()
            )
            return hub.attach("answer")

        async def answer(_request: Request) -> web.Respondent:  # noqa: ASYNC124
            return hub.attach("answer")

        async def stop(_request: Request) -> Response:  # noqa: ASYNC124
            hub.stop("answer", "Stopped.")
            return Response(status_code=204)

        routes = [Route("/", page), Route("/answer", answer)]
        routes += [Route(path, do, methods=["POST"]) for path, do in (("/ask", ask), ("/stop", stop))]
        print(f"open 127.0.0.1:{PORT} in a browser", flush=True)
        config = Config.from_mapping(bind=[f"127.0.0.1:{PORT}"])
        await hypercorn.trio.serve(Starlette(routes=routes), config)  # type: ignore[arg-type]


if __name__ == "__main__":
    trio.run(main)
