"""Whatever happened before and after, undoing an import does what a small model says it must."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from undo_world import EMAILS, World, source_row

from audience.history import Cause
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Reason
from db.engine import Database
from exchange.profiles import Profile


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


# The model: what each person's status, reason, fields and groups are after each step, kept as whole copies.


@dataclass
class Value:
    """One thing of one person: what it is now, and who made it so from what."""

    now: Any = None
    log: list[tuple[int, Any]] = field(default_factory=list)
    """Import (0 for others) and the value before."""

    def set(self, import_id: int, value: Any) -> None:
        if value != self.now:
            self.record(import_id, value)

    def record(self, import_id: int, value: Any) -> None:
        self.log.append((import_id, self.now))
        self.now = value

    @property
    def is_imported(self) -> bool:
        """Whether an import made it what it is."""
        return bool(self.log) and self.log[-1][0] != 0

    def rests_on(self, import_id: int) -> int | None:
        """Who made it what it was before the import."""
        others = [by for by, _ in self.log if by != import_id]
        return others[-1] if others else None

    def undo(self, import_id: int) -> bool:
        """Take back the import's changes since the last one by others; True when there were some."""
        reverted = False
        while self.log and self.log[-1][0] == import_id:
            _, self.now = self.log.pop()
            reverted = True
        if reverted:
            # What it did before that no longer counts either.
            self.log = [entry for entry in self.log if entry[0] != import_id]
        return reverted


@dataclass
class Model:
    """The people of one list."""

    statuses: dict[str, Value] = field(default_factory=dict)
    fields: dict[tuple[str, str], Value] = field(default_factory=dict)
    groups: dict[tuple[str, int], Value] = field(default_factory=dict)
    known: dict[str, set[int]] = field(default_factory=dict)
    """By e-mail address: who has ever changed something of him, the one who added him included."""
    undone: set[int] = field(default_factory=set)
    imports: dict[int, int] = field(default_factory=dict)
    """Rows of each import that was not undone; each of them may have asked for the end of subscriptions."""

    def status(self, email: str) -> tuple[int | None, int | None]:
        now = self.statuses.setdefault(email, Value((None, None))).now
        return (now[0], now[1])

    def set_status(self, by: int, email: str, status: int, reason: int | None) -> None:
        if self.status(email)[0] != status:
            self.statuses[email].set(by, (status, reason))
            self.known.setdefault(email, set()).add(by)

    def set_own_status(self, email: str, status: int, reason: int | None) -> None:
        """Who wants what an import has given him makes it his own wish, unless his reason to leave is his already."""
        before = self.status(email)
        if before[0] != status:
            self.set_status(0, email, status, reason)
        elif self.statuses[email].is_imported and before in ((1, None), (3, 4)):
            self.statuses[email].record(0, (status, reason))
            self.known[email].add(0)

    def set_fields(self, by: int, email: str, fields: dict[str, str], new: bool = False) -> None:
        for number, value in fields.items():
            stored = self.fields.setdefault((email, number), Value())
            if new:
                stored.now = value or None
            elif stored.now != (value or None):
                stored.set(by, value or None)
                self.known[email].add(by)

    def set_groups(self, by: int, email: str, wanted: set[int], replace: bool) -> None:
        for number in (1, 2):
            stored = self.groups.setdefault((email, number), Value(False))
            value = number in wanted or (stored.now and not replace)
            if stored.now != value:
                stored.set(by, value)
                self.known[email].add(by)

    def undo(self, import_id: int) -> None:
        stays_out = any(rows for other, rows in self.imports.items() if other > import_id)
        for email in list(self.known):
            status = self.statuses[email]
            gone = status.now[0] == 3 and status.is_imported and status.log[-1][0] == import_id
            kept = gone and (stays_out or status.rests_on(import_id) in self.undone)
            values = [] if kept else [status]
            values += [value for (owner, _), value in [*self.fields.items(), *self.groups.items()] if owner == email]
            reverted = [value.undo(import_id) for value in values]
            # What was taken back before is as if it had never been.
            others = self.known[email] - self.taken_back(email) - {import_id}
            if any(reverted) and not kept and import_id in self.known[email] and not others:
                self.forget(email)
        self.imports.pop(import_id, None)
        self.undone.add(import_id)

    def taken_back(self, email: str) -> set[int]:
        """Return the undone imports of which nothing is left of what they changed of somebody."""
        values = [self.statuses[email]]
        values += [value for (owner, _), value in [*self.fields.items(), *self.groups.items()] if owner == email]
        return {other for other in self.undone if all(entry[0] != other for value in values for entry in value.log)}

    def forget(self, email: str) -> None:
        for values in (self.fields, self.groups):
            for key in [key for key in values if key[0] == email]:
                del values[key]  # type: ignore[arg-type]
        del self.statuses[email], self.known[email]

    def people(self) -> dict[str, tuple[int | None, int | None, dict[str, str], set[int]]]:
        return {
            email: (
                *self.status(email),
                {n: value.now for (e, n), value in self.fields.items() if e == email and value.now is not None},
                {n for (e, n), value in self.groups.items() if e == email and value.now},
            )
            for email in self.known
        }


@dataclass(frozen=True)
class Row:
    email: str
    status: str
    fields: dict[str, str]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Import:
    """One import of at most two chunks; between them, one change by others may come."""

    chunks: tuple[tuple[Row, ...], ...]
    confirm: bool
    change_pending: bool
    resubscribe: bool
    replace_groups: bool

    def profile(self) -> Profile:
        return Profile(
            status="column",
            confirm=self.confirm,
            change_pending=self.change_pending,
            resubscribe=self.resubscribe,
            replace_groups=self.replace_groups,
        )


@dataclass(frozen=True)
class PageChange:
    email: str
    subscribes: bool
    reason: Reason
    fields: dict[str, str]
    groups: tuple[int, ...]


FIELDS = st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from(["", "x", "y"]), max_size=2)
GROUPS = st.sampled_from([(), (1,), (2,), (1, 2)])
ROWS = st.builds(Row, st.sampled_from(EMAILS), st.sampled_from(["1", "1", "0"]), FIELDS, GROUPS)
CHUNKS = st.lists(st.lists(ROWS, max_size=3, unique_by=lambda row: row.email).map(tuple), max_size=2).map(tuple)
IMPORTS = st.builds(Import, CHUNKS, st.booleans(), st.booleans(), st.booleans(), st.booleans())
REASONS = st.sampled_from([Reason.LINK, Reason.LINK, Reason.HARD_BOUNCE])
PAGES = st.builds(PageChange, st.sampled_from(EMAILS), st.booleans(), REASONS, FIELDS, GROUPS)


def apply_row(model: Model, by: int, wanted: Import, row: Row) -> None:
    """What the decision table of imports says, in the words of the specification."""
    status, reason = model.status(row.email)
    new = row.email not in model.known
    after: int | None = status
    if row.status == "0" or (status == 3 and (reason in (8, 16) or not wanted.resubscribe)):
        after = 3
    elif wanted.confirm:
        after = 2
    elif status != 2 or wanted.change_pending:
        after = 1
    assert after is not None
    if status != after:
        model.set_status(by, row.email, after, 4 if after == 3 else None)
    model.set_fields(by, row.email, row.fields, new)
    model.set_groups(by, row.email, set(row.groups), wanted.replace_groups)


def apply_page(world: World, model: Model, change: PageChange) -> None:
    status, reason = model.status(change.email)
    if change.email not in model.known and not change.subscribes:
        return
    if not (status is None and not change.subscribes):
        transition = SUBSCRIBE if change.subscribes else UNSUBSCRIBE
        world.change(change.email, transition, Cause("page", change.reason))
        if change.subscribes and reason not in (8, 16):
            model.set_own_status(change.email, 1, None)
        elif not change.subscribes:
            model.set_own_status(change.email, 3, change.reason)
    world.profile(change.email, {int(number): value for number, value in change.fields.items()}, list(change.groups))
    model.set_fields(0, change.email, change.fields)
    model.set_groups(0, change.email, set(change.groups), replace=False)


def apply_import(world: World, model: Model, wanted: Import, between: PageChange | None) -> int:
    import_id = world.start_import()
    for number, chunk in enumerate(wanted.chunks):
        if number == 1 and between is not None:
            apply_page(world, model, between)
        rows = [
            source_row(row.email, status=row.status, fields=row.fields, groups=",".join(map(str, row.groups)))
            for row in chunk
        ]
        world.merge(import_id, wanted.profile(), rows)
        for row in chunk:
            apply_row(model, import_id, wanted, row)
    model.imports[import_id] = sum(map(len, wanted.chunks))
    return import_id


STEPS = st.lists(st.one_of(PAGES, st.tuples(IMPORTS, st.none() | PAGES)), min_size=1, max_size=5)


def one_row(status: str) -> tuple[Import, None]:
    return Import(((Row(EMAILS[0], status, {}, ()),),), False, False, False, False), None


SUBSCRIBED = PageChange(EMAILS[0], True, Reason.LINK, {}, ())
LEFT = PageChange(EMAILS[0], False, Reason.LINK, {}, ())


EMPTIED = [
    (
        Import(
            (
                (
                    Row("b@example.com", "1", {}, ()),
                    Row("a@example.com", "1", {"1": "", "2": ""}, ()),
                    Row("c@example.com", "1", {"1": "", "2": ""}, (1, 2)),
                ),
            ),
            False,
            True,
            False,
            False,
        ),
        None,
    ),
    (
        Import(((Row("a@example.com", "1", {}, ()), Row("c@example.com", "1", {}, ())), ()), False, False, False, True),
        None,
    ),
    PageChange("a@example.com", False, Reason.LINK, {}, ()),
]


# Who wants what the import did keeps it, and so does who was unsubscribed by a later import once more.
@example(steps=[one_row("1"), SUBSCRIBED], undone=[0])
@example(steps=[SUBSCRIBED, one_row("0"), LEFT], undone=[0])
@example(steps=[one_row("0"), one_row("0")], undone=[0, 1, 0])
@example(steps=[one_row("1"), one_row("0")], undone=[0, 1])
@example(steps=EMPTIED, undone=[0, 1, 0])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, undone=st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_undoing_does_what_the_model_says(world: World, steps: list[Any], undone: list[int]) -> None:
    world.clear()
    model = Model()
    imports = []
    for step in steps:
        if isinstance(step, PageChange):
            apply_page(world, model, step)
        else:
            imports.append(apply_import(world, model, *step))
    assert world.people() == model.people()
    for index in undone:
        if index < len(imports):
            world.undo(imports[index])
            model.undo(imports[index])
            assert world.people() == model.people()
            after = copy.deepcopy(model)
            assert world.undo(imports[index]).did_nothing
            assert world.people() == after.people()
