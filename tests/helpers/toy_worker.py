"""A benchmark of two prepared and four scored items, as a worker: what the suites of other packages have in common.

"first" and "second" write a file that "one" to "three" need; "four" needs nothing. An item passes when the model says its
name; what it says also decides what happens: "crash" ends the process, "raise" raises.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import openai

from envtune.evaluation.upstream.serve import Item, Job, Result, Unavailable, serve


class Toy:
    """See `envtune.evaluation.upstream.serve.Benchmark`."""

    def versions(self) -> Mapping[str, str]:
        return {"toy": "1"}

    def items(self) -> list[Item]:
        return [
            Item("first", "kept", "a", "0", scored=False),
            Item("second", "kept", "a", "0", after=("first",), scored=False),
            *(Item(name, "kept", "a", "0", after=("second",)) for name in ("one", "two", "three")),
            Item("four", "alone", "b", "0"),
        ]

    def run(self, job: Job) -> Result:
        client = openai.OpenAI(base_url=job.base_url, api_key="none", max_retries=0)
        tool = {"type": "function", "function": {"name": "note", "description": "d", "parameters": {"type": "object"}}}
        messages: list[Any] = [{"role": "system", "content": "A toy."}, {"role": "user", "content": f"Item {job.item}"}]
        try:
            reply = client.chat.completions.create(model=job.model, messages=messages, tools=[tool])  # type: ignore[list-item]
        except openai.BadRequestError:
            return Result(False, error_type="toy:inference_error")
        said = reply.choices[0].message
        if said.tool_calls:
            call = said.tool_calls[0]
            messages += [said.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "ok"}]
            reply = client.chat.completions.create(model=job.model, messages=messages, tools=[tool])  # type: ignore[list-item]
        text = reply.choices[0].message.content or ""
        if text == "crash":
            os._exit(3)
        if text == "raise":
            raise RuntimeError("as it was told")
        if job.item in ("first", "second"):
            (job.folder / job.item).write_text(text)
            return Result(True)
        if job.item != "four" and not (job.folder / "second").exists():
            raise RuntimeError("nothing was prepared")
        right = text == job.item
        return Result(
            right, 1.0 if right else 0.25, None if right else "toy:wrong", None, {"answer_characters": len(text)}
        )

    def scripts(self) -> dict[str, Any]:
        call = {"calls": [{"name": "note", "arguments": {"text": "x"}}]}
        return {item.id: {"agent": [call, {"text": item.id}]} for item in self.items()}


def make(options: Mapping[str, Any]) -> Toy:
    """The benchmark, or a complaint."""
    if options.get("unavailable"):
        raise Unavailable("the toy is in another room")
    if options.get("broken"):
        raise ValueError("the toy is broken")
    return Toy()


if __name__ == "__main__":
    serve(make)
