"""Small tokenizers of the three model families: real template, the family's special tokens and splitting rule, and a
byte-level BPE trained here in a moment on text like an episode's (the real vocabularies are not to be had offline)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEMPLATES = Path(__file__).parents[1] / "fixtures" / "chat_templates"

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_SPLIT = QWEN_SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|")
CORPUS = [
    '<think>The user wants the file moved.</think>\n<tool_call>[{"name": "mv", "arguments": {"source": "a.txt"}}]',
    "</tool_call>\n\n<answer>I have moved the file for you, and it is done.</answer>\n\n\n",
    'system\nuser\nassistant\n[{"error": "No such directory"}]\n  {"result": [1, 22, 333]}\n\n\tYou may go on.  \n',
]
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2.5": {
        "special": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        "plain": ["<tool_call>", "</tool_call>"],
        "split": QWEN_SPLIT,
        "roles": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    },
    "llama3.1": {
        "special": [
            *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
            *("<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
        ],
        "plain": [],
        "split": LLAMA_SPLIT,
        "roles": {
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "clean_up_tokenization_spaces": True,  # as in its tokenizer_config.json: decoding would drop spaces
        },
    },
    "smollm2": {
        "special": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<filename>"],
        "plain": [],
        "split": None,
        "roles": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
    },
}


def build_tokenizer(family: str) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    parts = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE())
    if family == "qwen2.5":
        tokenizer.normalizer = normalizers.NFC()
    if parts["split"]:
        splitters = [
            pre_tokenizers.Split(Regex(parts["split"]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        splitters = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splitters)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in parts["special"]])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in parts["plain"]])
    template = (TEMPLATES / f"{family}.jinja").read_text(encoding="utf-8")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **parts["roles"])


@pytest.fixture(scope="session")
def tokenizers() -> Callable[[str], Any]:
    """family -> its tokenizer, built once a session."""
    built: dict[str, Any] = {}

    def get(family: str) -> Any:
        if family not in built:
            built[family] = build_tokenizer(family)
        return built[family]

    return get
