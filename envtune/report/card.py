"""`envtune model-card`: the model card of a run's last measured checkpoint, for the Hugging Face hub.

YAML front matter (https://huggingface.co/docs/hub/model-cards), then Markdown. A result is in the front matter only when
it has a value, and its name says under which protocol it was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from envtune.curriculum import ARMS
from envtune.files import atomic_write
from envtune.profile import Profile
from envtune.report.collect import Collected, collect, setting_text
from envtune.run_record.show import duration
from envtune.tables.rows import Row, blocks
from envtune.viewer.text import visible

CARD = "model_card.md"
PAPER = "https://arxiv.org/abs/2510.10197"
_BFCL = "gorilla-llm/Berkeley-Function-Calling-Leaderboard"  # the benchmark's id on the hub
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_TAGS = (
    "arxiv:2510.10197",
    "environment-tuning",
    "function-calling",
    "grpo",
    "reinforcement-learning",
    "tool-use",
    "verl",
)
# a profile's `model.source` that is no id on the hub -> the released model that it comes from
_BASES = MappingProxyType({"smollm2-warm-start": "HuggingFaceTB/SmolLM2-135M-Instruct"})


def write_model_card(profile: Profile, out: Path | None = None) -> Path:
    """Write the card, into results/<profile>/model_card.md without `out`, and give its path.

    Raises EnvtuneError on a file of the run or of its results that is there and cannot be read.
    """
    path = profile.results_dir / CARD if out is None else out
    text = model_card(collect(profile))
    with atomic_write(path) as stream:
        stream.write(text)
    return path


def model_card(collected: Collected) -> str:
    """The card's text."""
    rows = list(_last_rows(collected))
    front = yaml.safe_dump(_front(collected, rows), sort_keys=False, allow_unicode=True, width=10_000)
    parts = [_about(collected), _training(collected), _evaluation(collected, rows), _limits(collected)]
    return f"---\n{front}---\n\n" + "\n\n".join("\n".join(part) for part in parts) + "\n"


def _last_rows(collected: Collected) -> Iterator[Row]:
    """The last checkpoint's rows, one a suite and protocol."""
    for block in blocks(collected.runs):
        yield from (row for row in block if row.checkpoint == collected.last_checkpoint)


def _name(collected: Collected) -> str:
    return f"envtune-{collected.profile.run_dir.name}"


def base_model(profile: Profile) -> str | None:
    """The id on the hub of the released model that the run comes from; None for a local folder."""
    name = _BASES.get(str(profile.model.get("source"))) or str(profile.model.get("path", ""))
    return name if _HUB_ID.fullmatch(name) else None


def _front(collected: Collected, rows: Sequence[Row]) -> dict[str, Any]:
    base = base_model(collected.profile)
    front: dict[str, Any] = {
        **({} if base is None else {"base_model": base}),
        "datasets": [_BFCL],
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **_license(collected.profile, base),
        "tags": list(_TAGS),
    }
    results = [entry for row in rows for entry in _results(row)]
    if results:
        front["model-index"] = [{"name": _name(collected), "results": results}]
    return front


def _license(profile: Profile, base: str | None) -> dict[str, str]:
    """The profile's `model.license`, an id of the hub's; without one the card says that it is the base model's."""
    if isinstance(profile.model.get("license"), str):
        return {"license": profile.model["license"]}
    link = {} if base is None else {"license_link": f"https://huggingface.co/{base}"}
    return {"license": "other", "license_name": "as-the-base-model", **link}


def _results(row: Row) -> Iterator[dict[str, Any]]:
    """The accuracy of each stratum that was run to its end, in percent."""
    identity = row.identity
    protocol = ", ".join(
        [
            f"protocol {identity['protocol']['name']}",
            *([f"release {identity['release']}"] if identity.get("release") else []),
            *(f"{key} {value}" for key, value in identity["decoding"].items() if key != "seed"),
        ]
    )
    for stratum in identity["items"]:
        accuracy = row.accuracy(stratum)
        if accuracy.mean is not None:
            counts = f"{row.count(stratum, 'passed')} of {row.count(stratum, 'items')} passed, {len(row.runs)} run(s)"
            yield {
                "task": {"type": "text-generation", "name": "Tool use"},
                "dataset": {
                    "type": identity["suite"],
                    "name": visible(f"{identity['suite']} {stratum} ({protocol})"),
                    "config": stratum,
                },
                "metrics": [
                    {
                        "type": "accuracy",
                        "value": round(accuracy.mean, 2),
                        "name": visible(f"accuracy in % ({counts}; {protocol})"),
                    }
                ],
            }


def _about(collected: Collected) -> list[str]:
    profile = collected.profile
    arm = ARMS[profile.arm]
    lines = [
        f"# {_name(collected)}",
        "",
        f"{base_model(profile) or 'A local model'} after Environment Tuning ([paper]({PAPER})), trained with the reproduction kit envtune: profile "
        f"`{profile.name}`, arm `{arm.name}`, seed {profile.seed}. {arm.about}",
    ]
    if profile.about:
        lines += ["", f"**{_plain(profile.about)}**"]
    if collected.last_checkpoint is not None:
        lines += ["", f"The checkpoint is `{collected.last_checkpoint}`, the last one that was measured."]
    return lines


def _training(collected: Collected) -> list[str]:
    lines = ["## Training", ""]
    record = collected.record
    if record is None:
        return [*lines, collected.missing["record"]]
    code, totals = record["code"], record["totals"]
    changed = ", with changes that were not committed" if code.get("dirty") else ""
    lines += [
        f"- State: {record['run']['status']}; from {record['run']['began'] or 'not known'} to {record['run']['ended'] or 'not known'}",
        f"- Code: commit `{code.get('commit') or 'not known'}`{changed}",
    ]
    for key, name in (("gpu_hours", "GPU-hours"), ("core_hours", "core-hours")):
        if totals[key] is not None:
            lines.append(f"- Cost: {totals[key]:,.2f} {name}, {duration(totals['seconds_spent'])} in all attempts")
    head = "| Stage | Aim | Tasks | Reward | Environment | Steps | State | Weights (sha256) |"
    lines += ["", head, "|---" * 8 + "|"]
    for stage in record["stages"]:
        cells = [stage[key] for key in ("name", "aim", "data", "reward", "feedback", "steps", "status")]
        sha = stage["model_sha256"]
        lines.append(f"| {' | '.join(map(_plain, cells))} | {f'`{sha[:16]}`' if sha else ''} |")
    lines += ["", "Settings that are not the paper's:", ""]
    stages = len(collected.profile.curriculum)
    if collected.departures:
        lines += ["| Setting | Stages | Paper | Here | Why |", "|---" * 5 + "|"]
        lines += [
            f"| `{one.key}` | {', '.join(one.stages) if len(one.stages) < stages else 'all'} | {_plain(setting_text(one.paper))} | {_plain(setting_text(one.ours))} | {_plain(one.why)} |"
            for one in collected.departures
        ]
    else:
        lines.append(collected.missing.get("departures", "none."))
    return lines


def _evaluation(collected: Collected, rows: Sequence[Row]) -> list[str]:
    lines = ["## Evaluation", ""]
    if not rows:
        return [*lines, "Not evaluated."]
    lines += [
        "Accuracy in %. Rows of different protocols cannot be compared. An empty cell was not run to its end.",
        "",
        "| Suite | Stratum | Accuracy | Passed of run | Runs | Protocol | Release |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for row in rows:
        identity: Mapping[str, Any] = row.identity
        for stratum in identity["items"]:
            accuracy = row.accuracy(stratum).mean
            counts = f"{row.count(stratum, 'passed')}/{row.count(stratum, 'items')}"
            cells = [
                identity["suite"], stratum, *(("", "") if accuracy is None else (f"{accuracy:.2f}", counts)), len(row.runs),
                identity["protocol"]["name"], identity.get("release"),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(map(_plain, cells))} |")
    said = dict.fromkeys(_plain(note) for row in rows for note in row.about.get("notes") or ())
    return lines + (["", *said] if said else [])


def _limits(collected: Collected) -> list[str]:
    return [
        "## Limits",
        "",
        "- Trained on multi-turn tasks of BFCL V3; results on BFCL are results on the benchmark that it was trained for, on tasks "
        "that were held out.",
        "- It calls tools as its prompt says, without a check of its own. Run what it calls where it can do no harm.",
        "- The licence is that of the base model, and its terms hold.",
    ]


def _plain(value: Any) -> str:
    """One line of Markdown text without markup; empty for None."""
    if value is None:
        return ""
    text = " ".join(visible(str(value)).split())
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text
