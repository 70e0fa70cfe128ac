"""What a run fetches: the starting model and BFCL's release, in a cache or to be had."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envtune.bfcl import get_release
from envtune.doctor.check import Outcome, ask, failed, ok, warning
from envtune.doctor.storage import hub_cache
from envtune.files import cache_dir

if TYPE_CHECKING:
    from envtune.profile import Profile

_HUB = "https://huggingface.co"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def model(profile: Profile, environment: Mapping[str, str], seconds: float) -> Outcome:
    """Whether the starting model is there or can be had. seconds: for one answer from the network."""
    source = profile.model.get("source")
    if source == "hf":
        path = str(profile.start_model)
        folder = Path(path).expanduser()
        if path.startswith((".", "/", "~")) or path.count("/") != 1 or folder.exists():
            return _local(folder)
        return hub_model(path, environment, seconds)
    if source != "smollm2-warm-start":
        return failed(f"unknown source {source!r}", "the profile's model has source hf or smollm2-warm-start")
    prepared = Path(profile.start_model)
    if prepared.is_dir() and not missing_parts(prepared):
        return ok(f"prepared: {prepared}")
    try:
        from envtune.models.smollm2 import WHEEL_NAME, WHEEL_VERSION
    except ImportError as error:
        return warning(f"{error.name} is not installed: it was not looked for", "make setup, then ask again")
    return wheel(WHEEL_NAME, WHEEL_VERSION, environment, seconds)


def _local(folder: Path) -> Outcome:
    if not folder.is_dir():
        return failed(f"there is no folder {folder}", "correct model.path in the profile, or put the model there")
    if missing := missing_parts(folder):
        return failed(
            f"{folder} lacks {', '.join(missing)}", "put the whole model there (config, tokenizer, safetensors)"
        )
    return ok(f"{folder}: complete")


def missing_parts(folder: Path) -> list[str]:
    """What a model folder lacks of config, tokenizer and weights; links into the hub's cache count when they hold."""
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        missing.append("a tokenizer (tokenizer.json)")
    whole, index = (folder / name for name in _WEIGHTS)
    if whole.is_file():
        return missing
    if not index.is_file():
        return [*missing, "weights (model.safetensors)"]
    shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    return missing + [shard for shard in shards if not (folder / shard).is_file()]


def hub_model(model_id: str, environment: Mapping[str, str], seconds: float) -> Outcome:
    """A model on the hub: whole in the cache, or the hub answers for it."""
    cached = _snapshot(model_id, hub_cache(environment))
    lacking = missing_parts(cached) if cached else []
    if cached and not lacking:
        return ok(f"{model_id}: in the cache")
    partly = "; it is not in the cache"
    if lacking:
        partly = f"; the cache lacks {', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}"
    if environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return failed(f"{model_id}: HF_HUB_OFFLINE is set{partly}", "unset it, or fetch the model first: hf download")
    endpoint = environment.get("HF_ENDPOINT", _HUB).rstrip("/")
    code, said = _head(f"{endpoint}/{model_id}/resolve/main/config.json", _token(environment), seconds)
    if code in (401, 403):
        if _token(environment):
            how = (
                f"accept its licence at {endpoint}/{model_id} with the account that HF_TOKEN belongs to; check the name"
            )
        else:
            how = f"accept its licence at {endpoint}/{model_id}, make a token with read access, and set HF_TOKEN"
        return failed(f"{model_id}: access is refused ({code}): gated, private or misspelt", how)
    if code == 404:
        return failed(f"{model_id}: {endpoint} does not have it", "correct model.path in the profile")
    if code is None or code >= 400:
        return failed(
            f"{model_id}: {endpoint} cannot be reached ({said}){partly}",
            "check the network or proxy, set HF_ENDPOINT to a mirror, or name a local folder as model.path",
        )
    return ok(f"{model_id}: {endpoint} has it; it will be downloaded")


def _snapshot(model_id: str, cache: Path) -> Path | None:
    """The folder of the newest version in the hub's cache, as refs/main names it; None where there is none."""
    folder = cache / f"models--{model_id.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    found = folder / "snapshots" / revision
    return found if found.is_dir() else None


def _token(environment: Mapping[str, str]) -> str:
    """The hub's token, from the environment or where `hf auth login` puts it; never printed."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environment.get(name, "").strip():
            return environment[name].strip()
    file = environment.get("HF_TOKEN_PATH") or str(hub_cache({**environment, "HF_HUB_CACHE": ""}).parent / "token")
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except OSError:
        return ""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the hub's answer says enough, and the token must not go to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _head(address: str, token: str, seconds: float) -> tuple[int | None, str]:
    """(status, reason) of a HEAD request; None for the status where there was no answer."""
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "envtune-doctor"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=seconds) as answer:
            return answer.status, answer.reason
    except urllib.error.HTTPError as error:
        return error.code, f"{error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return None, str(getattr(error, "reason", error))


def bfcl(release_name: str, environment: Mapping[str, str], seconds: float) -> Outcome:
    """BFCL's release: unpacked in the cache, its wheel there, or the package index has it."""
    release = get_release(release_name)
    unpacked = cache_dir() / "bfcl-eval" / f"{release.version}-{release.sha256[:12]}"  # as envtune.bfcl.releases has it
    if (unpacked / "bfcl_eval").is_dir():
        return ok(f"bfcl-eval {release.version}: unpacked in {cache_dir()}")
    return wheel("bfcl-eval", release.version, environment, seconds)


def wheel(name: str, version: str, environment: Mapping[str, str], seconds: float) -> Outcome:
    """A pinned wheel: in the cache, or in the package index that pip is set up with."""
    wheels = cache_dir() / "wheels"
    if any(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
        return ok(f"{name} {version}: in {wheels}")
    options = ["--timeout", f"{seconds:.0f}", "--retries", "0", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "index", "versions", name, *options]
    answer = ask(command, 2 * seconds, environment)
    how = f"check the network, point pip at an index that has it (pip config), or put the wheel into {wheels}"
    if answer.code != 0:
        return failed(f"{name} {version}: not cached, and pip cannot look for it: {answer.reason}", how)
    if version not in answer.out.replace(",", " ").split():
        return failed(f"{name} {version}: not cached, and the package index does not have it", how)
    return ok(f"{name} {version}: the package index has it")
