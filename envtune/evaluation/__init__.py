"""Evaluation: a model behind an endpoint, played through the held-out tasks and judged by BFCL's own checker.

run.py                the profile's checkpoints, one server for all of them
checkpoints.py        which there are
server.py             vLLM's OpenAI server as a child process (vllm_worker.py runs inside it)
suite.py              many items at once, resumed item by item
conversation.py       one item: an episode under BFCL's rules
endpoint.py           one request, and whose fault a failure is
judge.py              bfcl-eval's checker in a process of its own (judge_worker.py)
calls.py              the only text that the checker may execute
records.py            one record an item
protocol.py           what a number was measured with
scripted_endpoint.py  an endpoint without a model, for tests and demonstrations
"""

from envtune.evaluation.run import evaluate
from envtune.evaluation.suite import evaluate_suite

__all__ = ["evaluate", "evaluate_suite"]
