"""Some consecutive rows of a file, validated and merged as if they came one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile

import orjson
from sqlalchemy import Connection

from audience.addresses import MAX_EMAIL, is_plain_email, normalise_email, normalise_mobile
from audience.errors import InvalidAddress, InvalidName
from audience.lists import Group, MailingList, add_group, clean_group_name
from audience.status_rules import FINAL_REASONS, ImportRule, Reason, Transition
from audience.suppressions import digest_people, lock_suppressions, suppressed_among
from db.merge import MergeCounts, Part, PersonRow, RowsMeet, merge_part
from exchange.errors import RowRefused
from exchange.profiles import Profile
from exchange.rows import RowError, SourceRow
from jobs.import_section import NO_GROUPS, GroupKey, Person, Section, Transitions

_FORGOTTEN = "The address was erased at its owner's wish and must not be added again."


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


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a row asks for, by channel: indexes of transitions."""

    email: int | None
    sms: int | None


class Chunk:
    """Collects rows; then merges them."""

    def __init__(self, plan: ImportPlan) -> None:
        self._plan = plan
        self._transitions = Transitions()
        self._people: list[Person] = []
        self._group_keys: dict[tuple[str, str, int], GroupKey] = {}
        profile = plan.profile
        self._use_email = profile.channels != "sms"
        self._use_sms = profile.channels != "email"
        self._wishes = self._read_wishes(profile)
        self._default_groups = frozenset(plan.groups[number].id for number in profile.groups if number in plan.groups)
        self.refused: list[RowError] = []
        self.noted: list[RowError] = []
        """Rows that were taken, but not all of them."""
        self.forgotten: list[RowError] = []
        """After the merge: rows of people who were erased at their own wish. The rows themselves are not kept."""

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
        # A file may say so for each row, unless its folder is for one kind only; then a row that disagrees is refused.
        both = {profile.subscribed_value: subscribing, profile.unsubscribed_value: leaving}
        if profile.status == "column":
            return both
        if profile.status == "subscribed":
            return {"": subscribing, **both}
        return {"": leaving, profile.unsubscribed_value: leaving}

    def _wish(self, email: Transition, sms: Transition) -> _Wish:
        index = self._transitions.index
        return _Wish(index(email) if self._use_email else None, index(sms) if self._use_sms else None)

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
        wish = self._wishes.get(row.status)
        if wish is None:
            raise RowRefused("status", "The status column has none of the values agreed for this folder.")
        email = self._email(row.email) if row.email and self._use_email else None
        mobile = self._mobile(row, mailing, email) if row.mobile and self._use_sms else None
        if email is None and mobile is None:
            raise RowRefused("no-address", "The row has neither an e-mail address nor a mobile number.")
        groups = self._groups(row, mailing) if row.groups or row.group_name else (self._default_groups, frozenset())
        person = Person(
            email,
            mobile,
            row.fields,
            mailing.id,
            wish.email if email is not None else None,
            wish.sms if mobile is not None else None,
            groups,
            line=row.line,
        )
        self._people.append(person)

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
        mailing = self._plan.lists.get(_number(number))
        if mailing is None:
            raise RowRefused("unknown-list", "The row names a list that does not exist.")
        return mailing

    def _groups(self, row: SourceRow, mailing: MailingList) -> GroupKey:
        # Few combinations occur in a file, and many times each.
        wanted = (row.groups, row.group_name, mailing.id)
        key = self._group_keys.get(wanted)
        if key is None:
            key = self._group_keys[wanted] = self._read_groups(row, mailing)
        return key

    def _read_groups(self, row: SourceRow, mailing: MailingList) -> GroupKey:
        ids = set(self._default_groups)
        for number in row.groups.replace(";", ",").split(","):
            group = self._plan.groups.get(_number(number.strip()))
            # Groups that do not exist in the list are ignored.
            if group is not None and group.list_id == mailing.id:
                ids.add(group.id)
        names = frozenset([(mailing.id, _group_name(row.group_name))] if row.group_name else [])
        return frozenset(ids), names

    def merge(self, connection: Connection, now: datetime) -> MergeCounts:
        """Write everything that was added, in the caller's writing transaction.

        Raises:
            MergeConflict: another transaction got in between; roll back and call again.
        """
        return self._merge(connection, self._refuse_forgotten(connection), now)

    def _refuse_forgotten(self, connection: Connection) -> list[Person]:
        """Return the people without those who were erased at their own wish."""
        self.forgotten = []
        account_id = self._plan.account_id
        lock_suppressions(connection, account_id, exclusive=False)
        digests = digest_people(connection, account_id, [(person.email, person.mobile) for person in self._people])
        if digests is None:
            return self._people
        suppressed = suppressed_among(connection, account_id, {digest for own in digests for digest in own})
        welcome = []
        for person, own in zip(self._people, digests, strict=True):
            if suppressed.isdisjoint(own):
                welcome.append(person)
            else:
                self.forgotten.append(RowError(person.line, "forgotten", _FORGOTTEN, ""))
        return welcome

    def _merge(self, connection: Connection, people: list[Person], now: datetime) -> MergeCounts:
        total = MergeCounts()
        taken = 0
        while taken < len(people):
            section = Section(self._transitions, replace_groups=self._plan.profile.replace_groups)
            rows = list(takewhile(section.add, islice(people, taken, None)))
            total.add(self._merge_section(connection, section, rows, now))
            taken += len(rows)
        return total

    def _merge_section(
        self, connection: Connection, section: Section, rows: list[Person], now: datetime
    ) -> MergeCounts:
        counts = MergeCounts(mobile_in_use=section.shared_numbers)
        first, *further = section.parts
        try:
            counts.add(merge_part(connection, self._part(connection, first, now)))
        except RowsMeet:
            # Two rows turned out to be one person (one by e-mail, the other by number): what was joined is taken
            # apart again and merged in halves, in the order of the file.
            middle = len(rows) // 2
            counts = self._merge(connection, rows[:middle], now)
            counts.add(self._merge(connection, rows[middle:], now))
            return counts
        for people in further:
            counts.add(self._merge_further(connection, people, now))
        return counts

    def _merge_further(self, connection: Connection, people: list[Person], now: datetime) -> MergeCounts:
        try:
            return merge_part(connection, self._part(connection, people, now))
        except RowsMeet:
            middle = len(people) // 2
            counts = self._merge_further(connection, people[:middle], now)
            counts.add(self._merge_further(connection, people[middle:], now))
            return counts

    def _part(self, connection: Connection, people: list[Person], now: datetime) -> Part:
        plan = self._plan
        group_sets: dict[GroupKey, int] = {}
        rows = [
            PersonRow(
                seq,
                person.email,
                person.mobile if person.keeps_number else None,
                _dump_fields(person.fields),
                person.list_id,
                person.email_rule,
                person.sms_rule,
                None if person.groups == NO_GROUPS else group_sets.setdefault(person.groups, len(group_sets)),
                person.rows,
                person.shares_number,
            )
            for seq, person in enumerate(people, 1)
        ]
        return Part(
            account_id=plan.account_id,
            import_id=plan.import_id,
            source=plan.source,
            now=now,
            people=rows,
            transitions=self._transitions.all,
            group_sets=[_group_ids(connection, plan, key) for key in group_sets],
            final_reasons=FINAL_REASONS,
            unsubscribe_reason=Reason.IMPORTED,
            replace_groups=plan.profile.replace_groups,
            asks_confirmation=plan.profile.confirm and plan.profile.status != "unsubscribed",
            confirm_message=plan.profile.confirm_message,
        )


def _number(text: str) -> int:
    """Return the number of a list or group that a cell holds, -1 when it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _group_name(name: str) -> str:
    try:
        return clean_group_name(name)
    except InvalidName as error:
        raise RowRefused("group-name", str(error)) from None


def _dump_fields(fields: dict[str, str]) -> str:
    if "" in fields.values():
        return orjson.dumps({number: value or None for number, value in fields.items()}).decode()
    return orjson.dumps(fields).decode()


def _group_ids(connection: Connection, plan: ImportPlan, key: GroupKey) -> Collection[int]:
    ids, names = key
    mailings = {mailing.id: mailing for mailing in plan.lists.values()}
    return ids | {add_group(connection, mailings[list_id], name).id for list_id, name in names}
