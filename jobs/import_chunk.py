"""Some consecutive rows of a file, validated and merged as if they came one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, takewhile

import orjson
from sqlalchemy import Connection

from audience.addresses import MAX_EMAIL, is_plain_email, normalise_email, normalise_mobile
from audience.errors import InvalidAddress, InvalidName
from audience.lists import Group, MailingList, add_group, clean_group_name
from audience.status_rules import FINAL_REASONS, Channel, ImportRule, Reason, State, Transition
from audience.suppressions import find_suppressed, lock_suppressions
from db.merge import MergeCounts, Part, PersonRow, RowsMeet, merge_part
from exchange.errors import RowRefused
from exchange.profiles import Profile
from exchange.rows import RowError, SourceRow
from jobs.import_section import NO_GROUPS, GroupKey, Person, Section, Transitions
from jobs.keyed_section import KeyedSection

EXTERNAL_LENGTH = 200
"""Most characters of an id that the sender's own system gives."""

_REPEATED = "An earlier row of the file is about the same person; this one was left out."
_UNKNOWN = "The row is about nobody who is in the account, and this folder adds nobody."
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

    @property
    def remembers(self) -> bool:
        """Whether it must be known to the end whom the file has met."""
        return self.profile.mode == "full" or self.profile.duplicates != "last"


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
        named = [plan.groups[number] for number in profile.groups if number in plan.groups]
        self._default_groups = {
            mailing.id: frozenset(group.id for group in named if group.list_id == mailing.id)
            for mailing in plan.lists.values()
        }
        self.refused: list[RowError] = []
        self.noted: list[RowError] = []
        """Rows that were taken, but not all of them."""
        self.forgotten: list[RowError] = []
        """After the merge: rows with what was erased at its owner's wish. The rows themselves are not kept."""
        self.left_out: list[RowError] = []
        """After the merge: rows that the profile's rules refuse for what the database knows."""
        self.repeated: list[RowError] = []
        """After the merge: rows that were passed over because an earlier one is about the same person."""
        self._refused_emails: list[tuple[int, str]] = []

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
                self._refused_emails.append((row.line, row.email.strip().lower()))

    def _add(self, row: SourceRow) -> None:
        plan = self._plan
        mailing = plan.default_list if not row.list_number else self._list(row.list_number)
        wish = self._wishes.get(row.status)
        if wish is None:
            raise RowRefused("status", "The status column has none of the values agreed for this folder.")
        external = self._external(row.external) if row.external else None
        email = self._read_email(row, external) if row.email and self._use_email else None
        mobile = self._mobile(row, mailing, email or external) if row.mobile and self._use_sms else None
        has_key = external is not None and self._plan.profile.key == "external"
        if not has_key:
            self._check_addresses(email, mobile)
        groups = (
            self._groups(row, mailing)
            if row.groups or row.group_name
            else (self._default_groups[mailing.id], frozenset())
        )
        person = Person(
            email,
            mobile,
            row.fields,
            mailing.id,
            # Without an address of its own, such a row is about those that are known of its person.
            wish.email if email is not None or has_key else None,
            wish.sms if mobile is not None or has_key else None,
            groups,
            line=row.line,
            external=external,
            raw=row.raw,
        )
        self._people.append(person)
        if row.notes:
            self.noted += [RowError(row.line, code, text, row.raw) for code, text in row.notes]

    def _check_addresses(self, email: str | None, mobile: str | None) -> None:
        if self._plan.profile.key == "external":
            raise RowRefused("no-key", "The row has no external id.")
        if email is None and mobile is None:
            raise RowRefused("no-address", "The row has neither an e-mail address nor a mobile number.")

    def _external(self, text: str) -> str:
        if len(text) > EXTERNAL_LENGTH:
            raise RowRefused("value-too-long", f"The external id is longer than {EXTERNAL_LENGTH} characters.")
        return text

    def _read_email(self, row: SourceRow, external: str | None) -> str | None:
        if external is None or self._plan.profile.key != "external":
            return self._email(row.email)
        try:
            return self._email(row.email)
        except RowRefused as refusal:
            # The id says whom the row is about; a bad address must not cost the rest of it.
            text = f"{refusal.text} The row was imported without it."
            self.noted.append(RowError(row.line, "email-ignored", text, row.raw))
            return None

    def _email(self, text: str) -> str:
        lowered = text.lower()
        if len(lowered) <= MAX_EMAIL and is_plain_email(lowered):
            return lowered
        try:
            return normalise_email(text)
        except InvalidAddress as error:
            raise RowRefused("email", str(error)) from None

    def _mobile(self, row: SourceRow, mailing: MailingList, other_key: str | None) -> str | None:
        try:
            return normalise_mobile(row.mobile, mailing.default_prefix)
        except InvalidAddress as error:
            if other_key is None:
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
        ids = set(self._default_groups[mailing.id])
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
        self.left_out, self.repeated = [], []
        return self._merge(connection, self._refuse_forgotten(connection), now)

    def _refuse_forgotten(self, connection: Connection) -> list[Person]:
        """Return the people without what was erased at its owner's wish; nothing of that is kept in errors either."""
        self.forgotten = []
        account_id = self._plan.account_id
        lock_suppressions(connection, account_id, exclusive=False)
        suppressed = find_suppressed(connection, account_id, self._addresses())
        if not suppressed:
            return self._people
        people = [kept for person in self._people if (kept := self._without_forgotten(person, suppressed)) is not None]
        lines = {error.line for error in self.forgotten}
        emails = {email for channel, email in suppressed if channel == Channel.EMAIL}
        lines.update(line for line, email in self._refused_emails if email in emails)
        self.refused = [_blank(error, lines) for error in self.refused]
        self.noted = [_blank(error, lines) for error in self.noted]
        return people

    def _addresses(self) -> Iterator[tuple[Channel, str]]:
        for person in self._people:
            if person.email is not None:
                yield Channel.EMAIL, person.email
            if person.mobile is not None:
                yield Channel.SMS, person.mobile
        yield from ((Channel.EMAIL, email) for _, email in self._refused_emails)

    def _without_forgotten(self, person: Person, suppressed: Collection[tuple[Channel, str]]) -> Person | None:
        """Return what may be taken of a row; None when that is nothing."""
        email_gone = (Channel.EMAIL, person.email) in suppressed
        mobile_gone = (Channel.SMS, person.mobile) in suppressed
        if not (email_gone or mobile_gone):
            return person
        if mobile_gone and not email_gone and person.email is not None:
            self.forgotten.append(
                RowError(person.line, "mobile-forgotten", f"{_FORGOTTEN} Only the rest was taken.", "")
            )
            return replace(person, mobile=None, sms_rule=None)
        self.forgotten.append(RowError(person.line, "forgotten", _FORGOTTEN, ""))
        if not self._leaves(person):
            return None
        if person.external is not None and self._plan.profile.key == "external":
            # The id says who leaves, whatever addresses he has by now.
            mobile = None if mobile_gone else person.mobile
            return replace(person, email=None, mobile=mobile, fields={}, groups=NO_GROUPS)
        if mobile_gone or person.sms_rule is None:
            return None
        # Whoever has the number by now leaves all the same.
        return replace(person, email=None, email_rule=None, fields={}, groups=NO_GROUPS)

    def _leaves(self, person: Person) -> bool:
        rule = person.sms_rule if person.sms_rule is not None else person.email_rule
        return rule is not None and self._transitions.all[rule].none == State.UNSUBSCRIBED

    def _merge(self, connection: Connection, people: list[Person], now: datetime) -> MergeCounts:
        total = MergeCounts()
        taken = 0
        while taken < len(people):
            section = self._begin_section(people)
            rows = list(takewhile(section.add, islice(people, taken, None)))
            total.add(self._merge_section(connection, section, rows, now))
            taken += len(rows)
        return total

    def _begin_section(self, people: list[Person]) -> Section | KeyedSection:
        profile = self._plan.profile
        plain = profile.key == "email" and profile.duplicates == "last" and profile.unknown == "add"
        if plain and not any(person.external for person in people):
            return Section(self._transitions, replace_groups=profile.replace_groups)
        return KeyedSection(
            self._transitions,
            key=profile.key,
            duplicates=profile.duplicates,
            # Which rows are refused only the database can tell.
            joins=profile.unknown == "add",
            replace_groups=profile.replace_groups,
        )

    def _merge_section(
        self, connection: Connection, section: Section | KeyedSection, rows: list[Person], now: datetime
    ) -> MergeCounts:
        counts = _count_shared(section)
        first, *further = section.parts
        try:
            counts.add(self._merge_part(connection, first, now))
        except RowsMeet:
            # Two rows turned out to be one person (one by e-mail, the other by number): what was joined is taken
            # apart again and merged in halves, in the order of the file.
            middle = len(rows) // 2
            counts = self._merge(connection, rows[:middle], now)
            counts.add(self._merge(connection, rows[middle:], now))
            return counts
        for people in further:
            counts.add(self._merge_further(connection, people, now))
        if isinstance(section, KeyedSection):
            self._pass_over(section.repeated)
        return counts

    def _merge_part(self, connection: Connection, people: list[Person], now: datetime) -> MergeCounts:
        merged = merge_part(connection, self._part(connection, people, now))
        unknown = [people[seq - 1] for seq in merged.unknown]
        self.left_out += [RowError(person.line, "unknown-recipient", _UNKNOWN, person.raw) for person in unknown]
        self._pass_over(people[seq - 1] for seq in merged.repeated)
        return merged.counts

    def _pass_over(self, people: Iterable[Person]) -> None:
        errors = [RowError(person.line, "duplicate", _REPEATED, person.raw) for person in people]
        if self._plan.profile.duplicates == "refuse":
            self.left_out += errors
        else:
            self.repeated += errors

    def _merge_further(self, connection: Connection, people: list[Person], now: datetime) -> MergeCounts:
        if len(people) == 1:
            # Nobody else is in the part who could be the same.
            people = [replace(people[0], shares_number=False)]
        try:
            return self._merge_part(connection, people, now)
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
                person.external,
                self._leaves(person),
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
            key=plan.profile.key,
            refuse_unknown=plan.profile.unknown == "refuse",
            refuse_repeated=plan.profile.duplicates != "last",
            remember=plan.remembers,
        )


def _count_shared(section: Section | KeyedSection) -> MergeCounts:
    if isinstance(section, Section):
        return MergeCounts(mobile_in_use=section.shared_numbers)
    return MergeCounts(mobile_in_use=section.shared["mobile"], email_in_use=section.shared["email"])


def _blank(error: RowError, lines: Collection[int]) -> RowError:
    return error._replace(raw="") if error.line in lines else error


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
