"""BFCL's own checker as an oracle, in a process of its own: its package is put on the path, and it evaluates the calls it
is given (those of tests/helpers/edits.py and of test_scoring.py, never a model's).

    python tests/helpers/bfcl_oracle.py FOLDER_OF_UNPACKED_WHEEL DATA_PREFIX < INPUT.jsonl > OUTPUT.jsonl

Input lines {"id", "turns"}; output lines {"valid", "error_type", "turn_scores"}, each as soon as it is known. Each line is
judged in a fork: upstream shares tables and default arguments between episodes, so a line could change the next one.
"""

import copy
import json
import os
import sys


def main() -> None:
    folder, prefix = sys.argv[1:]
    sys.path.insert(0, folder)
    from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_checker as checker

    entries, answers = {}, {}
    for category in ("base", "miss_func", "miss_param", "long_context"):
        name = f"{prefix}_multi_turn_{category}.json"
        for path, target in (
            (f"{folder}/bfcl_eval/data/{name}", entries),
            (f"{folder}/bfcl_eval/data/possible_answer/{name}", answers),
        ):
            with open(path) as stream:
                target.update((row["id"], row) for row in map(json.loads, stream))
    for name in checker.execute_multi_turn_func_call.__globals__["CLASS_FILE_PATH_MAPPING"].values():
        if "func_source_code" in name and not name.endswith(
            ("web_search", "memory_kv", "memory_vector", "memory_rec_sum")
        ):
            __import__(name)  # once, and not in each fork
    while line := sys.stdin.readline():
        if (child := os.fork()) == 0:
            row = json.loads(line)
            answer = judge(checker, entries[row["id"]], answers[row["id"]]["ground_truth"], row["turns"], "m")
            os.write(1, (json.dumps(answer) + "\n").encode())
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"the oracle failed on: {line}")


def judge(checker, entry, gold, turns, name):
    scores = turn_scores(checker, entry, gold, turns, f"{name}s")
    if len(turns) != len(gold):  # what BFCL's runner does before it calls the checker
        return {"valid": False, "error_type": "multi_turn:force_terminated", "turn_scores": scores}
    verdict = checker.multi_turn_checker(turns, gold, copy.deepcopy(entry), "multi_turn", name)
    return {"valid": verdict["valid"], "error_type": verdict.get("error_type"), "turn_scores": scores}


def turn_scores(checker, entry, gold, turns, name):
    """The training rule, put together from BFCL's executor, state check and response check."""

    def run(calls, who):
        return checker.execute_multi_turn_func_call(
            func_call_list=calls,
            initial_config=entry["initial_config"],
            involved_classes=entry["involved_classes"],
            model_name=who,
            test_entry_id=entry["id"],
            long_context="long_context" in entry["id"],
            is_evaL_run=True,
        )

    scores, so_far = [], []
    for index, wanted in enumerate(gold):
        gold_results, gold_instances = run(wanted, name + "_ground_truth")
        if index >= len(turns):
            scores.append(0)
            continue
        calls = [call for step in turns[index] for call in step]
        if not wanted:
            scores.append(int(not calls))
            continue
        results, instances = run(calls, name)
        so_far += results
        same = checker.state_checker(instances, gold_instances)["valid"]
        scores.append(int(same and checker.response_checker(so_far, gold_results, index)["valid"]))
    return scores


if __name__ == "__main__":
    main()
