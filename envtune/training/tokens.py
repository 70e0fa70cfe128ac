"""Conversations as token ids: what the model sampled stays as it is, everything around it comes from the chat template.

A multi-turn rollout must be trained on exactly the ids that were sampled. Decoding a conversation and tokenising it
again can give other ids, so it is only ever appended to: a reply as sampled, then the template's rendering of the
messages that follow it. For replies in canonical tokenisation the result equals the whole conversation rendered at
once, which the tests check after every step.

Why not verl 0.9.1's Continuous Token builders: verl picks one by the model type. SmolLM2's is "llama", whose builder
drops the newline that SmolLM2's template puts after <|im_end|>; and none of them closes a reply that ended on another
stop token than the template's own. Here both are read off the template itself, so there is no table of model families.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from envtune.errors import EnvtuneError

_MARK = "envtune-mark"  # a content that cannot be confused with a template's own text
_CONVERSATION = (
    {"role": "system", "content": "system"},
    {"role": "user", "content": "user"},
    {"role": "assistant", "content": _MARK},
)

Message = Mapping[str, str]


class ChatTokens:
    """The chat template of one tokenizer, as token ids.

    What the environment answers is not trusted: the spelling of a special token in it is broken by a space
    ("<|im_end|>" becomes "< |im_end|>"), so that a file which the model wrote and then prints cannot end a message or
    open another one. The opening messages hold only pinned text and are rendered as they are.
    """

    def __init__(self, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None) -> None:
        """tokenizer: a transformers tokenizer with a chat template. template_kwargs: more variables for the template.

        Raises EnvtuneError when the template does not close an assistant's message with a special token: there would
        then be no way to tell a finished reply from a truncated one.
        """
        self._tokenizer = tokenizer
        self._template_kwargs = dict(template_kwargs or {})
        special = sorted(_special_tokens(tokenizer), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")
        self._closed_text = self._render(_CONVERSATION)
        self._closing_text = self._closed_text.rpartition(_MARK)[2]
        closing_ids = self._encode(self._closing_text)
        if not closing_ids or self._tokenizer.decode(closing_ids[:1]) not in special:
            raise EnvtuneError(
                "the chat template does not end an assistant's message with a special token; "
                "use an instruction-tuned model's tokenizer and template"
            )
        self.end_id: int = closing_ids[0]
        self._end_ids = frozenset({self.end_id, tokenizer.eos_token_id})

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the first prompt: the messages and the header of the reply to come."""
        return self._encode(self._render(messages, add_generation_prompt=True))

    def following(self, reply_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """Ids between a reply (as sampled) and the next one: what closes the message, `messages`, the next header.

        The template's closing token is left out when the reply ends with it, what the template puts after it (Qwen's
        newline) never is.
        """
        defused = [{"role": message["role"], "content": self.defuse(message["content"])} for message in messages]
        rendered = self._render([*_CONVERSATION, *defused], add_generation_prompt=True)
        if not rendered.startswith(self._closed_text):
            raise EnvtuneError("the chat template rewrites earlier messages when one is added; rollouts cannot use it")
        ids = self._encode(self._closing_text + rendered[len(self._closed_text) :])
        return ids[1:] if list(reply_ids[-1:]) == [self.end_id] else ids

    def is_closed(self, reply_ids: Sequence[int]) -> bool:
        """Whether the reply ends with a token that ends a message."""
        return bool(reply_ids) and reply_ids[-1] in self._end_ids

    def text(self, reply_ids: Sequence[int]) -> str:
        """The reply as text, without the token that ended it; any other special token stays visible in it."""
        ids = list(reply_ids)
        if ids and self._special.fullmatch(self._tokenizer.decode(ids[-1:])):
            ids.pop()
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def defuse(self, text: str) -> str:
        """`text` with every special token's spelling broken by a space after its first character."""
        while self._special.search(text):
            text = self._special.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
        return text

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        return self._tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **self._template_kwargs,
        )

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


def _special_tokens(tokenizer: Any) -> set[str]:
    """Spellings that the tokenizer turns into a control token; added tokens that are plain text (<tool_call> in Qwen's
    vocabulary) are not among them. A spelling of one character cannot be broken and is no control token of a chat."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {token for token in added | set(tokenizer.all_special_tokens) if len(token) > 1}
