import math

import pytest

from trainer.schedule_config import FIELDS_OF, PlateauConfig, ScheduleConfig
from trainer.schedules import Scheduled, plateau_scale, share

STEPS, EPOCHS = 10, 20


def rate(step: int, **fields) -> float:
    """The rate of one step of 200, the highest being 2."""
    return float(Scheduled(ScheduleConfig(**fields), 2.0, STEPS, EPOCHS)(step))


def losses(*values: float) -> list[dict[str, float]]:
    return [{"val_loss": value} for value in values]


def test_a_constant_rate_stays():
    assert {rate(step, name="constant") for step in (0, 57, 199)} == {2.0}


def test_step_falls_between_epochs_and_never_within_one():
    stairs = [rate(step, name="step", factor=0.5, every_epochs=3) for step in range(100)]
    assert stairs == [pytest.approx(2.0 * 0.5 ** (step // 30)) for step in range(100)]


def test_exponential_passes_through_the_corners_of_the_stairs():
    middle = 30 - 0.5  # a rate is that of its step's middle
    assert rate(29, name="exponential", factor=0.5, every_epochs=3) > 1.0
    assert rate(30, name="exponential", factor=0.5, every_epochs=3) < 1.0
    found = rate(59, name="exponential", factor=0.5, every_epochs=3)
    assert found == pytest.approx(2.0 * 0.5 ** ((middle + 30) / 30), rel=1e-5)


def test_cosine_falls_from_the_highest_rate_to_the_floor_and_is_halfway_in_the_middle():
    assert rate(0, name="cosine", floor=0.1) == pytest.approx(2.0, rel=1e-3)
    assert rate(199, name="cosine", floor=0.1) == pytest.approx(0.2, rel=1e-2)
    around = rate(99, name="cosine", floor=0.1) + rate(100, name="cosine", floor=0.1)
    assert around / 2 == pytest.approx((2.0 + 0.2) / 2, rel=1e-5)


def test_one_cycle_climbs_from_a_25th_for_three_tenths_and_ends_at_nothing():
    rates = [rate(step, name="one_cycle") for step in range(200)]
    assert rates[0] == pytest.approx(2.0 * (1 / 25 + 24 / 25 / 120))  # middle of 1 step in 60
    assert rates.index(max(rates)) in (59, 60)
    assert rates[:60] == sorted(rates[:60])
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[-1] < 2.0 * 1e-3


@pytest.mark.parametrize("name", sorted(FIELDS_OF))
def test_every_schedule_warms_up(name):
    rates = [rate(step, name=name, warmup_epochs=2) for step in range(25)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[0] < 0.2
    slope = [after - before for before, after in zip(rates[:19], rates[1:20], strict=True)]
    assert slope == pytest.approx([slope[0]] * 19, rel=1e-3)
    assert rates[20] == pytest.approx(2.0, rel=0.05)  # then the schedule starts at its top


def test_a_warm_up_longer_than_the_training_is_all_there_is():
    values = [float(share(ScheduleConfig(warmup_epochs=50), epoch, 20)) for epoch in (0, 10, 19)]
    assert values == pytest.approx([0, 0.5, 0.95])


def test_a_field_of_another_schedule_is_refused_by_name():
    with pytest.raises(ValueError, match="factor has no meaning for a cosine schedule; allowed"):
        ScheduleConfig(name="cosine", factor=0.5)


def test_a_schedule_survives_its_own_description():
    schedule = Scheduled(ScheduleConfig(name="cosine", floor=0.2), 0.1, STEPS, EPOCHS)
    again = Scheduled.from_config(schedule.get_config())
    assert [float(again(step)) for step in (0, 70)] == [float(schedule(s)) for s in (0, 70)]


def test_a_plateau_lowers_the_rate_each_time_patience_runs_out():
    config = PlateauConfig(patience=2, factor=0.1, lowest=1e-3)
    assert plateau_scale(config, []) == 1
    assert plateau_scale(config, losses(3, 2, 2)) == 1  # one epoch without progress
    assert plateau_scale(config, losses(3, 2, 2, 2)) == pytest.approx(0.1)
    assert plateau_scale(config, losses(3, 2, 2, 2, 1, 1)) == pytest.approx(0.1)
    assert plateau_scale(config, losses(3, 2, 2, 2, 2, 2)) == pytest.approx(0.01)


def test_a_plateau_never_lowers_the_rate_below_the_lowest():
    config = PlateauConfig(patience=1, factor=0.1, lowest=0.05)
    assert plateau_scale(config, losses(*[1.0] * 30)) == 0.05
    assert math.isclose(plateau_scale(config, losses(1.0, 1.0)), 0.1)
