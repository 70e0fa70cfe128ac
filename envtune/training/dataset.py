"""The rows that verl trains and validates on: one parquet file a stage, one for validation, and manifest.json.

    envtune data --profile cpu

A row says which episode to play, not how it goes: the agent loop makes the episode from the row's `environment`, so a
row is small and cannot disagree with the task it names (its content hash is checked). That column is a JSON string,
because parquet would merge the fields of nested columns over all rows.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envtune.bfcl import get_release
from envtune.environment import Episode
from envtune.environment.hints import NONE, hint_set
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, sha256_file, sha256_json
from envtune.profile import Profile
from envtune.provenance import provenance
from envtune.tasks import Task, cut_task, find_task, load_split, load_tasks
from envtune.training.config import AGENT_NAME, compose

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class EpisodeSpec:
    """Which episode a row asks for: the contract between the data and the agent loop.

    task_hash: of the task after it is cut; max_tools, tools_seed, max_turns: arguments of `cut_task`;
    reward: key of `envtune.rewards.REWARDS`; split: the subset the task was taken from; feedback, max_steps_per_turn,
    max_result_characters: as `Episode` takes them; hints_digest: of the hint set's words when the row was written.
    """

    release: str
    task_id: str
    task_hash: str
    max_tools: int | None
    tools_seed: int
    feedback: str
    reward: str
    max_steps_per_turn: int
    split: str
    max_result_characters: int | None = None
    hints_digest: str = NONE.digest
    max_turns: int | None = None

    def as_json(self) -> str:
        """One line of JSON, the row's `environment` column."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> EpisodeSpec:
        """The inverse of `as_json`. Raises EnvtuneError on anything else."""
        try:
            return EpisodeSpec(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise EnvtuneError(
                f"the data's `environment` column cannot be read ({error}); run `envtune data` again"
            ) from error

    def task(self) -> Task:
        """The task, as it is cut. Raises EnvtuneError when it is not the one that the row was written from."""
        task = get_task(self.release, self.task_id, self.max_tools, self.tools_seed, self.max_turns)
        if task.content_hash != self.task_hash:
            raise EnvtuneError(
                f"{self.task_id} is not the task that the data were written from; run `envtune data` again"
            )
        return task

    def episode(self) -> Episode:
        """The episode, not started. Raises EnvtuneError when the hints are not those that the row was written with."""
        episode = Episode(
            self.task(), self.feedback, self.max_steps_per_turn, max_result_characters=self.max_result_characters
        )
        if episode.hints.digest != self.hints_digest:
            raise EnvtuneError(
                f"the hints of {self.feedback!r} have other words than when the data were written; run `envtune data` again"
            )
        return episode


@functools.lru_cache(maxsize=1024)
def get_task(release: str, task_id: str, max_tools: int | None, tools_seed: int, max_turns: int | None = None) -> Task:
    """A task as it is cut, made once in a process (its ground truth is cached by it)."""
    return cut_task(find_task(task_id, release), max_tools, tools_seed, max_turns)


def write_data(profile: Profile) -> Path:
    """Write the rows of all stages and of validation into the profile's data folder; gives the folder.

    Validation is the same for every stage: the standard environment, scored by the progress reward. Raises EnvtuneError
    when the starting model's tokenizer cannot be had, or a prompt does not fit what the stages are configured for.
    """

    settings: dict[str, Any] = {
        "release": profile.release,
        **profile.tasks.cut,
        "max_result_characters": profile.tasks.max_result_characters,
    }
    files = {
        stage.name: select_specs(
            stage.data,
            reward=stage.reward,
            feedback=profile.feedback(stage),
            ids=profile.tasks.ids(stage.data),
            **settings,
        )
        for stage in profile.curriculum
    }
    configs = [
        compose(profile, stage, profile.start_model, len(files[stage.name])).data for stage in profile.curriculum
    ]
    files["validation"] = select_specs("validation", reward="progress", ids=profile.tasks.validation, **settings)
    write_files(
        profile.data_dir,
        files,
        _tokenizer(profile),
        min(config.max_prompt_length for config in configs),
        configs[0].apply_chat_template_kwargs,
    )
    return profile.data_dir


def select_specs(
    subset: str,
    *,
    release: str,
    reward: str,
    feedback: str = "none",
    ids: Sequence[str] | None = None,
    max_tools: int | None = None,
    tools_seed: int = 0,
    max_turns: int | None = None,
    max_steps_per_turn: int = 5,
    max_result_characters: int | None = None,
) -> list[EpisodeSpec]:
    """Specs of a subset's tasks (`envtune.tasks.load_tasks`), all of them or those named by `ids`, in that order.

    Raises EnvtuneError when an id is not in the subset: so no test task gets into training by a slip of a profile.
    """
    allowed = [task.id for task in load_tasks(release, subset)]
    if strangers := sorted(set(ids or ()) - set(allowed)):
        raise EnvtuneError(f"not in the subset {subset!r} of release {release!r}: {', '.join(strangers[:5])}")
    return [
        EpisodeSpec(
            release=release,
            task_id=task_id,
            task_hash=get_task(release, task_id, max_tools, tools_seed, max_turns).content_hash,
            max_tools=max_tools,
            tools_seed=tools_seed,
            feedback=hint_set(feedback).name,
            reward=reward,
            max_steps_per_turn=max_steps_per_turn,
            split=subset,
            max_result_characters=max_result_characters,
            hints_digest=hint_set(feedback).digest,
            max_turns=max_turns,
        )
        for task_id in (allowed if ids is None else ids)
    ]


def make_row(index: int, spec: EpisodeSpec) -> dict[str, Any]:
    """One row for verl's RLHFDataset. The prompt is what the episode opens with.

    data_source names the group that validation is reported for; ground_truth is what verl writes into its dumps (the
    task's id, since the reward needs more than a value to compare with).
    """
    episode = spec.episode()
    task, messages = episode.task, episode.start()
    return {
        "prompt": [{"role": message["role"], "content": message["content"]} for message in messages],
        "agent_name": AGENT_NAME,
        "data_source": f"bfcl_{task.release}_{task.category}",
        "reward_model": {"style": "rule", "ground_truth": task.id},
        "extra_info": {"index": index, "task_id": task.id, "split": spec.split},
        "environment": spec.as_json(),
    }


def check_prompts(rows: Iterable[Mapping[str, Any]], chat: Any, max_prompt_length: int) -> int:
    """Tokens of the longest prompt, as the agent loop will render it with `chat` (a ChatTokens).

    Raises EnvtuneError naming the rows over `max_prompt_length`: verl would cut their beginning off and go on.
    """
    lengths = {row["extra_info"]["task_id"]: len(chat.opening(row["prompt"])) for row in rows}
    over = {task_id: length for task_id, length in lengths.items() if length > max_prompt_length}
    if over:
        named = ", ".join(f"{task_id} ({length})" for task_id, length in list(over.items())[:5])
        raise EnvtuneError(
            f"{len(over)} prompts are longer than data.max_prompt_length ({max_prompt_length} tokens): {named}; "
            "raise it, cut tools with tasks.max_tools, turns with tasks.max_turns, or leave these tasks out"
        )
    return max(lengths.values())


def _tokenizer(profile: Profile) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(profile.start_model)
    except (OSError, ValueError) as error:
        raise EnvtuneError(
            f"the tokenizer of {profile.start_model} cannot be loaded; run `envtune setup-model --profile {profile.name}` "
            "first, or for a model of the hub see that it can be reached"
        ) from error


def write_files(
    folder: Path,
    files: Mapping[str, Sequence[EpisodeSpec]],
    tokenizer: Any,
    max_prompt_length: int,
    template_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `<name>.parquet` for each list of specs, then manifest.json; gives the manifest.

    Every prompt is checked before anything is written. A folder that holds these very data is left as it is.
    """
    from envtune.training.tokens import ChatTokens

    chat = ChatTokens(tokenizer, template_kwargs)
    settings = {name: _settings(specs) for name, specs in files.items()}
    rows = {name: [make_row(index, spec) for index, spec in enumerate(specs)] for name, specs in files.items()}
    content = {
        "max_prompt_length": max_prompt_length,
        "chat_template_sha256": sha256_json(tokenizer.get_chat_template()),
        "split": {"name": load_split().name, "sha256": load_split().sha256},
        "files": {
            name: {
                "rows": len(rows[name]),
                "rows_sha256": sha256_json(rows[name]),
                "longest_prompt": check_prompts(rows[name], chat, max_prompt_length),
                "tasks": {spec.task_id: spec.task_hash for spec in specs},
                **settings[name],
            }
            for name, specs in files.items()
        },
    }
    old = _read_manifest(folder)
    if all(old.get(key) == value for key, value in content.items()) and _files_are_as_written(folder, old):
        return old
    for name in files:
        write_parquet(folder / f"{name}.parquet", rows[name])
    hashes = {f"{name}.parquet": sha256_file(folder / f"{name}.parquet") for name in files}
    manifest = {**content, "sha256": hashes, "provenance": provenance()}
    with atomic_write(folder / MANIFEST) as stream:
        stream.write(json.dumps(manifest, indent=2) + "\n")
    return manifest


def _settings(specs: Sequence[EpisodeSpec]) -> dict[str, Any]:
    """What all specs of one file agree on, and the release with its wheel's hash."""
    names = tuple(name for name in EpisodeSpec.__dataclass_fields__ if name not in ("task_id", "task_hash"))
    values = {name: {getattr(spec, name) for spec in specs} for name in names}
    if not specs or any(len(found) > 1 for found in values.values()):
        raise EnvtuneError("a file of rows needs at least one task, and the same settings for all of them")
    settings = {name: found.pop() for name, found in values.items()}
    return {**settings, "wheel_sha256": get_release(settings["release"]).sha256}


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest; empty when there is none, or none that can be read (the data are then written again)."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _files_are_as_written(folder: Path, manifest: Mapping[str, Any]) -> bool:
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == sha256
        for name, sha256 in manifest["sha256"].items()
    )


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    with atomic_write(path, "wb") as stream:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), stream)
