"""What imports by SOAP do to statuses, fields and groups: the whole decision table, and every import type (§2.2, §2.3).

Each row of a table has people of its own, so that all rows can be asked of one server.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from import_calls import ImportOffice, open_import_office

from audience.status_rules import Channel, Reason, State, Status
from db.engine import Database
from jobs.storage import Storage

_N, _S, _P, _U, _B = State.NONE, State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED, State.BLOCKED

BEFORE: dict[str, tuple[Status, int | None]] = {
    "subscribed": (Status.SUBSCRIBED, None),
    "pending": (Status.PENDING, None),
    **{
        reason.name.lower(): (Status.UNSUBSCRIBED, reason)
        for reason in Reason
        if reason not in (Reason.HARD_BOUNCE, Reason.COMPLAINT, Reason.FORGOTTEN)
    },
    "hard_bounce": (Status.UNSUBSCRIBED, Reason.HARD_BOUNCE),
    "complaint": (Status.UNSUBSCRIBED, Reason.COMPLAINT),
}
FINAL = ("hard_bounce", "complaint")

# ConfirmEmail, asOptOut, asPending, forceOptIn; then what becomes of those who were new, subscribed, pending and
# unsubscribed. Those who bounced or complained stay what they are.
TABLE = {
    (0, 0, 0, 0): (_S, _S, _P, _U),
    (0, 0, 1, 0): (_S, _S, _S, _U),
    (0, 0, 0, 1): (_S, _S, _P, _S),
    (0, 0, 1, 1): (_S, _S, _S, _S),
    (1, 0, 0, 0): (_P, _P, _P, _U),
    (1, 0, 1, 0): (_P, _P, _P, _U),
    (1, 0, 0, 1): (_P, _P, _P, _P),
    (1, 0, 1, 1): (_P, _P, _P, _P),
    (0, 1, 0, 0): (_U, _U, _P, _U),
    (0, 1, 1, 0): (_U, _U, _U, _U),
    (0, 1, 0, 1): (_U, _U, _P, _U),
    (0, 1, 1, 1): (_U, _U, _U, _U),
    (1, 1, 0, 0): (_U, _U, _P, _U),
    (1, 1, 1, 0): (_U, _U, _U, _U),
    (1, 1, 0, 1): (_U, _U, _P, _U),
    (1, 1, 1, 1): (_U, _U, _U, _U),
}

_Flags = tuple[int, int, int, int]


@pytest.fixture
def office(database: Database, storage: Storage) -> Iterator[ImportOffice]:
    with open_import_office(database, storage) as office:
        yield office


def _email(name: str, row: object) -> str:
    return f"{name}.{row}@example.com"


def _number(name: str, row: int) -> str:
    return f"+39340{row:05}{[*BEFORE, 'new'].index(name):02}"


def _document(rows: list[str]) -> str:
    return f"<subscribers>{''.join(f'<subscriber {row}</subscriber>' for row in rows)}</subscribers>"


def _given(flags: _Flags, import_type: int) -> dict[str, object]:
    names = ("ConfirmEmail", "asOptOut", "asPending", "forceOptIn")
    return {"importType": import_type, **dict(zip(names, flags, strict=True))}


def _expected(flags: _Flags) -> dict[str, State]:
    new, subscribed, pending, unsubscribed = TABLE[flags]
    known = {"subscribed": subscribed, "pending": pending, "new": new}
    return {name: _B if name in FINAL else known.get(name, unsubscribed) for name in (*BEFORE, "new")}


def test_the_table_has_all_flags() -> None:
    assert set(TABLE) == set(itertools.product((0, 1), repeat=4))


def test_decisions_about_email(office: ImportOffice) -> None:
    expected = {}
    for row, flags in enumerate(TABLE):
        for name, state in BEFORE.items():
            office.add_person(_email(name, row), state=state)
        document = _document([f'email="{_email(name, row)}">' for name in (*BEFORE, "new")])
        [(process, _, _)] = office.start(xmlDoc=document, **_given(flags, 1))
        assert office.import_all() == 1
        _check_counters(office.details(process), asked=bool(flags[0]))
        expected |= {(_email(name, row), Channel.EMAIL): state for name, state in _expected(flags).items()}
    assert office.states() == expected


def _check_counters(details: dict[str, str], *, asked: bool) -> None:
    unsubscribed = sum(status == Status.UNSUBSCRIBED for status, _ in BEFORE.values())
    known = len(BEFORE)
    counted = {"TotalContacts": known + 1, "NewEmail": 1, "ExistingEmail": known, "OptOutEmail": unsubscribed}
    assert {name: int(details[name]) for name in counted} == counted
    assert (details["ConfirmationEmail"], details["ConfirmationSent"]) == (str(asked), "True" if asked else "")


def test_decisions_about_sms_where_nobody_is_asked_to_confirm(office: ImportOffice) -> None:
    expected = {}
    for row, flags in enumerate(TABLE):
        for name, state in BEFORE.items():
            office.add_person(None, _number(name, row), state=state)
        document = _document([f'Number="{_number(name, row)}">' for name in (*BEFORE, "new")])
        [(process, _, _)] = office.start(xmlDoc=document, **_given(flags, 2))
        assert office.import_all() == 1
        assert office.details(process)["ConfirmationEmail"] == "False"
        states = _expected((0, *flags[1:]))
        expected |= {(_number(name, row), Channel.SMS): state for name, state in states.items()}
    assert office.states() == expected


def test_no_import_undoes_a_bounce_or_complaint(office: ImportOffice) -> None:
    for name in FINAL:
        office.add_person(_email(name, 0), _number(name, 0), state=BEFORE[name])
    # The same people twice in a document, too.
    document = _document([f'email="{_email(name, 0)}" Number="{_number(name, 0)}">' for name in FINAL] * 2)
    final = {(_email(name, 0), channel): State.BLOCKED for name in FINAL for channel in Channel}
    for row, flags in enumerate(TABLE):
        # Each import type has its turn with each set of flags, half of them here and half there.
        for import_type in range(row % 2, 8, 2):
            assert office.start(xmlDoc=document, **_given(flags, import_type))[0][2] == 0
            assert office.import_all() == 1
            assert office.states() == final


KEPT, OVERWRITTEN = {"1": "Ada", "2": "Old"}, {"1": "Ada"}
IMPORT_TYPES = {
    0: (_S, _S, KEPT),
    1: (_S, _N, KEPT),
    2: (_N, _S, KEPT),
    3: (_S, _S, KEPT),
    4: (_S, _N, OVERWRITTEN),
    5: (_N, _S, OVERWRITTEN),
    6: (_S, _S, OVERWRITTEN),
    7: (_S, _S, KEPT),
}
"""Status by e-mail and by SMS, and fields afterwards, of somebody in no list whose fields 1 and 2 were "Old"."""


def test_import_types(office: ImportOffice) -> None:
    for kind in IMPORT_TYPES:
        email, number = _email("known", kind), _number("new", kind)
        office.add_person(email, number, fields={"1": "Old", "2": "Old"})
        document = _document([f'email="{email}" Number="{number}"><campo1>Ada</campo1><campo2></campo2>'])
        assert office.start(xmlDoc=document, importType=kind)[0][2] == 0
        assert office.import_all() == 1
    states, people = office.states(), office.people()
    found = {
        kind: (
            states.get((email, Channel.EMAIL), _N),
            states.get((email, Channel.SMS), _N),
            people[email][1],
        )
        for kind in IMPORT_TYPES
        for email in [_email("known", kind)]
    }
    assert found == IMPORT_TYPES


def test_the_other_kind_of_address_is_discarded(office: ImportOffice) -> None:
    for import_type in (1, 2, 4, 5):
        number = _number("new", import_type)
        document = _document([f'email="{_email("new", import_type)}" Number="{number}">'])
        assert office.start(xmlDoc=document, importType=import_type)[0][2] == 0
        assert office.import_all() == 1
    by_email = {_email("new", kind): (None, {}) for kind in (1, 4)}
    by_sms = {_number("new", kind): (_number("new", kind), {}) for kind in (2, 5)}
    assert office.people() == by_email | by_sms


def test_groups(office: ImportOffice) -> None:
    mates = office.code("CreateGroup", {"idList": 1, "newGroupName": "Mates"})
    for replaces in ("false", "true"):
        email = _email("known", replaces)
        office.add_person(email, state=BEFORE["subscribed"], groups=(office.friends, office.buyers))
        document = _document([f'email="{email}">'])
        assert office.start(xmlDoc=document, groupsIDs=mates, replaceGroups=replaces)[0][2] == 0
        assert office.import_all() == 1
    # Groups of other lists are none of an import's business.
    assert office.members() == {
        _email("known", "false"): ["Buyers", "Friends", "Mates"],
        _email("known", "true"): ["Buyers", "Mates"],
    }
