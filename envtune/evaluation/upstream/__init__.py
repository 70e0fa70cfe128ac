"""Benchmarks that come from other packages, each run by its own code in a process of the environment `.venv-eval`.

client.py    our side: starts a worker, gives it jobs, takes its answers
serve.py     the worker's side: one JSON line in, one JSON line out
bfcl.py      bfcl-eval: memory, web search, single-turn
cassette.py  recorded results of the web tools
acebench.py  ACEBench's agent tasks, by evalscope
tau2.py      tau2-bench

A worker plays one item at a time in a thread of its own, with upstream's handler and upstream's scoring. It reaches the
model through our gateway, at an address that belongs to the item, so retries, tokens and whose fault a failure is are
the gateway's business and the same for every benchmark.
"""
