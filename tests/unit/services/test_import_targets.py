"""Which lists and groups a StartImportProcesses means, and which rules its flags make."""

from __future__ import annotations

import itertools

import pytest

from audience.status_rules import ImportRule, State
from exchange.profiles import Profile
from services.mailup.import_request import MAX_TARGETS, ImportFlags, Target, read_targets
from services.mailup.results import Refusal


@pytest.mark.parametrize(
    ("numbers", "guids", "groups", "expected"),
    [
        ("1", None, None, [Target("1", "", ())]),
        ("1;2", "a;b", "22,23;24", [Target("1", "a", (22, 23)), Target("2", "b", (24,))]),
        ("1;2;3", "", "3", [Target("1", "", (3,)), Target("2", "", ()), Target("3", "", ())]),
        ("", "a;b", None, [Target("", "a", ()), Target("", "b", ())]),
        ("1;;3", None, None, [Target("1", "", ()), Target("", "", ()), Target("3", "", ())]),
        ("1;2;", None, ";9", [Target("1", "", ()), Target("2", "", (9,))]),
        (" 1 ; 2 ", None, "x,4", [Target("1", "", (4,)), Target("2", "", ())]),
    ],
)
def test_parallel_lists(numbers: str | None, guids: str | None, groups: str | None, expected: list[Target]) -> None:
    assert read_targets(numbers, guids, groups) == expected


@pytest.mark.parametrize(
    ("numbers", "guids", "groups", "code"),
    [
        (None, None, None, -101),
        ("", " ", "1", -101),
        ("1;2", "a", None, -450),
        ("1", "a;b", None, -450),
        ("1", None, "1;2", -450),
        (";".join(["1"] * (MAX_TARGETS + 1)), None, None, -403),
    ],
)
def test_refusals(numbers: str | None, guids: str | None, groups: str | None, code: int) -> None:
    with pytest.raises(Refusal) as caught:
        read_targets(numbers, guids, groups)
    assert caught.value.code == code


def _profile(import_type: int = 3, **flags: bool) -> Profile:
    names = ("as_pending", "confirm_email", "as_opt_out", "force_opt_in", "replace_groups")
    return ImportFlags(import_type=import_type, **{name: flags.get(name, False) for name in names}).profile()


@pytest.mark.parametrize(
    ("import_type", "channels", "empty_values"),
    [
        (0, "both", "keep"),
        (1, "email", "keep"),
        (2, "sms", "keep"),
        (3, "both", "keep"),
        (4, "email", "clear"),
        (5, "sms", "clear"),
        (6, "both", "clear"),
        (7, "both", "keep"),
    ],
)
def test_import_types(import_type: int, channels: str, empty_values: str) -> None:
    profile = _profile(import_type)
    assert (profile.channels, profile.empty_values) == (channels, empty_values)


@pytest.mark.parametrize("import_type", [-1, 8, 2**31 - 1])
def test_unknown_import_types(import_type: int) -> None:
    with pytest.raises(Refusal) as caught:
        _profile(import_type)
    assert caught.value.code == -400


_S, _P, _U, _B = State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED, State.BLOCKED


@pytest.mark.parametrize(
    ("confirm_email", "as_opt_out", "as_pending", "force_opt_in", "expected"),
    [
        (False, False, False, False, (_S, _S, _P, _U, _B)),
        (False, False, True, False, (_S, _S, _S, _U, _B)),
        (False, False, False, True, (_S, _S, _P, _S, _B)),
        (False, False, True, True, (_S, _S, _S, _S, _B)),
        (True, False, False, False, (_P, _P, _P, _U, _B)),
        (True, False, True, False, (_P, _P, _P, _U, _B)),
        (True, False, False, True, (_P, _P, _P, _P, _B)),
        (True, False, True, True, (_P, _P, _P, _P, _B)),
        (False, True, False, False, (_U, _U, _P, _U, _B)),
        (False, True, True, False, (_U, _U, _U, _U, _B)),
        (False, True, False, True, (_U, _U, _P, _U, _B)),
        (True, True, True, True, (_U, _U, _U, _U, _B)),
    ],
)
def test_flags_make_the_rows_of_the_decision_table(
    confirm_email: bool, as_opt_out: bool, as_pending: bool, force_opt_in: bool, expected: tuple[State, ...]
) -> None:
    profile = _profile(
        confirm_email=confirm_email, as_opt_out=as_opt_out, as_pending=as_pending, force_opt_in=force_opt_in
    )
    rule = ImportRule(
        confirm=profile.confirm,
        unsubscribe=profile.status == "unsubscribed",
        change_pending=profile.change_pending,
        resubscribe=profile.resubscribe,
    )
    assert tuple(rule.transition()) == expected


def test_no_confirmation_by_sms() -> None:
    for import_type, confirm in itertools.product((2, 5), (True, False)):
        assert not _profile(import_type, confirm_email=confirm).confirm
