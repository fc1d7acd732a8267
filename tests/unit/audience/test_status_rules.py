"""The decision table of imports, row by row (mailup specification 2.3), and what must hold for every flag."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.status_rules import (
    BOUNCE,
    COMPLAIN,
    KEEP,
    REQUEST_CONFIRMATION,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ImportRule,
    Reason,
    State,
    Status,
    Transition,
    state_of,
)

S, P, U, B = State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED, State.BLOCKED
F, T = False, True

# confirm, unsubscribe, change_pending, resubscribe: new, was subscribed, pending, unsubscribed, blocked
TABLE = [
    ((F, F, F, F), (S, S, P, U, B)),
    ((F, F, T, F), (S, S, S, U, B)),
    ((F, F, F, T), (S, S, P, S, B)),
    ((F, F, T, T), (S, S, S, S, B)),
    ((T, F, F, F), (P, P, P, U, B)),
    ((T, F, T, F), (P, P, P, U, B)),
    ((T, F, F, T), (P, P, P, P, B)),
    ((T, F, T, T), (P, P, P, P, B)),
    ((F, T, F, F), (U, U, P, U, B)),
    ((F, T, T, F), (U, U, U, U, B)),
    ((F, T, F, T), (U, U, P, U, B)),
    ((F, T, T, T), (U, U, U, U, B)),
    ((T, T, F, F), (U, U, P, U, B)),
    ((T, T, T, F), (U, U, U, U, B)),
    ((T, T, F, T), (U, U, P, U, B)),
    ((T, T, T, T), (U, U, U, U, B)),
]
RULES = [ImportRule(*flags) for flags in itertools.product((F, T), repeat=4)]
TRANSITIONS = st.sampled_from(
    [KEEP, SUBSCRIBE, REQUEST_CONFIRMATION, UNSUBSCRIBE, BOUNCE, COMPLAIN, *(r.transition() for r in RULES)]
)


@pytest.mark.parametrize(("flags", "outcome"), TABLE)
def test_decides_as_the_table_says(flags: tuple[bool, bool, bool, bool], outcome: tuple[State, ...]) -> None:
    assert ImportRule(*flags).transition() == outcome


def test_the_table_is_complete() -> None:
    assert len({flags for flags, _ in TABLE}) == len(RULES)


@given(st.lists(TRANSITIONS, max_size=6))
def test_nothing_undoes_a_bounce_or_complaint(transitions: list[Transition]) -> None:
    state = State.BLOCKED
    for transition in transitions:
        state = transition[state]
    assert state == State.BLOCKED


@given(TRANSITIONS, TRANSITIONS, st.sampled_from(State))
def test_composition_is_one_after_the_other(first: Transition, second: Transition, state: State) -> None:
    assert first.then(second)[state] == second[first[state]]


@given(st.sampled_from(RULES), st.sampled_from(State))
def test_only_resubscribe_brings_back_who_left(rule: ImportRule, state: State) -> None:
    after = rule.transition()[state]
    if state == State.UNSUBSCRIBED and after != State.UNSUBSCRIBED:
        assert rule.resubscribe


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        (None, None, State.NONE),
        (Status.SUBSCRIBED, None, State.SUBSCRIBED),
        (Status.PENDING, None, State.PENDING),
        (Status.UNSUBSCRIBED, Reason.LINK, State.UNSUBSCRIBED),
        (Status.UNSUBSCRIBED, None, State.UNSUBSCRIBED),
        (Status.UNSUBSCRIBED, Reason.HARD_BOUNCE, State.BLOCKED),
        (Status.UNSUBSCRIBED, Reason.COMPLAINT, State.BLOCKED),
    ],
)
def test_sees_bounces_and_complaints_as_blocked(status: int | None, reason: int | None, state: State) -> None:
    assert state_of(status, reason) == state


def test_servers_and_complaints_only_end_subscriptions() -> None:
    for transition in (BOUNCE, COMPLAIN):
        assert [transition[state] for state in (State.NONE, State.SUBSCRIBED, State.PENDING, State.BLOCKED)] == [
            State.NONE,
            State.BLOCKED,
            State.BLOCKED,
            State.BLOCKED,
        ]
    assert (BOUNCE.unsubscribed, COMPLAIN.unsubscribed) == (State.UNSUBSCRIBED, State.BLOCKED)
