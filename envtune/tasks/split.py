"""Which task is for what: the committed split, by name and hash."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from envtune.bfcl import CATEGORIES
from envtune.files import sha256_json

# subset -> (list in the file, categories)
_SUBSETS = MappingProxyType(
    {
        "train": ("train", CATEGORIES),
        "all": ("train", CATEGORIES),
        "base": ("train", ("base",)),
        "stage1": ("stage1", ("base",)),
        "validation": ("validation", CATEGORIES),
        "heldout": ("heldout", CATEGORIES),
    }
)
SPLITS = (*_SUBSETS, "test")


@dataclass(frozen=True)
class Split:
    """Task ids of each subset.

    subsets: name -> frozenset of ids. train = all (400), base (the 100 base ones of them), stage1 (75 easy ones of
    those), test (the other 400) = validation (100) + heldout (300, never looked at while training).
    sha256: of the lists, so that a record can say which split it used.
    """

    name: str
    sha256: str
    subsets: Mapping[str, frozenset[str]]


@functools.cache
def load_split() -> Split:
    """The split that this kit uses, from split_public_rerun.json beside this file (which says where it is from)."""
    data = json.loads(resources.files("envtune.tasks").joinpath("split_public_rerun.json").read_text("utf-8"))
    subsets = {
        name: frozenset(f"multi_turn_{c}_{n}" for c in categories for n in data["numbers"][listed])
        for name, (listed, categories) in _SUBSETS.items()
    }
    subsets["test"] = subsets["validation"] | subsets["heldout"]
    return Split(data["name"], sha256_json(data["numbers"]), MappingProxyType(subsets))
