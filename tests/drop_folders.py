"""An account whose folders send: files are dropped by FTP or as by a door, and worked off in this process."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Table, select

from audience.accounts import Account, add_account
from audience.list_changes import change_list
from audience.lists import MailingList, load_list, set_field
from audience.notices import set_contact
from db.engine import Database
from db.leases import name_owner
from db.tables import delivery, message, message_file, notice, recipient, sending, sending_file
from jobs.feeds import find_feed, open_list
from jobs.imports import run_next_import
from jobs.sending_files import run_next_sending_file
from jobs.sending_folders import SendingFolder, enable_folder
from jobs.sending_queue import enqueue_dropped
from jobs.storage import Storage
from services.mailup.csv_columns import COLUMN_NAMES, SENDING_FILES

ENGINES = ("massive", "transactional")
CONTACT = "technician@example.com"


@dataclass(frozen=True)
class DropFolders:
    """One account with a list and both folders."""

    database: Database
    storage: Storage
    account: Account
    mailing: MailingList

    @property
    def home(self) -> Path:
        return self.storage.home(self.account.number)

    def enable(self, folder: str = "import_zip", **values: Any) -> None:
        """Take files in from a folder."""
        called = SENDING_FILES["parcel" if folder == "import_zip" else "sms"]
        given: dict[str, Any] = {"engines": ENGINES, "smtp_user": "", "column_names": COLUMN_NAMES, "called": called}
        with self.database.write() as connection:
            enable_folder(connection, self.storage, self.account, folder, SendingFolder(**(given | values)))

    def drop(self, content: bytes, name: str = "parcel.zip", folder: str = "import_zip") -> int:
        """Let a file arrive in a folder as from a door; return its run."""
        key = uuid.uuid4().hex
        path = self.home / folder / name
        path.write_bytes(content)
        (self.storage.imports / key).hardlink_to(path)
        digest = hashlib.sha256(content).hexdigest()
        with self.database.write() as connection:
            found = find_feed(connection, self.account.id, folder)
            assert found is not None
            return enqueue_dropped(
                connection, found, key=key, name=name, size=len(content), sha256=digest, reason="test"
            )

    def work_off(self) -> None:
        """Do all that waits, as a worker does."""
        work_off(self.database, self.storage)

    def rows(self, table: Table) -> list[Row[Any]]:
        with self.database.read() as connection:
            return list(connection.execute(select(table).order_by(table.c.id)))

    def runs(self) -> list[Row[Any]]:
        return self.rows(sending_file)

    def run(self) -> Row[Any]:
        """Return the newest run."""
        return self.runs()[-1]

    def sendings(self) -> list[Row[Any]]:
        return self.rows(sending)

    def deliveries(self) -> list[Row[Any]]:
        return self.rows(delivery)

    def messages(self) -> list[Row[Any]]:
        return self.rows(message)

    def files(self) -> list[Row[Any]]:
        return self.rows(message_file)

    def notices(self) -> list[tuple[str, str, str]]:
        """Return address, subject and text of what people are told."""
        return [(row.address, row.subject, row.text) for row in self.rows(notice)]

    def people(self) -> dict[str, Mapping[str, Any]]:
        """Return the personal data of everybody by address."""
        return {row.email or row.mobile: row.fields for row in self.rows(recipient)}

    def outcome(self, folder: str = "import_zip") -> dict[str, list[str]]:
        """Return the names of what was handed back, without results."""
        return {
            name: sorted(path.name for path in (self.home / folder / name).iterdir() if path.suffix != ".json")
            for name in ("processed", "failed")
        }


def work_off(database: Database, storage: Storage) -> None:
    """Do all files that send and all imports that wait, as a worker does."""
    owner = name_owner()
    while run_next_sending_file(database, storage, owner) or run_next_import(database, storage, owner):
        pass


def open_drop_folders(database: Database, storage: Storage) -> DropFolders:
    """Make an account with a list, whose folders send by all engines."""
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        mailing = open_list(connection, storage, account, "News", COLUMN_NAMES)
        set_contact(connection, account.id, CONTACT)
        for number, name in ((1, "nome"), (2, "cognome")):
            set_field(connection, account.id, number, name)
        change_list(connection, mailing, {"sender_email": "list@example.com"})
        mailing = load_list(connection, mailing.id)
    folders = DropFolders(database, storage, account, mailing)
    folders.enable("import_zip")
    folders.enable("import_sms")
    return folders
