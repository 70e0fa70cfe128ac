"""The models that training starts from.

    prepare.py             what a profile asks for, put in place
    smollm2.py             SmolLM2-135M-Instruct from the package index, as a Hugging Face checkpoint
    toy_conversations.py   synthetic conversations in the reply format, with made-up tools
    warm_start.py          a few supervised steps on them
    tiny.py                a tiny random model for tests
    checkpoint.py          the files of a model folder

Importing this package loads neither torch nor transformers.
"""

from envtune.models.prepare import prepare_model

__all__ = ["prepare_model"]
