"""ACEBench's agent tasks: the files of one commit of https://github.com/ACEBench/ACEBench (MIT), and their records.

A named folder (or ENVTUNE_ACEBENCH) is read where there is one, otherwise the files are fetched once. Either way each
file's SHA-256 has to be the one below, so that everyone is scored on the same tasks. Both environments can import this.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.errors import EnvtuneError
from envtune.files import atomic_write, cache_dir, read_jsonl, sha256_file

COMMIT = "e6db74b735ead22c24f27367606a9408573b848f"
SOURCE = "https://raw.githubusercontent.com/ACEBench/ACEBench"
FOLDER = "ENVTUNE_ACEBENCH"
STRATA = ("agent_multi_step", "agent_multi_turn")  # upstream's order
FETCH_SECONDS = 60.0

SHA256 = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                "data_agent_multi_step.json": "c04b7561a2a5b31b3c4fd3067807ab4e0a7907f5a72cd5ec987da3469eac1fe9",
                "data_agent_multi_turn.json": "0380631f379510fad4aab885b9679cfe99e66cf3a01e92f570f9180141f637d0",
                "possible_answer/data_agent_multi_step.json": (
                    "7086bf7d704e1ce2426cfbd63606a7a00fc92aab77d9973517a5536883e3c179"
                ),
                "possible_answer/data_agent_multi_turn.json": (
                    "ad077af54920d614438c28b3c7483d556b1a732d0dd0973c867e497c7c0a828b"
                ),
            }
        ),
        "zh": MappingProxyType(
            {
                "data_agent_multi_step.json": "dcf74daf8dce797c1c86cbcf54e6fd63d6b83425d50bc7076ad98810b14b6b68",
                "data_agent_multi_turn.json": "847df81f26e188e7c1eff8d010acf5f3c415cbe3a89ebc414efee013dc81c06e",
                "possible_answer/data_agent_multi_step.json": (
                    "4ca297f2c1d5f8eee3a45cd3e7d8cce7f2bb89d1f22a8e12fd033f6c50a7069b"
                ),
                "possible_answer/data_agent_multi_turn.json": (
                    "ea11d8cc8fdef39660699ec219b0eef71d261226f8018ed6c35571206e53ec00"
                ),
            }
        ),
    }
)


def acebench_files(folder: Path | None, language: str) -> dict[str, Path]:
    """The language's four files by their names upstream ("data_agent_multi_step.json", "possible_answer/data_…").

    folder: holds <language>/ or the repository's own data_all/data_<language>/; None: what ENVTUNE_ACEBENCH names, else
    the cache. Raises EnvtuneError where a file is missing, cannot be fetched, or is not the one of the pinned commit.
    """
    if language not in SHA256:
        raise EnvtuneError(f"ACEBench has no language {language!r}; name one of {', '.join(SHA256)}")
    named = folder or (Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
    if named is None:
        return {name: _fetched(language, name, sha256) for name, sha256 in SHA256[language].items()}
    here = _data_folder(named, language)
    for name, sha256 in SHA256[language].items():
        if not (here / name).is_file():
            raise EnvtuneError(f"{here / name}: there is no such file; name a folder with all of ACEBench's agent data")
        if sha256_file(here / name) != sha256:
            raise EnvtuneError(f"{here / name}: is not the file of ACEBench {COMMIT[:7]}; check out that commit")
    return {name: here / name for name in SHA256[language]}


def acebench_records(files: Mapping[str, Path], strata: Sequence[str]) -> list[dict[str, Any]]:
    """One record a task, in the form of evalscope's data set: the question's fields, and `rubric` with the answer's
    `ground_truth` (end state) and `mile_stone` (calls)."""
    records = []
    for stratum in STRATA:
        if stratum not in strata:
            continue
        answers = {answer["id"]: answer for _, answer in read_jsonl(files[f"possible_answer/data_{stratum}.json"])}
        for _, question in read_jsonl(files[f"data_{stratum}.json"]):
            answer = answers[question["id"]]
            rubric = {"ground_truth": answer["ground_truth"], "mile_stone": answer["mile_stone"]}
            records.append({**question, "rubric": rubric})
    return records


def _data_folder(folder: Path, language: str) -> Path:
    """Where in a named folder the language's files lie."""
    for inside in (language, f"data_all/data_{language}", f"data_{language}"):
        if (folder / inside).is_dir():
            return folder / inside
    raise EnvtuneError(
        f"{folder}: holds neither {language}/ nor data_all/data_{language}/; name a checkout of ACEBench or its data"
    )


def _fetched(language: str, name: str, sha256: str) -> Path:
    """The cached file, fetched when it is not there (or not whole)."""
    path = cache_dir() / "acebench" / COMMIT / language / name
    if path.is_file() and sha256_file(path) == sha256:
        return path
    address = f"{SOURCE}/{COMMIT}/data_all/data_{language}/{name}"
    try:
        with urllib.request.urlopen(address, timeout=FETCH_SECONDS) as answer:
            content = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise EnvtuneError(
            f"{address} cannot be fetched ({getattr(error, 'reason', error)}); "
            f"name a folder with ACEBench's data in the option `data` or in {FOLDER}"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EnvtuneError(f"{address} gave another file than the pinned one; name a folder with the data in {FOLDER}")
    with atomic_write(path, "wb") as stream:
        stream.write(content)
    return path
