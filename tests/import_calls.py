"""Calls to the import service as old programs send them, an account to call it for, and its recipients, for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from xml.sax.saxutils import escape

from lxml import etree
from sqlalchemy import select
from web_server import Reply, Site, serve

from audience.accounts import Account, add_account
from audience.lists import Group, MailingList, add_group, add_list, set_field
from audience.status_rules import Channel, State, Status, state_of
from db.engine import Database
from db.leases import name_owner
from db.tables import group_member, import_error, list_group, recipient, subscription
from jobs.imports import run_next_import
from jobs.storage import Storage

NAMESPACE = "http://ws.mailupnet.it/"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
PATH = "/Services/WSMailUpImport.asmx"
PROLOG = '<?xml version="1.0" encoding="windows-1252" ?>'

FLAGS = {
    "importType": 3,
    "mobileInputType": 1,
    "asPending": "false",
    "ConfirmEmail": "false",
    "asOptOut": "false",
    "forceOptIn": "false",
    "replaceGroups": "false",
}


@dataclass(frozen=True)
class ImportOffice:
    """A served account with lists 1 and 2, and another account with a list of its own."""

    site: Site
    database: Database
    storage: Storage
    account: Account
    news: MailingList
    offers: MailingList
    foreign: MailingList
    friends: Group
    """Of list 1."""
    buyers: Group
    """Of list 2."""

    def reply(self, body: str, user: str = "a1", password: str = "secret") -> Reply:
        """Send the XML of a body."""
        credentials = f"<User>{user}</User><Password>{password}</Password>"
        header = f'<e:Header><Authentication xmlns="{NAMESPACE}">{credentials}</Authentication></e:Header>'
        envelope = f'<e:Envelope xmlns:e="{ENVELOPE}">{header}<e:Body>{body}</e:Body></e:Envelope>'
        return self.site.request("POST", PATH, envelope.encode(), {"Content-Type": "text/xml; charset=utf-8"})

    def result(self, operation: str, content: str, **login: str) -> str:
        """Call an operation with parameters as XML; return the text of its result."""
        reply = self.reply(f'<{operation} xmlns="{NAMESPACE}">{content}</{operation}>', **login)
        assert reply.status == 200, reply
        found = re.search(f"<{operation}Result>(.*)</{operation}Result>", reply.text, re.DOTALL)
        assert found is not None, reply
        return unescape(found[1])

    def call(self, operation: str, parameters: dict[str, object], **login: str) -> etree._Element:
        """Call an operation; return the body of its result."""
        given = {name: value for name, value in parameters.items() if value is not None}
        content = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in given.items())
        result = self.result(operation, content, **login)
        assert result.isascii() and result.startswith(f"{PROLOG}<mailupMessage><mailupBody>")
        return etree.fromstring(result.encode())[0]

    def code(self, operation: str, parameters: dict[str, object], **login: str) -> int:
        """Call an operation; return its overall code."""
        return int(self.call(operation, parameters, **login).findtext("ReturnCode", ""))

    def start(self, **given: object) -> list[tuple[int, int, int]]:
        """Call StartImportProcesses; return process, list and code of each import, or the overall code alone."""
        body = self.call("StartImportProcesses", {"listsIDs": "1", **FLAGS, **given})
        overall = int(body.findtext("ReturnCode", ""))
        if overall:
            return [(0, 0, overall)]
        names = ("processID", "listID", "ReturnCode")
        return [tuple(int(node.findtext(name, "")) for name in names) for node in body.iter("process")]  # type: ignore[misc]

    def prepare(self, document: str, **given: object) -> int:
        """Call NewImportProcess for list 1; return the number of the process or a code."""
        flags = {**FLAGS, "idConfirmNL": 0}
        return self.code("NewImportProcess", {"idList": 1, "listGUID": "", "xmlDoc": document, **flags, **given})

    def details(self, process: int, list_id: int = 1) -> dict[str, str]:
        """Call GetProcessDetails; return the texts of the elements."""
        body = self.call("GetProcessDetails", {"idList": list_id, "listGUID": "", "idProcess": process})
        return {str(node.tag): node.text or "" for node in body.iter() if not len(node)}

    def import_all(self) -> int:
        """Do what is in the queue; return how many imports that were."""
        count = 0
        while run_next_import(self.database, self.storage, name_owner()):
            count += 1
        return count

    def add_person(
        self,
        email: str | None,
        mobile: str | None = None,
        *,
        state: tuple[Status, int | None] | None = None,
        fields: dict[str, str] | None = None,
        groups: tuple[Group, ...] = (),
    ) -> None:
        """Add a recipient who has a status in list 1 on each of his channels, with the type of its reason."""
        now = datetime.now(UTC)
        known = {"account_id": self.account.id, "created_at": now, "updated_at": now}
        with self.database.write() as connection:
            values = {"email": email, "mobile": mobile, "fields": fields or {}, **known}
            [recipient_id] = connection.execute(recipient.insert().values(**values).returning(recipient.c.id)).scalars()
            for channel, address in ((Channel.EMAIL, email), (Channel.SMS, mobile)):
                if state is None or address is None:
                    continue
                status, reason = state
                gone = {"unsubscribed_at": now, "reason_type": reason} if status == Status.UNSUBSCRIBED else {}
                key = {"recipient_id": recipient_id, "list_id": self.news.id, "channel": channel}
                fixed = {"status": status, "changed_at": now, "source": "test"}
                connection.execute(subscription.insert().values(**key, **fixed, **gone))
            for group in groups:
                connection.execute(group_member.insert().values(recipient_id=recipient_id, group_id=group.id))

    def states(self, mailing: MailingList | None = None) -> dict[tuple[str, Channel], State]:
        """Return the states in a list by e-mail address or, without one, number, and channel."""
        columns = (recipient.c.email, recipient.c.mobile, subscription.c.channel)
        query = (
            select(*columns, subscription.c.status, subscription.c.reason_type)
            .join_from(recipient, subscription, subscription.c.recipient_id == recipient.c.id)
            .where(subscription.c.list_id == (mailing or self.news).id)
        )
        with self.database.read() as connection:
            return {
                (email or mobile, Channel(channel)): state_of(status, reason)
                for email, mobile, channel, status, reason in connection.execute(query)
            }

    def people(self) -> dict[str, tuple[str | None, dict[str, str]]]:
        """Return number and fields of the account's recipients by e-mail address or, without one, number."""
        query = select(recipient.c.email, recipient.c.mobile, recipient.c.fields)
        with self.database.read() as connection:
            rows = connection.execute(query.where(recipient.c.account_id == self.account.id))
            return {email or mobile: (mobile, fields) for email, mobile, fields in rows}

    def members(self) -> dict[str, list[str]]:
        """Return the names of the groups of each recipient who is in some."""
        query = (
            select(recipient.c.email, list_group.c.name)
            .join_from(group_member, recipient, recipient.c.id == group_member.c.recipient_id)
            .join(list_group, list_group.c.id == group_member.c.group_id)
            .order_by(list_group.c.name)
        )
        members: dict[str, list[str]] = {}
        with self.database.read() as connection:
            for email, name in connection.execute(query):
                members.setdefault(email, []).append(name)
        return members

    def errors(self) -> list[tuple[int, str]]:
        """Return ordinal and code of the rows that were refused or not taken whole."""
        with self.database.read() as connection:
            query = select(import_error.c.line, import_error.c.code).order_by(import_error.c.line)
            return [(line, code) for line, code in connection.execute(query)]


@contextmanager
def open_import_office(database: Database, storage: Storage) -> Iterator[ImportOffice]:
    """Give an office in an empty database."""
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        news, offers = add_list(connection, account.id, "News"), add_list(connection, account.id, "Offers")
        friends, buyers = add_group(connection, news, "Friends"), add_group(connection, offers, "Buyers")
        foreign = add_list(connection, add_account(connection, 2, password="other").id, "Elsewhere")
        for number, name in ((1, "nome"), (2, "cognome"), (3, "azienda"), (12, "cliente")):
            set_field(connection, account.id, number, name)
    with serve(database, storage) as site:
        yield ImportOffice(site, database, storage, account, news, offers, foreign, friends, buyers)
