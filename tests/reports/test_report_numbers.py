"""Numbers in their dress, and the small geometry of the plotter: ticks, scales, labels kept apart."""

import pytest

from reports import numbers
from reports.svg import Axis, bent_axis, level_axis, linear_axis, round_ticks, spread, thinned


@pytest.mark.parametrize(("show", "value", "text"), [
    (numbers.fixed, -0.0004, "0.000"), (numbers.fixed, -1.23456, "−1.235"), (numbers.fixed, None, "–"), (numbers.fixed, float("nan"), "–"),
    (numbers.signed, 0.1204, "+0.120"), (numbers.signed, 0.0001, "0.000"), (numbers.nats, 1.2341, "1.234 nats"),
    (numbers.count, 4096.0, "4,096"), (numbers.count, 12.5, "12.5"),
    (numbers.short, 18552, "18.6K"), (numbers.short, 2_100_000, "2.1M"), (numbers.short, 999_999, "1M"), (numbers.short, 512, "512"), (numbers.short, 7e9, "7B"),
    (numbers.level, 16384, "16,384"), (numbers.level, 3932160, "3.93M"),
    (numbers.significant, 0.150312, "0.1503"), (numbers.significant, 260_000.0, "2.60 × 10⁵"), (numbers.significant, 0, "0"), (numbers.significant, 3.2e-7, "3.20 × 10⁻⁷"), (numbers.significant, 9.9999e-7, "1.00 × 10⁻⁶"), (numbers.flops, 9.97e12, "1.0 × 10¹³"),
    (numbers.rate, 0.0003, "0.0003"), (numbers.percent, 0.53, "53 %"),
    (numbers.duration, 4.21, "4.2 s"), (numbers.duration, 252, "4 min 12 s"), (numbers.duration, 6600, "1 h 50 min"), (numbers.duration, 7199.9, "2 h 0 min"),
    (numbers.flops, 3.1e13, "3.1 × 10¹³"), (numbers.flops, 0, "0"),
])  # fmt: skip
def test_dress(show, value, text):
    assert show(value) == text


def test_words():
    assert numbers.listed(["a"]) == "a" and numbers.listed(["a", "b", "c"]) == "a, b and c" and numbers.listed([]) == ""
    assert numbers.plural(1, "seed") == "1 seed" and numbers.plural(3, "seed") == "3 seeds"
    assert numbers.interval(0.11, 0.136) == "0.110 to 0.136" and numbers.interval(None, 2.0) == "up to 2.000" and numbers.interval(None, None) == "unknown"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1.69, 2.41), (-0.03, 0.8), (2.1101, 2.1106), (0, 3e5)])
def test_ticks_are_round_inside_and_distinct(low, high):
    ticks = round_ticks(low, high)
    values, labels = zip(*ticks)
    assert 3 <= len(ticks) <= 11 and len(set(labels)) == len(labels)
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values)
    assert [float(label.replace("−", "-")) for label in labels] == pytest.approx(values)


def test_an_axis_of_one_value_still_has_a_length():
    axis = linear_axis([2.0, 2.0])
    assert axis.low < 2.0 < axis.high
    assert 0 < level_axis([256]).share(256) < 1
    assert level_axis([]).ticks == []


def test_the_bent_axis_shows_small_and_large_differences():
    axis = bent_axis([-0.02, 0.9], 0.01)
    assert 0 < axis.share(-0.02) < axis.share(0) < axis.share(0.01) < axis.share(0.9) < 1
    assert axis.share(0.01) - axis.share(0) > 0.05  # on a linear axis it would be 0.01
    assert "0" in [label for _, label in axis.ticks]


def test_labels_are_spread_within_bounds_and_keep_their_order():
    places = spread([100, 101, 99, 180], 13, 20, 200)
    ordered = sorted(range(4), key=lambda i: [100, 101, 99, 180][i])
    moved = [places[i] for i in ordered]
    assert all(b - a >= 13 - 1e-9 for a, b in zip(moved, moved[1:]))
    assert min(places) >= 20 and max(places) <= 200 and places[3] == 180
    assert spread([199, 200], 13, 20, 200) == [187, 200]


def test_ticks_that_do_not_fit_are_thinned_and_the_last_stays():
    axis = Axis(1, 2, ticks=[(1 + i / 10, "1,000,000") for i in range(11)])
    kept = thinned(axis.ticks, lambda value: axis.share(value) * 240)
    assert 2 <= len(kept) < 6 and kept[-1] == axis.ticks[-1]
