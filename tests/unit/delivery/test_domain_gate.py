"""Limits of domains, with a clock that the test moves."""

from __future__ import annotations

import pytest

from delivery.domain_gate import FIRST_REST, LONGEST_REST, DomainGate, DomainLimit


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def test_connections_of_a_domain(clock: _Clock) -> None:
    gate = DomainGate(DomainLimit(2, 0), clock=clock)
    assert [gate.enter("a.example") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert gate.enter("b.example") == 0.0
    assert gate.closed() == ["a.example"]
    gate.leave("a.example", reached=True)
    assert gate.enter("a.example") == 0.0


def test_mails_in_a_minute(clock: _Clock) -> None:
    gate = DomainGate(DomainLimit(9, 0), {"slow.example": DomainLimit(9, 3)}, clock=clock)
    for _ in range(3):
        assert gate.enter("slow.example") == 0.0
        gate.leave("slow.example", reached=True)
        clock.now += 10
    assert gate.enter("slow.example") == 30.0
    assert gate.closed() == ["slow.example"]
    clock.now += 30
    assert gate.closed() == []
    assert gate.enter("slow.example") == 0.0
    assert gate.enter("slow.example") == 10.0
    assert [gate.enter("fast.example") for _ in range(9)] == [0.0] * 9


def test_a_domain_rests_after_trouble_and_longer_each_time(clock: _Clock) -> None:
    gate = DomainGate(DomainLimit(9, 0), clock=clock)
    rests = []
    for _ in range(9):
        assert gate.enter("a.example") == 0.0
        gate.leave("a.example", reached=False)
        rests.append(gate.enter("a.example"))
        clock.now += rests[-1]
    assert rests[:3] == [FIRST_REST, FIRST_REST * 2, FIRST_REST * 4]
    assert rests[-1] == LONGEST_REST
    assert gate.enter("a.example") == 0.0
    gate.leave("a.example", reached=True)
    assert gate.enter("a.example") == 0.0
    gate.leave("a.example", reached=False)
    assert gate.enter("a.example") == FIRST_REST


def test_limits_are_replaced(clock: _Clock) -> None:
    gate = DomainGate(DomainLimit(9, 0), clock=clock)
    gate.set_limits({"a.example": DomainLimit(0, 0)})
    assert gate.enter("a.example") == 1.0
    gate.set_limits({})
    assert gate.enter("a.example") == 0.0
