"""Evaluation: a model behind an endpoint, played through suites of items, each judged by its benchmark's own code.

run.py            a profile's checkpoints, one server for all of them; direct.py: any endpoint or model
suites.py         the suites by name, and their options
suite.py          what a suite is
runner.py         many items at once, resumed item by item
records.py        one record an item (migrate.py reads older ones)
bfcl_v3/          in distribution: our loop, bfcl-eval's checker
upstream/         benchmarks of other packages, in processes of an environment of their own
gateway.py        where those reach the model
reply_formats.py  the kit's format and native function calling
endpoint.py       one request, and whose fault a failure is
calls.py          the only text that upstream's code may execute
server.py         vLLM's OpenAI server as a child process (vllm_worker.py runs inside it)
checkpoints.py    what a run has to evaluate
scripted/         an endpoint without a model, for tests and demonstrations
"""
