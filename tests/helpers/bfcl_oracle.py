"""BFCL's own checker as an oracle, in a process of its own: its package is put on the path, its globals grow, and it
evaluates the calls it is given (the edits of tests/helpers/edits.py, never a model's).

    python tests/helpers/bfcl_oracle.py FOLDER_OF_UNPACKED_WHEEL DATA_PREFIX < INPUT.jsonl > OUTPUT.jsonl

Input lines {"id", "turns"}; output lines {"valid", "error_type", "turn_scores"}.
"""

import copy
import json
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
    for number, line in enumerate(sys.stdin):
        row = json.loads(line)
        entry, gold = entries[row["id"]], answers[row["id"]]["ground_truth"]
        sys.stdout.write(json.dumps(judge(checker, entry, gold, row["turns"], f"m{number}")) + "\n")


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
