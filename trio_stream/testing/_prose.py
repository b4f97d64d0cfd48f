"""What the scripted model says.

What belongs here: sentences, with the words that call for them. What does not: choosing among them
(`_model`).
"""

from __future__ import annotations

OPENINGS: tuple[str, ...] = (
    "On “{prompt}”:",
    "You asked: “{prompt}” Here is how I see it.",
    "Good question: “{prompt}”",
    "About “{prompt}”, the short version.",
)

THOUGHTS: tuple[str, ...] = (
    (
        "The question is short, so the answer should be too. First what it is, then why it matters, then "
        "one picture that stays."
    ),
    ("What would help most here? Probably not a definition. I will start from what goes wrong without it."),
    ("Two things are being asked at once. I take the practical one first and let the principle follow from it."),
)

PARAGRAPHS: tuple[tuple[str, str], ...] = (
    (
        "nursery nurseries task tasks spawn child children concurrency",
        (
            "A nursery is a room with one door. Tasks are started inside it, they may run for as long as "
            "they like, and nobody leaves the room before the last of them is done. That is the whole "
            "idea, and it is enough: errors have somewhere to go, a cancellation knows whom to reach, and "
            "a function that returned has really finished."
        ),
    ),
    (
        "cancel cancelled cancellation timeout timeouts deadline stop interrupt scope",
        (
            "Cancellation in Trio is not a message to a task but a property of a block of code. You draw "
            "a scope around some work, and when its deadline passes, everything inside unwinds, innermost "
            "first, cleaning up as it goes. No flags to poll and no tasks to chase: the shape of the "
            "program already says what belongs together."
        ),
    ),
    (
        "stream streams streaming token tokens text sse event events llm",
        (
            "A streamed answer is a conversation with the network: a few bytes, a pause, a few more. The "
            "pleasant part is reading it as it comes. The careful part is knowing when it ended, and "
            "whether it ended or was merely cut. A message is whole when its last event says so; until "
            "then it is only what has arrived so far."
        ),
    ),
    (
        "error errors exception exceptions failure fail bug bugs group",
        (
            "An error in a background task should never be a rumour. With structured concurrency every "
            "task has a parent, so an exception travels up the tree like a return value would, past the "
            "siblings it cancels on its way, until somebody who can do something about it is found. Quiet "
            "failures are mostly a missing parent."
        ),
    ),
    (
        "asyncio compare versus difference differ anyio library libraries",
        (
            "Trio asks a question the older libraries leave open: when this function returns, is its work "
            "over? By refusing tasks without a parent it can always say yes. What you give up is the "
            "freedom to forget about a task; what you get is programs that can be read from the top to "
            "the bottom, and believed."
        ),
    ),
    (
        "river water sea rain weather storm ocean poem haiku nature",
        (
            "Rain on the hills, and a dozen small streams set out at once. Each keeps its own pace, none "
            "waits for another, and yet they all arrive: the river does not close until the last of them "
            "has come down. At the mouth the water is one thing again, in order, with nothing lost on the "
            "way. Then the evening is quiet."
        ),
    ),
    (
        "backpressure buffer buffers memory slow fast channel channels queue",
        (
            "Backpressure is politeness between tasks. A fast producer that never waits fills memory with "
            "things nobody has read; one that waits for its reader cannot. So keep the buffers small, let "
            "the slow side set the pace, and put the queue where somebody can see it. An unbounded buffer "
            "is only a delay with a surprise at its end."
        ),
    ),
    (
        "test tests testing clock mock flaky fake",
        (
            "A good test of concurrent code does not sleep; it moves the clock. When every wait goes "
            "through the same scheduler, ten minutes of timeouts pass in a millisecond and always in the "
            "same order. Then cancel the program at each of its steps, one after the other, and look what "
            "it left open. Boring results are the goal."
        ),
    ),
    (
        "batch many parallel fan gather hundred thousand prompts",
        (
            "A hundred prompts at once is not a hundred problems. Start each in a task of its own, let "
            "them share one limit, and collect what they say as it comes in. If one fails, you decide "
            "whether the others still matter. If you change your mind, one cancellation ends them all, "
            "and every connection is closed before you go on."
        ),
    ),
    (
        "tool tools agent agents function call weather search",
        (
            "A tool call is a small contract: the model says what it wants, the program does it, and the "
            "answer goes back under the same name. The delicate moment is being interrupted in between. "
            "Then it is best to tell the truth about each call: this one finished, this one had begun, "
            "and this one never started at all."
        ),
    ),
    (
        "structured structure program programs goto design architecture",
        (
            "Structured programming gave every jump a shape: a loop, a branch, a call that comes back. "
            "Structured concurrency does the same for tasks. Control splits in one place and joins in one "
            "place, and between the two lies a block you can see. Most of what makes concurrency hard "
            "turns out to have been the missing brackets."
        ),
    ),
    (
        "hello hi hey greetings thanks morning evening who",
        (
            "Hello! I am a scripted model: no weights, no billing, just a few paragraphs and a sense of "
            "timing. What you see arriving word by word comes over a real connection, at the pace a real "
            "model would keep. Ask me about nurseries, cancellation or streams, or interrupt me in the "
            "middle of a sentence; I will not mind."
        ),
    ),
)
"""Words that call for a paragraph, and the paragraph: 50 to 75 words each."""
