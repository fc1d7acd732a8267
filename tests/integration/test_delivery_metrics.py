"""What is told of sendings: to those who watch the server, and to those who run an account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, select

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_list
from audience.notices import set_contact
from audience.status_rules import Channel
from db.engine import Database
from db.tables import delivery, inbound_mail, notice, outbox, sending, sms_credit
from delivery.queue import DeliveryState, add_delivery
from delivery.sending_notices import tell_ended
from delivery.sendings import Target, add_sending
from services.http.delivery_metrics import delivery_metrics
from services.http.metrics import expose_metrics

NOW = datetime.now(UTC)


@pytest.fixture
def mailing(database: Database) -> MailingList:
    with database.write() as connection:
        account: Account = add_account(connection, 1, password="secret")
        return add_list(connection, account.id, "News")


def _scrape(database: Database) -> dict[tuple[str, ...], float]:
    """Return the values of the metrics by name and labels."""
    families = text_string_to_metric_families(expose_metrics(database).decode())
    return {
        (sample.name.removeprefix("listbridge_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("listbridge_")
    }


def _send(
    connection: Connection, mailing: MailingList, states: list[tuple[str, DeliveryState, str | None, int]]
) -> int:
    """Add a sending whose rows have address, state, code, and are due in so many minutes; return its id."""
    made = add_sending(
        connection, mailing, Channel.EMAIL, None, subject="x", state="sending", target=Target(to="queue")
    )
    for number, (address, state, code, minutes) in enumerate(states):
        row_id = add_delivery(connection, made, mailing, number, address)
        values = {"state": int(state), "code": code, "due_at": NOW + timedelta(minutes=minutes)}
        connection.execute(delivery.update().where(delivery.c.id == row_id).values(**values))
    return made.id


def test_nothing_yet(database: Database) -> None:
    found = _scrape(database)
    assert found["outbox_waiting", "outbox"] == found["outbox_oldest_seconds", "notice"] == 0
    assert found["inbound_waiting",] == found["inbound_oldest_seconds",] == 0
    assert not [key for key in found if key[0].startswith(("sendings", "deliver", "sms"))]


def test_what_is_told_of_a_queue(database: Database, mailing: MailingList) -> None:
    waiting, sent = DeliveryState.WAITING, DeliveryState.SENT
    with database.write() as connection:
        rows = [
            ("a@one.example", waiting, None, -10),
            *[("b@one.example", waiting, "450 4.2.0", 30)] * 2,
            ("c@two.example", waiting, "421", 30),
            ("d@two.example", sent, "421", 30),
        ]
        made = _send(connection, mailing, rows)
        connection.execute(sending.update().where(sending.c.id == made).values(sent=1))
        person: dict[str, Any] = {"account_id": mailing.account_id, "list_id": mailing.id, "recipient_id": 1}
        asked = {"kind": "welcome", "state": "waiting", "created_at": NOW - timedelta(hours=1)}
        connection.execute(outbox.insert().values(**person, **asked))
        came = {"source": "smtp", "digest": "x", "sender": "", "recipients": [], "state": "waiting"}
        connection.execute(inbound_mail.insert().values(**came, created_at=NOW - timedelta(hours=2)))
        connection.execute(sms_credit.insert().values(account_id=mailing.account_id, list_id=0, thousandths=12_500))
    found = _scrape(database)
    assert found["sendings", "email", "sending"] == 1
    assert found["deliveries_total", "email", "sent"] == 1
    assert found["deliveries_total", "email", "failed"] == 0
    assert found["delivery_waiting", "email", "bulk"] == 4
    assert 600 <= found["delivery_oldest_seconds", "email", "bulk"] < 1200
    deferrals = {key[1:]: value for key, value in found.items() if key[0] == "delivery_deferrals"}
    assert deferrals == {("450 4.2.0", "one.example"): 2, ("421", "two.example"): 1}
    assert found["outbox_waiting", "outbox"] == 1
    assert 3600 <= found["outbox_oldest_seconds", "outbox"] < 4200
    assert 7200 <= found["inbound_oldest_seconds",] < 7800
    assert found["sms_credits", "1"] == 12.5


def test_it_is_not_read_at_every_scrape(database: Database) -> None:
    with database.read() as connection:
        first = delivery_metrics(database, connection, NOW)
        assert delivery_metrics(database, connection, NOW) is first


@pytest.mark.parametrize(
    ("state", "notify", "told"),
    [
        ("completed", "boss@example.com", "boss@example.com"),
        ("failed", "boss@example.com", "boss@example.com"),
        ("failed", "", "contact@example.com"),
        ("completed", "", None),
    ],
)
def test_who_is_told_of_the_end(
    database: Database, mailing: MailingList, state: Any, notify: str, told: str | None
) -> None:
    with database.write() as connection:
        set_contact(connection, mailing.account_id, "contact@example.com")
        made = add_sending(
            connection,
            mailing,
            Channel.EMAIL,
            None,
            subject="Offers",
            message_number=9,
            state=state,
            notify_email=notify,
        )
        values = {"total": 5, "sent": 3, "failed": 2, "error_text": "Gone."}
        connection.execute(sending.update().where(sending.c.id == made.id).values(**values))
        for _ in range(2):
            tell_ended(connection, made.id)
        rows = connection.execute(select(notice.c.address, notice.c.kind, notice.c.subject, notice.c.text)).all()
    assert [row.address for row in rows] == ([told] if told else [])
    for row in rows:
        assert (row.kind, row.subject.startswith("Sending 1 "), row.subject.endswith(": Offers")) == (
            "sending",
            True,
            True,
        )
        assert {"List: News (1)", "Message: 9", "Messages: 5", "Sent: 3", "Failed: 2", "Gone."} <= set(
            row.text.split("\n")
        )
