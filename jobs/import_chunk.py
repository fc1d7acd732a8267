"""Turns some consecutive rows of a file into parts that `db.merge` can take, as if they came one by one.

Rows for one person that stand near each other become one: later data win, transitions are composed, groups
add up. Where that would not give what the rows would give one after the other (the same person in two lists,
a number that goes from one person to another), the later row goes into a later part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection

from audience.addresses import MAX_EMAIL, is_plain_email, normalise_email, normalise_mobile
from audience.errors import InvalidAddress, InvalidName
from audience.lists import Group, MailingList, add_group, clean_group_name
from audience.status_rules import FINAL_REASONS, KEEP, ImportRule, Reason, Transition
from db.merge import MergeCounts, Part, PersonRow, merge_part
from exchange.errors import RowRefused
from exchange.profiles import Profile
from exchange.rows import RowError, SourceRow

GroupKey = tuple[frozenset[int], frozenset[tuple[int, str]]]
"""Group ids, and groups to be made: (list id, name)."""
_NO_GROUPS: GroupKey = (frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What the rows of one import are measured against; read once, when the import starts."""

    account_id: int
    import_id: int | None
    source: str
    profile: Profile
    default_list: MailingList
    lists: Mapping[int, MailingList]
    """The account's lists by number."""
    groups: Mapping[int, Group]
    """The account's groups by number."""


@dataclass(slots=True, eq=False)
class _Person:
    email: str | None
    mobile: str | None
    fields: dict[str, str]
    list_id: int
    email_rule: int | None
    sms_rule: int | None
    groups: GroupKey
    rows: int = 1
    part: int = 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a row asks for, by channel: indexes of transitions."""

    email: int | None
    sms: int | None


class Chunk:
    """Collects rows; then merges them."""

    def __init__(self, plan: ImportPlan) -> None:
        self._plan = plan
        self._transitions: list[Transition] = [KEEP]
        self._indexes: dict[Transition, int] = {KEEP: 0}
        self._parts: list[list[_Person]] = [[]]
        self._by_email: dict[str, _Person] = {}
        self._by_mobile: dict[str, _Person] = {}
        self._shared_mobiles = 0
        profile = plan.profile
        self._use_email = profile.channels != "sms"
        self._use_sms = profile.channels != "email"
        self._wishes = self._read_wishes(profile)
        self._default_groups = frozenset(plan.groups[number].id for number in profile.groups if number in plan.groups)
        self.refused: list[RowError] = []
        self.noted: list[RowError] = []
        """Rows that were taken, but not all of them."""

    def _read_wishes(self, profile: Profile) -> dict[str, _Wish]:
        subscribe = ImportRule(
            confirm=profile.confirm, change_pending=profile.change_pending, resubscribe=profile.resubscribe
        )
        # Confirmation is asked for by e-mail only.
        by_sms = ImportRule(change_pending=profile.change_pending, resubscribe=profile.resubscribe)
        # A file that says "unsubscribed" means the pending ones too; SOAP callers say so by a flag of their own.
        change_pending = profile.change_pending or profile.format == "csv"
        leave = ImportRule(unsubscribe=True, change_pending=change_pending).transition()
        subscribing = self._wish(subscribe.transition(), by_sms.transition())
        leaving = self._wish(leave, leave)
        if profile.status == "column":
            return {profile.subscribed_value: subscribing, profile.unsubscribed_value: leaving}
        return {"": subscribing if profile.status == "subscribed" else leaving}

    def _wish(self, email: Transition, sms: Transition) -> _Wish:
        return _Wish(self._index(email) if self._use_email else None, self._index(sms) if self._use_sms else None)

    def _index(self, transition: Transition) -> int:
        index = self._indexes.get(transition)
        if index is None:
            index = self._indexes[transition] = len(self._transitions)
            self._transitions.append(transition)
        return index

    def add(self, rows: Iterable[SourceRow]) -> None:
        """Take rows; those that cannot be imported are found in `refused` afterwards."""
        for row in rows:
            try:
                self._add(row)
            except RowRefused as refusal:
                self.refused.append(RowError(row.line, refusal.code, refusal.text, row.raw))

    def _add(self, row: SourceRow) -> None:
        plan = self._plan
        mailing = plan.default_list if not row.list_number else self._list(row.list_number)
        wish = self._wishes.get(row.status if plan.profile.status == "column" else "")
        if wish is None:
            raise RowRefused("status", "The status column has neither of the agreed values.")
        email = self._email(row.email) if row.email and self._use_email else None
        mobile = self._mobile(row, mailing, email) if row.mobile and self._use_sms else None
        if email is None and mobile is None:
            raise RowRefused("no-address", "The row has neither an e-mail address nor a mobile number.")
        groups = self._groups(row, mailing) if row.groups or row.group_name else (self._default_groups, frozenset())
        person = _Person(
            email,
            mobile,
            row.fields,
            mailing.id,
            wish.email if email is not None else None,
            wish.sms if mobile is not None else None,
            groups,
        )
        same = self._by_email.get(email) if email is not None else None
        holder = self._by_mobile.get(mobile) if mobile is not None else None
        if same is None and holder is None:
            self._place(person, 0)
        else:
            self._place_known(person, same, holder)

    def _email(self, text: str) -> str:
        lowered = text.lower()
        if len(lowered) <= MAX_EMAIL and is_plain_email(lowered):
            return lowered
        try:
            return normalise_email(text)
        except InvalidAddress as error:
            raise RowRefused("email", str(error)) from None

    def _mobile(self, row: SourceRow, mailing: MailingList, email: str | None) -> str | None:
        try:
            return normalise_mobile(row.mobile, mailing.default_prefix)
        except InvalidAddress as error:
            if email is None:
                raise RowRefused("mobile", str(error)) from None
            # A bad number must not cost the e-mail change, which may be an unsubscribe.
            text = f"{error} The row was imported without it."
            self.noted.append(RowError(row.line, "mobile-ignored", text, row.raw))
            return None

    def _list(self, number: str) -> MailingList:
        mailing = self._plan.lists.get(int(number)) if number.isascii() and number.isdigit() else None
        if mailing is None:
            raise RowRefused("unknown-list", "The row names a list that does not exist.")
        return mailing

    def _groups(self, row: SourceRow, mailing: MailingList) -> GroupKey:
        ids = set(self._default_groups)
        for number in row.groups.replace(";", ",").split(","):
            number = number.strip()
            group = self._plan.groups.get(int(number)) if number.isascii() and number.isdigit() else None
            # Groups that do not exist in the list are ignored.
            if group is not None and group.list_id == mailing.id:
                ids.add(group.id)
        names = frozenset([(mailing.id, _group_name(row.group_name))] if row.group_name else [])
        return frozenset(ids), names

    def _place(self, person: _Person, part: int) -> None:
        while part >= len(self._parts):
            self._parts.append([])
        person.part = part
        self._parts[part].append(person)
        if person.email is not None:
            self._by_email[person.email] = person
        if person.mobile is not None:
            self._by_mobile[person.mobile] = person

    def _place_known(self, person: _Person, same: _Person | None, holder: _Person | None) -> None:
        if self._shares_number(person, holder):
            assert holder is not None
            # A number belongs to one person only. The other rows with it count for the SMS channel of its holder.
            holder.sms_rule = self._compose(holder.sms_rule, person.sms_rule)
            person.mobile, person.sms_rule = None, None
            self._shared_mobiles += 1
            holder = None
        if same is None and holder is None:
            self._place(person, 0)
        elif same is not None and same.list_id == person.list_id and _fits(same, person, holder):
            self._join(same, person)
        elif same is None and person.email is None and holder is not None and _is_same_number(holder, person):
            self._join(holder, person)
        else:
            self._place(person, 1 + max(known.part for known in (same, holder) if known is not None))

    @staticmethod
    def _shares_number(person: _Person, holder: _Person | None) -> bool:
        return (
            holder is not None
            and person.email is not None
            and holder.email is not None
            and holder.email != person.email
            and holder.list_id == person.list_id
        )

    def _join(self, earlier: _Person, later: _Person) -> None:
        earlier.fields.update(later.fields)
        earlier.email_rule = self._compose(earlier.email_rule, later.email_rule)
        earlier.sms_rule = self._compose(earlier.sms_rule, later.sms_rule)
        earlier.rows += later.rows
        if self._plan.profile.replace_groups:
            earlier.groups = later.groups
        elif earlier.groups != later.groups:
            earlier.groups = (earlier.groups[0] | later.groups[0], earlier.groups[1] | later.groups[1])
        if later.mobile is not None:
            earlier.mobile = later.mobile
            self._by_mobile[later.mobile] = earlier

    def _compose(self, earlier: int | None, later: int | None) -> int | None:
        if earlier is None or later is None or earlier == later:
            return later if earlier is None else earlier
        return self._index(self._transitions[earlier].then(self._transitions[later]))

    def merge(self, connection: Connection, now: datetime) -> MergeCounts:
        """Write everything that was added, in the caller's writing transaction.

        Raises:
            MergeConflict: another transaction got in between; roll back and call again.
        """
        total = MergeCounts(mobile_in_use=self._shared_mobiles)
        for people in self._parts:
            if people:
                total.add(merge_part(connection, self._part(connection, people, now)))
        return total

    def _part(self, connection: Connection, people: list[_Person], now: datetime) -> Part:
        plan = self._plan
        group_sets: dict[GroupKey, int] = {}
        rows = [
            PersonRow(
                seq,
                person.email,
                person.mobile,
                _dump_fields(person.fields),
                person.list_id,
                person.email_rule,
                person.sms_rule,
                None if person.groups == _NO_GROUPS else group_sets.setdefault(person.groups, len(group_sets)),
                person.rows,
            )
            for seq, person in enumerate(people, 1)
        ]
        return Part(
            account_id=plan.account_id,
            import_id=plan.import_id,
            source=plan.source,
            now=now,
            people=rows,
            transitions=self._transitions,
            group_sets=[_group_ids(connection, plan, key) for key in group_sets],
            final_reasons=FINAL_REASONS,
            unsubscribe_reason=Reason.IMPORTED,
            replace_groups=plan.profile.replace_groups,
        )


def _group_name(name: str) -> str:
    try:
        return clean_group_name(name)
    except InvalidName as error:
        raise RowRefused("group-name", str(error)) from None


def _fits(same: _Person, person: _Person, holder: _Person | None) -> bool:
    """Tell whether a row can join an earlier one with its e-mail address without moving a number between people."""
    return holder in (None, same) and (same.mobile is None or person.mobile in (None, same.mobile))


def _is_same_number(holder: _Person, person: _Person) -> bool:
    return holder.email is None and holder.list_id == person.list_id


def _dump_fields(fields: dict[str, str]) -> str:
    if "" in fields.values():
        return orjson.dumps({number: value or None for number, value in fields.items()}).decode()
    return orjson.dumps(fields).decode()


def _group_ids(connection: Connection, plan: ImportPlan, key: GroupKey) -> Collection[int]:
    ids, names = key
    mailings = {mailing.id: mailing for mailing in plan.lists.values()}
    return ids | {add_group(connection, mailings[list_id], name).id for list_id, name in names}
