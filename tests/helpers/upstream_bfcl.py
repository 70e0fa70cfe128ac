"""bfcl-eval's own generate and evaluate, unchanged, against an endpoint: what envtune's runner is measured beside.

    .venv-eval/bin/python tests/helpers/upstream_bfcl.py --base-url URL --ids IDS.json --threads 64

IDS.json is a list of ids of BFCL V3 multi-turn. bfcl-eval is the installed one, or with --unpacked FOLDER the older one
in an unpacked wheel, whose clients for other services than OpenAI's are then stood in for. Prints one line of JSON: {"imports", "generate", "evaluate"} in
seconds, and "verdicts": id -> None when it passed, else upstream's own name of what failed.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

NAME = "scripted"  # bfcl-eval takes "_" in a model's name for "/"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--ids", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--unpacked", type=Path)
    asked = parser.parse_args()
    if asked.unpacked is not None:
        sys.path.insert(0, str(asked.unpacked))
        sys.meta_path.insert(0, StandIns())
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # upstream prints a line and more for each request
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"BFCL_PROJECT_ROOT": folder, "OPENAI_BASE_URL": asked.base_url, "OPENAI_API_KEY": "none"}
        answer.write(json.dumps(measured(Path(folder), json.loads(asked.ids.read_text()), asked.threads)) + "\n")
    answer.close()


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Packages that the older release imports for other handlers and that are not installed in the versions it wants."""

    NAMES = ("anthropic", "boto3", "cohere", "google", "mistralai", "vertexai", "writerai")

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name.split(".")[0] in self.NAMES else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return MagicMock(__spec__=spec, __path__=[])

    def exec_module(self, module: ModuleType) -> None:
        pass


def measured(folder: Path, ids: list[str], threads: int) -> dict[str, Any]:
    """Generate and evaluate `ids` in a fresh project folder."""
    began = time.monotonic()
    from bfcl_eval import _llm_response_generation as generation
    from bfcl_eval.eval_checker import eval_runner

    register()
    imported = time.monotonic()
    by_category: dict[str, list[str]] = {}
    for item in ids:
        by_category.setdefault(item.rpartition("_")[0], []).append(item)
    (folder / "test_case_ids_to_generate.json").write_text(json.dumps(by_category))
    generation.main(
        argparse.Namespace(
            model=[NAME], test_category=["multi_turn"], run_ids=True, num_threads=threads, temperature=0.001,
            include_input_log=False, exclude_state_log=False, result_dir=None, allow_overwrite=False,
            num_gpus=1, backend="vllm", gpu_memory_utilization=0.9, skip_server_setup=False, local_model_path=None,
            lora_modules=None, enable_lora=False, max_lora_rank=None,
        )
    )  # fmt: skip
    generated = time.monotonic()
    whole = {} if is_older() else {"partial_eval": True}  # the older one takes whole categories only
    eval_runner.main([NAME], list(by_category), None, None, **whole)
    evaluated = time.monotonic()
    return {
        "imports": imported - began,
        "generate": generated - imported,
        "evaluate": evaluated - generated,
        "verdicts": verdicts(folder, ids),
    }


def is_older() -> bool:
    """Whether this is the release of before the handlers got new names."""
    return importlib.util.find_spec("bfcl_eval.model_handler.api_inference.openai_completion") is None


def register() -> None:
    """Add a model that calls natively; its requests say in a header which item they are of."""
    from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig

    if is_older():
        from bfcl_eval.model_handler.api_inference.openai import OpenAIHandler as Upstream
    else:
        from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler as Upstream

    class Handler(Upstream):
        item = threading.local()  # upstream runs an item in one thread

        def __init__(self, *settings: Any, **named: Any) -> None:
            super().__init__(*settings, **named)
            self.is_fc_model = True  # the older one goes by the model's name otherwise

        def _pre_query_processing_FC(self, inference_data: dict[str, Any], test_entry: dict[str, Any]) -> Any:
            self.item.id = test_entry["id"]
            return super()._pre_query_processing_FC(inference_data, test_entry)

        def generate_with_backoff(self, **request: Any) -> Any:
            return super().generate_with_backoff(extra_headers={"X-Envtune-Item": self.item.id}, **request)

    MODEL_CONFIG_MAPPING[NAME] = ModelConfig(
        model_name=NAME, display_name=NAME, url="", org="", license="", model_handler=Handler,
        input_price=None, output_price=None, is_fc_model=True, underscore_to_dot=False,
    )  # fmt: skip


def verdicts(folder: Path, ids: list[str]) -> dict[str, str | None]:
    """What the score files say: a first line of totals, then one line for each item that failed."""
    failed: dict[str, str] = {}
    totals = 0
    for path in (folder / "score").rglob("BFCL_v[34]_*_score.json"):
        first, *rest = [json.loads(line) for line in path.read_text().splitlines()]
        totals += first["total_count"]
        failed |= {line["id"]: line["error"]["error_type"] for line in rest}
    if totals != len(ids):
        sys.exit(f"{totals} of {len(ids)} items were evaluated")
    return {item: failed.get(item) for item in ids}


if __name__ == "__main__":
    main()
