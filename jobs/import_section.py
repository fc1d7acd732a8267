"""Joins rows of a file that are about the same people, as long as that gives what they give one after the other.

Rows with one e-mail address in one list become one: later data win, transitions are composed, groups add up. A
number that several people of a file give stays with the first of them, and the others' wishes about the SMS
channel count for him. What a row would do to a number that moves between people cannot be told without the
database; then the section ends, and the next one begins when this one has been merged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from audience.status_rules import KEEP, Transition

GroupKey = tuple[frozenset[int], frozenset[tuple[int, str]]]
"""Group ids, and groups to be made: (list id, name)."""
NO_GROUPS: GroupKey = (frozenset(), frozenset())

_Place = tuple[int, int]
"""Part, and position in it."""


@dataclass(slots=True, eq=False)
class Person:
    """A validated row, or several about the same person in the same list."""

    email: str | None
    mobile: str | None
    fields: dict[str, str]
    list_id: int
    email_rule: int | None
    """Index of the transition for the e-mail channel; None leaves the channel alone."""
    sms_rule: int | None
    groups: GroupKey
    rows: int = 1
    keeps_number: bool = True
    """False: the number is that of somebody else in the section."""
    shares_number: bool = False
    """Other people in the section gave the same number."""
    line: int = 0
    """Of the file, where the row begins."""
    external: str | None = None
    """Id that the sender's own system gives the person."""
    raw: str = ""
    """The record as it stood."""


class Transitions:
    """The transitions that occur in a chunk, composed ones included, by index."""

    def __init__(self) -> None:
        self.all: list[Transition] = [KEEP]
        self._indexes: dict[Transition, int] = {KEEP: 0}

    def index(self, transition: Transition) -> int:
        """Return the index of a transition, a new one if it was not there."""
        index = self._indexes.setdefault(transition, len(self.all))
        if index == len(self.all):
            self.all.append(transition)
        return index

    def compose(self, earlier: int | None, later: int | None) -> int | None:
        """Return the index of what two transitions do one after the other."""
        if earlier is None or later is None or earlier == later:
            return later if earlier is None else earlier
        return self.index(self.all[earlier].then(self.all[later]))


class Section:
    """Consecutive rows, joined where they can be; its parts are to be merged in order."""

    def __init__(self, transitions: Transitions, *, replace_groups: bool) -> None:
        self.parts: list[list[Person]] = [[]]
        """The rows of a part are about different people; a person's rows for further lists stand in further parts."""
        self.shared_numbers = 0
        """Rows whose number went to an earlier row's person."""
        self._transitions = transitions
        self._replace_groups = replace_groups
        self._by_email: dict[str, _Place] = {}
        self._by_mobile: dict[str, _Place] = {}
        self._numbers_can_move = False

    def add(self, person: Person) -> bool:
        """Take a row; False when the section has to be merged before it."""
        same = self._by_email.get(person.email) if person.email is not None else None
        holder = self._by_mobile.get(person.mobile) if person.mobile is not None else None
        if same is None and holder is None:
            self._place(person, 0)
        elif person.email is None:
            return self._repeat_number(person, holder)
        elif same is None:
            return self._share_number(person, holder)
        else:
            return self._repeat_email(person, same, holder)
        return True

    def _place(self, person: Person, part: int) -> None:
        if part == len(self.parts):
            self.parts.append([])
        place = (part, len(self.parts[part]))
        self.parts[part].append(person)
        if person.email is not None:
            self._by_email[person.email] = place
        if person.mobile is not None and person.keeps_number:
            self._by_mobile[person.mobile] = place
            self._numbers_can_move = self._numbers_can_move or person.email is not None

    def _at(self, place: _Place) -> Person:
        return self.parts[place[0]][place[1]]

    def _repeat_number(self, person: Person, place: _Place | None) -> bool:
        """Take a row without an e-mail address whose number was seen before."""
        assert place is not None
        holder = self._at(place)
        # Beside rows that have both kinds of address the number may have gone to somebody else in between.
        if holder.email is not None or holder.list_id != person.list_id or self._numbers_can_move:
            return False
        self._join(place, person)
        return True

    def _share_number(self, person: Person, place: _Place | None) -> bool:
        """Take a row with a new e-mail address whose number was seen before."""
        assert place is not None
        holder = self._at(place)
        if holder.email is None or holder.list_id != person.list_id:
            return False
        composed = self._transitions.compose(holder.sms_rule, person.sms_rule)
        self._set(place, replace(holder, sms_rule=composed, shares_number=True))
        self._place(replace(person, keeps_number=False, sms_rule=None), 0)
        self.shared_numbers += 1
        return True

    def _repeat_email(self, person: Person, place: _Place, holder: _Place | None) -> bool:
        """Take a row whose e-mail address was seen before."""
        same = self._at(place)
        if not same.keeps_number or holder not in (None, place) or person.mobile not in (None, same.mobile):
            return False
        if same.list_id == person.list_id:
            self._join(place, person)
        else:
            self._place(person, place[0] + 1)
        return True

    def _join(self, place: _Place, later: Person) -> None:
        joined = join_people(self._at(place), later, self._transitions, replace_groups=self._replace_groups)
        self._set(place, joined)

    def _set(self, place: _Place, person: Person) -> None:
        self.parts[place[0]][place[1]] = person
        if person.mobile is not None:
            self._by_mobile[person.mobile] = place
            self._numbers_can_move = self._numbers_can_move or person.email is not None


def join_people(earlier: Person, later: Person, transitions: Transitions, *, replace_groups: bool) -> Person:
    """Return the row that does what two rows about one person in one list do one after the other."""
    return Person(
        email=earlier.email,
        mobile=earlier.mobile,
        fields=earlier.fields | later.fields,
        list_id=earlier.list_id,
        email_rule=transitions.compose(earlier.email_rule, later.email_rule),
        sms_rule=transitions.compose(earlier.sms_rule, later.sms_rule),
        groups=later.groups if replace_groups else _unite(earlier.groups, later.groups),
        rows=earlier.rows + later.rows,
        shares_number=earlier.shares_number,
        external=earlier.external,
    )


def _unite(earlier: GroupKey, later: GroupKey) -> GroupKey:
    return earlier if earlier == later else (earlier[0] | later[0], earlier[1] | later[1])
