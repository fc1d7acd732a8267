"""The corpus of CSV files with what is expected of each, and accounts to import them into, for tests.

What the keys of an expectation mean is told in `tests/corpus/csv/README.md`.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_group, add_list, set_field
from audience.status_rules import Channel, Reason, Status
from db.engine import Database
from db.leases import name_owner
from db.tables import group_member, history, import_error, list_group, recipient, subscription
from exchange.columns import RESERVED
from exchange.csv_reader import CsvRows
from exchange.csv_records import RecordReader
from exchange.encodings import ENCODINGS
from exchange.profiles import Profile
from jobs.import_results import ImportResult
from jobs.imports import import_file
from jobs.storage import Storage

CORPUS = Path(__file__).with_name("corpus") / "csv"
EXPECTED_SUFFIX = ".expected.json"
FIELDS = {1: "Name", 2: "Surname", 3: "City", 4: "Born"}
FIELD_NUMBERS = {name.lower(): str(number) for number, name in FIELDS.items()}
GROUPS = ("Red", "Blue")
"""Groups 1 and 2, of list 1; group 3, "Green", is of list 2."""


@dataclass(frozen=True)
class Sample:
    """A file of the corpus."""

    path: Path
    expected: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(CORPUS))

    @property
    def profile(self) -> Profile:
        return Profile.from_dict(self.expected.get("profile", {}))

    @property
    def has_refusals(self) -> bool:
        return bool(self.expected.get("refused") or self.expected.get("noted"))


def read_corpus() -> list[Sample]:
    """Return every file of the corpus, by name."""
    found = sorted(CORPUS.rglob(f"*{EXPECTED_SUFFIX}"))
    return [Sample(Path(str(path).removesuffix(EXPECTED_SUFFIX)), json.loads(path.read_bytes())) for path in found]


@dataclass(frozen=True)
class Audience:
    """The only account of a database, with two lists."""

    database: Database
    storage: Storage
    account: Account
    lists: tuple[MailingList, MailingList]

    def import_path(self, path: Path, profile: Profile) -> ImportResult:
        """Import a file into list 1 as the command line does; the refused rows are beside it afterwards."""
        return import_file(
            self.database,
            self.storage,
            name_owner(),
            account=self.account,
            mailing=self.lists[0],
            path=path,
            profile=profile,
        )

    def import_bytes(self, content: bytes, profile: Profile, path: Path) -> ImportResult:
        """Import content by way of a file at `path`."""
        path.write_bytes(content)
        return self.import_path(path, profile)

    def clear(self) -> None:
        """Forget everybody."""
        with self.database.write() as connection:
            for table in (recipient, subscription, group_member, history, import_error):
                connection.execute(table.delete())

    def add_people(self, people: list[dict[str, Any]]) -> None:
        """Store people as they are given, in the form of an expectation."""
        now = datetime.now(UTC)
        with self.database.write() as connection:
            for person in people:
                values = {"email": person.get("email"), "mobile": person.get("mobile")}
                inserted = connection.execute(
                    recipient.insert()
                    .values(
                        **values,
                        external_key=person.get("external"),
                        account_id=self.account.id,
                        fields=person.get("fields", {}),
                        created_at=now,
                        updated_at=now,
                    )
                    .returning(recipient.c.id)
                )
                recipient_id = inserted.scalar_one()
                for row in _subscriptions(person):
                    key = {"recipient_id": recipient_id, "list_id": self.lists[row.pop("list") - 1].id}
                    gone = now if row["status"] == Status.UNSUBSCRIBED else None
                    values = {**key, **row, "changed_at": now, "unsubscribed_at": gone, "source": "test"}
                    connection.execute(subscription.insert().values(**values))

    def people(self) -> list[dict[str, Any]]:
        """Return everybody in the form of an expectation, by e-mail address and number."""
        groups, statuses = self._groups(), self._statuses()
        columns = (recipient.c.id, recipient.c.email, recipient.c.mobile, recipient.c.external_key, recipient.c.fields)
        with self.database.read() as connection:
            rows = connection.execute(select(*columns)).all()
        found = []
        for id_, email, mobile, external, fields in rows:
            person = {
                "email": email,
                "mobile": mobile,
                "external": external,
                "fields": fields,
                "statuses": statuses[id_],
                "groups": sorted(groups[id_]),
            }
            found.append({key: value for key, value in person.items() if value})
        return sort_people(found)

    def _groups(self) -> Mapping[int, list[str]]:
        groups: defaultdict[int, list[str]] = defaultdict(list)
        query = select(group_member.c.recipient_id, list_group.c.name).join(
            list_group, list_group.c.id == group_member.c.group_id
        )
        with self.database.read() as connection:
            for id_, name in connection.execute(query):
                groups[id_].append(name)
        return groups

    def _statuses(self) -> Mapping[int, dict[str, str]]:
        statuses: defaultdict[int, dict[str, str]] = defaultdict(dict)
        numbers = {mailing.id: mailing.number for mailing in self.lists}
        with self.database.read() as connection:
            for row in connection.execute(subscription.select()):
                place = f"{numbers[row.list_id]}:{Channel(row.channel).name.lower()}"
                statuses[row.recipient_id][place] = Status(row.status).name.lower()
        return statuses

    def errors(self, import_id: int) -> list[tuple[int, str, bytes]]:
        """Return line, code and bytes of each row that was refused or not taken whole."""
        columns = (import_error.c.line, import_error.c.code, import_error.c.raw)
        query = select(*columns).where(import_error.c.import_id == import_id)
        with self.database.read() as connection:
            return [(row.line, row.code, bytes(row.raw)) for row in connection.execute(query.order_by(*columns))]


def sort_people(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return people in the one order in which they are compared."""
    return sorted(people, key=lambda person: (person.get("email", ""), person.get("mobile", "")))


def complete(person: dict[str, Any]) -> dict[str, Any]:
    """Return a person of an expectation with the statuses that need not be said: subscribed, by what he has."""
    told = {key: value for key, value in person.items() if value and key != "reason"}
    if "statuses" not in person:
        channels = [("email", "email"), ("mobile", "sms")]
        told["statuses"] = {f"1:{channel}": "subscribed" for key, channel in channels if told.get(key)}
    return told


def _subscriptions(person: dict[str, Any]) -> Iterator[dict[str, Any]]:
    reason = Reason[person["reason"].upper()] if "reason" in person else None
    for place, name in complete(person)["statuses"].items():
        number, _, channel = place.partition(":")
        status = Status[name.upper()]
        yield {
            "list": int(number),
            "channel": Channel[channel.upper()],
            "status": status,
            "reason_type": reason if status == Status.UNSUBSCRIBED else None,
        }


@contextmanager
def open_audience(url: str, directory: Path) -> Iterator[Audience]:
    """Give an account in a migrated, empty database, with lists, groups and fields; its files are in a directory."""
    database = Database(url)
    storage = Storage(directory / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        lists = (add_list(connection, account.id, "News"), add_list(connection, account.id, "Offers"))
        for name in GROUPS:
            add_group(connection, lists[0], name)
        add_group(connection, lists[1], "Green")
        for number, name in FIELDS.items():
            set_field(connection, account.id, number, name)
    try:
        yield Audience(database, storage, account, lists)
    finally:
        database.close()


def repair(content: bytes, profile: Profile) -> bytes:
    """Return a file of refused rows with everything behind the three leading cells put right, lacking columns too."""
    source = CsvRows(lambda: io.BytesIO(content), profile, FIELD_NUMBERS)
    separator, quote, encoding = source.separator, profile.quote, ENCODINGS[source.encoding]
    lines = io.StringIO(content[len(encoding.mark) :].decode(encoding.codec, "surrogateescape"), newline="")
    header, *rows = (cells for *_, cells, _ in RecordReader(lines, separator, quote))
    columns = header[len(RESERVED) :] or list(profile.columns)
    lead = source.header.rstrip("\r\n")
    if profile.status == "column" and "status" not in map(profile.column_names.get, columns, columns):
        columns.append("status")
        lead += f"{separator}status"
    repaired = [
        separator.join([number, code, "", *(_good_cell(column, ordinal, profile) for column in columns)])
        for ordinal, (number, code, *_) in enumerate(rows)
    ]
    return encoding.mark + encoding.encode("\r\n".join([lead, *repaired, ""]))


def _good_cell(column: str, ordinal: int, profile: Profile) -> str:
    word = column.strip().lower()
    role = {"e-mail": "email", **profile.column_names}.get(word, word)
    status = profile.unsubscribed_value if profile.status == "unsubscribed" else profile.subscribed_value
    good = {
        "email": f"repaired{ordinal}@example.com",
        "mobile": f"+3932010{ordinal:05}",
        "prefix": "39",
        "number": f"32010{ordinal:05}",
        "list": "1",
        "group": "1",
        "group_name": "Red",
        "status": status,
    }
    return good.get(role, "x")


def add_trailer(content: bytes, profile: Profile, rows: int) -> bytes:
    """Return a file with the trailer that its folder asks for, if it does."""
    if profile.completeness != "trailer":
        return content
    encoding = CsvRows(lambda: io.BytesIO(content), profile, FIELD_NUMBERS).encoding
    return content + ENCODINGS[encoding].encode(f"#END;{rows}\r\n")
