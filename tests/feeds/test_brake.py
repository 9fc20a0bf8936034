"""The brake: which signed changes are held back."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from feeds.brake import Allowance, Step, clear, count, judge, measure, pass_until, recent, spread
from feeds.rule import Action, Category, hours
from tests.feeds.tuf_feed import NOW, many

HOUR = timedelta(hours=1)


def step(
    removed: int = 0,
    added: int = 0,
    before: int = 1000,
    serials: tuple[int, int] = (1, 2),
    at: datetime = NOW,
    category: str = "gambling",
    others: Mapping[str, int] | None = None,
) -> Step:
    return Step(
        *serials, {category: before, **(others or {})}, {category: removed} if removed else {}, {category: added}, at
    )


@pytest.mark.parametrize(
    ("removed", "added", "before", "held"),
    [
        (50, 0, 1000, False),
        (51, 0, 1000, True),
        (50, 0, 60, False),  # more than 5 %, but not more than 50
        (500, 0, 10_000, False),
        (501, 0, 10_000, True),
        (0, 200, 1000, False),
        (0, 201, 1000, True),
        (0, 50, 3, False),
        (0, 51, 0, True),
        (1000, 0, 1000, True),
    ],
)
def test_the_limits_are_five_and_twenty_per_cent_and_fifty_rules(
    removed: int, added: int, before: int, held: bool
) -> None:
    assert bool(judge([step(removed, added, before)])) is held


def test_a_category_that_shrinks_is_held_though_the_whole_hardly_changes() -> None:
    (excess,) = judge([step(60, 0, 100, others={"malware": 100_000})])
    assert (excess.category, excess.count, excess.before) == ("gambling", 60, 100)
    assert "60 of 100 rules removed (60.0 %)" in str(excess)


def test_small_steps_within_a_day_are_summed_and_older_ones_are_not() -> None:
    past = [step(40, serials=(n, n + 1), at=NOW - (3 - n) * HOUR) for n in (1, 2)]
    now = step(40, serials=(3, 4))
    assert judge([now], past)[0].summed
    assert not judge([now], [step(40, at=NOW - 24 * HOUR), step(1, at=NOW - HOUR)])


def test_what_somebody_let_pass_does_not_count_again_in_the_sum() -> None:
    past = tuple(pass_until([step(600, serials=(1, 2), at=NOW - HOUR)], 2))
    assert not judge([step(10, before=400, serials=(2, 3))], past)


def test_several_steps_pulled_at_once_are_judged_by_themselves_over_the_days_they_took() -> None:
    steps = [step(40, serials=(n, n + 1)) for n in range(1, 11)]
    assert not judge(spread(steps, NOW - timedelta(days=10), NOW))
    assert judge(spread(steps, NOW - HOUR, NOW))


def test_a_statement_lets_pass_up_to_its_counts_and_not_one_rule_more() -> None:
    change = step(600, 300)
    assert not judge(clear([change], [Allowance(1, 2, 600, 300)]))
    assert judge(clear([change], [Allowance(1, 2, 599, 300)]))
    assert judge(clear([change], [Allowance(1, 2, 600, 299)]))
    assert judge(clear([change], [Allowance(2, 3, 600, 300)]))


def test_over_a_jump_the_rest_beyond_the_statements_must_be_plausible() -> None:
    assert not judge(clear([step(640, serials=(1, 9))], [Allowance(4, 5, 600, 0)]))
    assert judge(clear([step(700, serials=(1, 9))], [Allowance(4, 5, 600, 0)]))
    # Two statements over the same serials do not add up.
    assert judge(clear([step(1000, serials=(1, 9))], [Allowance(4, 6, 500, 0), Allowance(4, 5, 500, 0)]))


def test_lapsed_rules_may_go_uncounted() -> None:
    lapsed = many(900, expires=hours(NOW))
    assert measure(lapsed, (), NOW) == ({}, {})
    assert measure(many(900, expires=hours(NOW) + 3), (), NOW) == ({"gambling": 900}, {})
    assert count([*lapsed, *many(3, start=2000)], NOW) == {"gambling": 3}


def test_a_rule_that_says_less_counts_as_removed_and_a_renewed_one_does_not() -> None:
    old = many(100, expires=hours(NOW) + 100)
    longer = many(100, expires=hours(NOW) + 900, decision="7/QĐ-UBND")
    assert measure(old, longer, NOW) == ({}, {})
    assert measure(longer, old, NOW)[0] == {"gambling": 100}
    passing = many(100, expires=hours(NOW) + 100, action=Action.PASSTHRU)
    assert measure(old, passing, NOW)[0] == {"gambling": 100}
    other = many(100, expires=hours(NOW) + 100, category=Category.FRAUD)
    assert measure(old, other, NOW) == ({"gambling": 100}, {"fraud": 100})


def test_only_a_day_is_remembered() -> None:
    assert recent([step(at=NOW - 24 * HOUR), step(at=NOW - 23 * HOUR)], NOW) == (step(at=NOW - 23 * HOUR),)
