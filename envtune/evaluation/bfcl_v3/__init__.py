"""BFCL V3 multi-turn, in distribution: our loop under BFCL's rules, bfcl-eval's own checker as the judge.

suite.py              the suite: items, identity, records
conversation.py       one item: an episode against a chat endpoint
function_calling.py   the same in native function calling
judge.py              bfcl-eval's checker in a process of its own (judge_worker.py)
protocol.py           how it is run, as data
"""
