"""Joins rows of a file that are told apart by a key of the profile's choice, or that must not be joined at all.

Rows that share an address, a number or an id stand in different parts, and the parts follow each other as their rows
do in the file, so that the database decides, row by row, whose it is. Only rows that tell the same addresses and ids
as an earlier row of their part are joined with that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from audience.status_rules import State
from exchange.profiles import Duplicates, Key
from jobs.import_section import Person, Transitions, join_people

_Value = tuple[str, str]
"""Kind of an address or id, and the value."""


class KeyedSection:
    """Consecutive rows; its parts are to be merged in order."""

    def __init__(
        self, transitions: Transitions, *, key: Key, duplicates: Duplicates, joins: bool, replace_groups: bool
    ) -> None:
        """Begin without rows.

        Args:
            transitions: of the chunk.
            key: what rows are told apart by.
            duplicates: whether a second row about a person counts.
            joins: whether rows may be joined, or left out, before the database has seen them.
            replace_groups: whether a later row's groups replace those of an earlier one.
        """
        self.parts: list[list[Person]] = [[]]
        """The rows of a part tell different addresses, numbers and ids."""
        self.repeated: list[Person] = []
        """Rows left out because an earlier one tells the same key in the same list."""
        self._transitions = transitions
        self._key = key
        self._duplicates = duplicates
        self._joins = joins
        self._replace_groups = replace_groups
        self.shared: Counter[str] = Counter()
        """Rows whose address went to an earlier row's person, by kind."""
        self._told: dict[_Value, int] = {}
        """What rows of the last part tell, and which of them does so first."""
        self._places: dict[tuple[_Value, int], int] = {}
        """Where in the last part the row with a key in a list stands."""
        self._keys: set[tuple[_Value, int]] = set()

    def add(self, person: Person) -> bool:
        """Take a row; always True, since there is no row that a section must be merged before."""
        key = (self._key_of(person), person.list_id)
        # The chosen key leads to the same person each time; what stands in for it may have changed hands.
        is_sure = self._joins and key[0][0] == self._key and key in self._keys
        if is_sure and self._duplicates != "last" and not self._leaves(person):
            self.repeated.append(person)
        elif not self._join(person, key):
            self._place(self._share(person), key)
        self._keys.add(key)
        return True

    def _key_of(self, person: Person) -> _Value:
        told = {"external": person.external, "mobile": person.mobile, "email": person.email}
        strongest = (self._key, "email", "mobile")
        return next((kind, value) for kind in strongest if (value := told[kind]) is not None)

    def _leaves(self, person: Person) -> bool:
        rule = person.email_rule if person.email_rule is not None else person.sms_rule
        return rule is not None and self._transitions.all[rule].subscribed == State.UNSUBSCRIBED

    def _place(self, person: Person, key: tuple[_Value, int]) -> None:
        values = _values_of(person)
        if not self._told.keys().isdisjoint(values):
            self.parts.append([])
            self._told.clear()
            self._places.clear()
        self._places[key] = len(self.parts[-1])
        self.parts[-1].append(person)
        self._told.update(dict.fromkeys(values, self._places[key]))

    def _share(self, person: Person) -> Person:
        """Leave addresses that an earlier row's person gets to him, with what this row says about them.

        Whoever holds such an address after the earlier row, it is not this row's person, unless he held it before.
        """
        key = self._value_of_key(person)
        # Without the key, an address may be what tells whom the row is about.
        if not self._joins or self._duplicates != "last" or key is None or (self._key, key) in self._told:
            return person
        if person.external is not None and ("external", person.external) in self._told:
            return person
        holders = {kind: self._told.get((kind, value)) for kind, value in _values_of(person)}
        earlier = [self.parts[-1][place] for place in holders.values() if place is not None]
        # An earlier row without the key may turn out to be about this row's person.
        if not earlier or any(one.list_id != person.list_id or self._value_of_key(one) is None for one in earlier):
            return person
        return self._give_up(person, holders)

    def _value_of_key(self, person: Person) -> str | None:
        return {"external": person.external, "mobile": person.mobile, "email": person.email}[self._key]

    def _give_up(self, person: Person, holders: Mapping[str, int | None]) -> Person:
        part, compose = self.parts[-1], self._transitions.compose
        email, mobile = holders.get("email"), holders.get("mobile")
        if email is not None:
            rule = compose(part[email].email_rule, person.email_rule)
            part[email] = replace(part[email], email_rule=rule, shares_number=True)
            person = replace(person, email=None, email_rule=None)
        if mobile is not None:
            rule = compose(part[mobile].sms_rule, person.sms_rule)
            part[mobile] = replace(part[mobile], sms_rule=rule, shares_number=True)
            person = replace(person, mobile=None, sms_rule=None)
        self.shared.update(kind for kind, place in holders.items() if place is not None)
        return person

    def _join(self, person: Person, key: tuple[_Value, int]) -> bool:
        """Join a row with an earlier one if that changes nothing; say whether."""
        place = self._places.get(key)
        if place is None or not self._joins or self._duplicates != "last":
            return False
        part = self.parts[-1]
        # What one of them tells and the other does not may lead to somebody whom only the database knows.
        if _values_of(person) != _values_of(part[place]):
            return False
        part[place] = join_people(part[place], person, self._transitions, replace_groups=self._replace_groups)
        return True


def _values_of(person: Person) -> list[_Value]:
    told = (("email", person.email), ("mobile", person.mobile), ("external", person.external))
    return [(kind, value) for kind, value in told if value is not None]
