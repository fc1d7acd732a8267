"""All endings of an upload under all rules."""

from __future__ import annotations

import pytest

from exchange.profiles import CompletenessRule
from ftp_server.arrival import Arrival, Ending, Evidence, Step, judge_marked, judge_renamed

RULES: list[CompletenessRule | None] = [None, "connection", "marker", "trailer", "rename", "size"]
OTHERS = (Ending.END, Ending.OVER_QUOTA, Ending.DISK_FULL, Ending.DISK_FAILED)
BROKEN = [ending for ending in Ending if ending not in OTHERS]
SAID = "The client closed the file over SFTP."


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ending", BROKEN)
@pytest.mark.parametrize("announced", [None, 100])
def test_puts_every_broken_upload_aside(rule: CompletenessRule | None, ending: Ending, announced: int | None) -> None:
    verdict = Arrival(rule, announced).data_ended(ending, 100, 100)
    assert verdict.step is Step.PUT_ASIDE
    assert verdict.reason == ending.value
    assert verdict.reply.startswith("426 ")


@pytest.mark.parametrize("rule", RULES)
def test_answers_for_the_disk(rule: CompletenessRule | None) -> None:
    full = Arrival(rule).data_ended(Ending.DISK_FULL, 100, 100)
    assert (full.step, full.reply) == (Step.DISCARD, "452 Not enough space.")
    over = Arrival(rule).data_ended(Ending.OVER_QUOTA, 100, 100)
    assert (over.step, over.reply[:3]) == (Step.DISCARD, "552")
    failed = Arrival(rule).data_ended(Ending.DISK_FAILED, 100, 100)
    assert (failed.step, failed.reply[:3]) == (Step.PUT_ASIDE, "451")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("announced", "size", "received", "step"),
    [
        (None, 100, 100, Step.SYNC),
        (100, 100, 100, Step.SYNC),
        (100, 100, 40, Step.SYNC),  # continued; the whole size was announced
        (40, 100, 40, Step.SYNC),  # continued; the rest was announced
        (101, 100, 100, Step.PUT_ASIDE),
        (99, 100, 100, Step.PUT_ASIDE),
        (0, 100, 100, Step.PUT_ASIDE),
        (0, 0, 0, Step.SYNC),
    ],
)
def test_compares_the_announced_size(
    rule: CompletenessRule | None, announced: int | None, size: int, received: int, step: Step
) -> None:
    assert Arrival(rule, announced).data_ended(Ending.END, size, received).step is step


WHOLE = [
    # rule, evidence, step
    (None, Evidence.NONE, Step.KEEP),
    ("connection", Evidence.NONE, Step.ADOPT),
    ("size", Evidence.NONE, Step.ADOPT),
    ("rename", Evidence.NONE, Step.WAIT),
    ("trailer", Evidence.TRAILER_FITS, Step.ADOPT),
    ("trailer", Evidence.TRAILER_MISSING, Step.PUT_ASIDE),
    ("marker", Evidence.MARKER_MISSING, Step.WAIT),
    ("marker", Evidence.MARKER_EMPTY, Step.ADOPT),
    ("marker", Evidence.MANIFEST_FITS, Step.ADOPT),
    ("marker", Evidence.MANIFEST_DIFFERS, Step.PUT_ASIDE),
]


@pytest.mark.parametrize(("rule", "evidence", "step"), WHOLE)
def test_a_client_that_says_so_need_not_be_watched(
    rule: CompletenessRule | None, evidence: Evidence, step: Step
) -> None:
    arrival = Arrival(rule, said=SAID)
    assert arrival.data_ended(Ending.END, 100, 100).step is Step.SYNC
    verdict = arrival.synced(True, evidence)
    assert verdict.step is step
    if rule in ("connection", "size"):
        assert verdict.reason == SAID
    assert arrival.commanded("ABOR").step is Step.NOTHING


CLEAN = [
    # rule, announced, alive, evidence, step, reply
    (None, None, True, Evidence.NONE, Step.KEEP, "226"),
    (None, None, False, Evidence.NONE, Step.PUT_ASIDE, "426"),
    ("connection", None, True, Evidence.NONE, Step.WATCH, "226"),
    ("connection", None, False, Evidence.NONE, Step.PUT_ASIDE, "426"),
    ("connection", 100, True, Evidence.NONE, Step.ADOPT, "226"),
    ("connection", 100, False, Evidence.NONE, Step.ADOPT, "226"),
    ("size", 100, True, Evidence.NONE, Step.ADOPT, "226"),
    ("size", 100, False, Evidence.NONE, Step.ADOPT, "226"),
    ("rename", None, True, Evidence.NONE, Step.WAIT, "226"),
    ("rename", 100, True, Evidence.NONE, Step.WAIT, "226"),
    ("rename", None, False, Evidence.NONE, Step.PUT_ASIDE, "426"),
    ("marker", None, True, Evidence.MARKER_MISSING, Step.WAIT, "226"),
    ("marker", None, False, Evidence.MARKER_MISSING, Step.PUT_ASIDE, "426"),
    ("marker", None, True, Evidence.MARKER_EMPTY, Step.WATCH, "226"),
    ("marker", None, False, Evidence.MARKER_EMPTY, Step.PUT_ASIDE, "426"),
    ("marker", None, True, Evidence.MANIFEST_FITS, Step.ADOPT, "226"),
    ("marker", None, False, Evidence.MANIFEST_FITS, Step.ADOPT, "226"),
    ("marker", None, True, Evidence.MANIFEST_DIFFERS, Step.PUT_ASIDE, "426"),
    ("trailer", None, True, Evidence.TRAILER_FITS, Step.ADOPT, "226"),
    ("trailer", None, False, Evidence.TRAILER_FITS, Step.ADOPT, "226"),
    ("trailer", None, True, Evidence.TRAILER_MISSING, Step.PUT_ASIDE, "426"),
]


@pytest.mark.parametrize(("rule", "announced", "alive", "evidence", "step", "reply"), CLEAN)
def test_judges_a_clean_end(
    rule: CompletenessRule | None, announced: int | None, alive: bool, evidence: Evidence, step: Step, reply: str
) -> None:
    arrival = Arrival(rule, announced)
    assert arrival.data_ended(Ending.END, 100, 100).step is Step.SYNC
    verdict = arrival.synced(alive, evidence)
    assert (verdict.step, verdict.reply[:3]) == (step, reply)


def test_says_why_a_file_is_only_kept() -> None:
    arrival = Arrival(None, kept_because="Files in this folder are not imported.")
    arrival.data_ended(Ending.END, 100, 100)
    assert arrival.synced(True, Evidence.NONE).reply == "226 Stored. Files in this folder are not imported."


def watched() -> Arrival:
    arrival = Arrival("connection")
    arrival.data_ended(Ending.END, 100, 100)
    assert arrival.synced(True, Evidence.NONE).step is Step.WATCH
    return arrival


@pytest.mark.parametrize("command", ["QUIT", "NOOP", "PASV", "STOR"])
def test_takes_a_further_command_as_the_end(command: str) -> None:
    assert watched().commanded(command).step is Step.ADOPT


def test_takes_an_abort_after_the_data_for_what_it_is() -> None:
    assert watched().commanded("ABOR").step is Step.PUT_ASIDE


def test_takes_silence_on_a_living_connection_as_the_end() -> None:
    assert watched().quiet_passed(alive=True).step is Step.ADOPT
    assert watched().quiet_passed(alive=False).step is Step.PUT_ASIDE


def test_takes_a_broken_connection_for_an_incomplete_file() -> None:
    assert watched().control_lost().step is Step.PUT_ASIDE


def test_decides_once() -> None:
    arrival = watched()
    assert arrival.commanded("QUIT").step is Step.ADOPT
    assert arrival.control_lost().step is Step.NOTHING
    assert arrival.quiet_passed(alive=True).step is Step.NOTHING
    renamed = watched()
    assert renamed.renamed().step is Step.NOTHING
    assert renamed.commanded("QUIT").step is Step.NOTHING


@pytest.mark.parametrize(
    ("rule", "evidence", "marked", "renamed"),
    [
        ("connection", Evidence.NONE, None, Step.ADOPT),
        ("size", Evidence.NONE, None, Step.ADOPT),
        ("rename", Evidence.NONE, None, Step.ADOPT),
        ("marker", Evidence.MARKER_MISSING, Step.WAIT, Step.WAIT),
        ("marker", Evidence.MARKER_EMPTY, Step.ADOPT, Step.ADOPT),
        ("marker", Evidence.MANIFEST_FITS, Step.ADOPT, Step.ADOPT),
        ("marker", Evidence.MANIFEST_DIFFERS, Step.PUT_ASIDE, Step.PUT_ASIDE),
        ("trailer", Evidence.TRAILER_FITS, None, Step.ADOPT),
        ("trailer", Evidence.TRAILER_MISSING, None, Step.PUT_ASIDE),
    ],
)
def test_judges_marked_and_renamed_files(
    rule: CompletenessRule, evidence: Evidence, marked: Step | None, renamed: Step
) -> None:
    if marked is not None:
        assert judge_marked(evidence).step is marked
    assert judge_renamed(rule, evidence).step is renamed
