"""BFCL's own executor on given calls, in a process of its own: results as a JSON list.

python tests/helpers/bfcl_results.py FOLDER_OF_UNPACKED_WHEEL < JOB.json
"""

import json
import sys

sys.path.insert(0, sys.argv[1])
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

job = json.load(sys.stdin)
results, _ = execute_multi_turn_func_call(
    func_call_list=job["calls"],
    initial_config=job["initial_config"],
    involved_classes=job["involved_classes"],
    model_name="oracle",
    test_entry_id=job["id"],
    is_evaL_run=True,
)
sys.stdout.write(json.dumps(results))
