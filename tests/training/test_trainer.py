"""What our trainers add to verl's, as far as it shows without a run (`test_end_to_end.py` has the rest)."""

from __future__ import annotations

import pytest
from verl.trainer.ppo.v1.trainer_base import get_trainer_cls

from envtune.training.trainer import PREFIX, _place


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
def test_each_mode_of_verl_is_there_under_our_name_and_stays_that_mode(mode: str) -> None:
    ours, verls = get_trainer_cls(PREFIX + mode), get_trainer_cls(mode)
    assert issubclass(ours, verls)
    trainer = ours.__new__(ours)
    trainer.trainer_mode = PREFIX + mode  # as verl's own __init__ sets it
    assert trainer.trainer_mode == mode, "verl asks by its own names"


def test_a_batch_is_in_the_order_of_prompts_and_rollouts() -> None:
    keys = ["000002-0001_10_0", "000002-0001_2_0", "000002-0000_3_1", "000002-0000_3_0"]
    assert sorted(keys, key=_place) == list(reversed(keys))
