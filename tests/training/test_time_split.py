"""Where a step's time goes: the parts add up to the step, whatever verl's timers and the episodes say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.training.time_split import EPISODE_PARTS, time_split

SECONDS = st.floats(0, 1e4, allow_nan=False)


def test_one_step_by_hand() -> None:
    timers = {"step": 100.0, "gen": 60.0, "old_log_prob": 5.0, "ref": 4.0, "adv": 1.0, "update_actor": 20.0}
    timers |= {"update_weights": 3.0, "save_checkpoint": 2.0, "testing": 30.0}
    # two episodes, of 50 and of 10 seconds: on average half of the 60 were filled
    episodes = [
        {"generation": 40.0, "environment": 6.0, "tokenisation": 2.0, "reward": 2.0},
        {"generation": 8.0, "environment": 1.0, "tokenisation": 0.5, "reward": 0.5},
    ]
    assert time_split(timers, episodes) == pytest.approx(
        {
            "split/generation_s": 24.0, "split/environment_s": 3.5, "split/tokenisation_s": 1.25, "split/reward_s": 1.25,
            "split/waiting_s": 30.0, "split/log_probs_s": 10.0, "split/update_s": 20.0, "split/weights_s": 3.0,
            "split/checkpoint_s": 2.0, "split/validation_s": 30.0, "split/other_s": 5.0, "rollout/idle_share": 0.5,
        }
    )  # fmt: skip


@given(
    gen=SECONDS, rest=SECONDS, testing=SECONDS,
    episodes=st.lists(st.fixed_dictionaries(dict.fromkeys(EPISODE_PARTS, SECONDS)), max_size=5),
)  # fmt: skip
def test_the_parts_add_up(gen: float, rest: float, testing: float, episodes: list[dict[str, float]]) -> None:
    timers = {"step": gen + rest, "gen": gen, "update_actor": rest / 2, "testing": testing}
    split = time_split(timers, episodes)
    idle = split.pop("rollout/idle_share")
    assert sum(split.values()) == pytest.approx(gen + rest + testing, abs=1e-6)
    assert min(split.values()) >= 0 and 0 <= idle <= 1


def test_episodes_that_began_in_an_earlier_step_fill_the_rollout_and_no_more() -> None:
    split = time_split(
        {"step": 10.0, "gen": 4.0}, [{"generation": 30.0, "environment": 10.0, "tokenisation": 0, "reward": 0}]
    )
    assert (split["split/generation_s"], split["split/environment_s"]) == pytest.approx((3.0, 1.0))
    assert split["rollout/idle_share"] == split["split/waiting_s"] == 0
