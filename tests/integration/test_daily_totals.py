"""Totals of days: counted with the events, by the account's days, and without what is hidden."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select
from tracked_sending import SENT_AT, TrackedSending, send_message

from audience.daily_totals import DailyTotal, find_totals, hide_statistics
from audience.erasure import erase_recipient
from audience.events import MailEvent, MailEventKind, SmsEvent, SmsStatus, append_mail_events, append_sms_events
from audience.history import Cause
from audience.lists import add_list
from audience.mail_statistics import select_mail_statistics
from audience.selections import Selection
from audience.status_rules import Channel
from audience.subscriptions import parse_address
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import mail_event
from delivery.sending_requests import request_sending
from delivery.sendings import Sender, Target, add_sending

# 00:30 on the second of November in Rome.
LATE = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


def _event(sent: TrackedSending, kind: MailEventKind, at: datetime = SENT_AT, person: int = 0) -> MailEvent:
    ids = (sent.mailing.id, sent.sending.id, sent.recipient_ids[person])
    return MailEvent(*ids, sent.emails[person], kind, at, SENT_AT)


def _append(sent: TrackedSending, *events: MailEvent) -> None:
    with sent.database.write() as connection:
        assert append_mail_events(connection, sent.account.id, events) == len(events)


def _totals(sent: TrackedSending, channel: Channel = Channel.EMAIL, first: date = FIRST) -> list[DailyTotal]:
    with sent.database.read_once() as connection:
        return find_totals(connection, sent.account.id, channel, first, SECOND)


def test_events_are_counted_by_the_days_of_the_account(database: Database) -> None:
    sent = send_message(database)
    other = send_message(database, 2)
    kinds = MailEventKind
    _append(sent, *(_event(sent, kinds.SENT, person=person) for person in range(3)), _event(sent, kinds.OPENED))
    _append(sent, _event(sent, kinds.OPENED, LATE), _event(sent, kinds.CLICKED, LATE), _event(sent, kinds.OPENED))
    _append(sent, _event(sent, kinds.BOUNCED, SENT_AT, 2))
    _append(other, _event(other, kinds.SENT))
    of_message = (sent.mailing.id, Channel.EMAIL, sent.message.number)
    assert _totals(sent) == [DailyTotal(FIRST, *of_message, 3, 2, 0, 1), DailyTotal(SECOND, *of_message, 0, 1, 1, 0)]
    assert _totals(sent, first=SECOND) == [DailyTotal(SECOND, *of_message, 0, 1, 1, 0)]
    assert [total.sent for total in _totals(other)] == [1]
    with database.read_once() as connection:
        whole = (connection, sent.account.id, Channel.EMAIL, FIRST, SECOND)
        assert len(find_totals(*whole, list_id=sent.mailing.id, message_number=sent.message.number)) == 2
        assert find_totals(*whole, list_id=sent.mailing.id + 1000) == []
        assert find_totals(*whole, message_number=sent.message.number + 1) == []


def test_text_messages_are_counted(database: Database) -> None:
    sent = send_message(database)
    with database.write() as connection:
        text = add_sending(connection, sent.mailing, Channel.SMS, None, message_number=9, state="completed")
        ids = (sent.mailing.id, text.id, sent.recipient_ids[0])
        states = (SmsStatus.QUEUED, SmsStatus.DELIVERED, SmsStatus.QUEUED, SmsStatus.ERROR)
        events = [SmsEvent(*ids, "+393331234567", status, SENT_AT, SENT_AT) for status in states]
        append_sms_events(connection, sent.account.id, events)
    assert _totals(sent, Channel.SMS) == [DailyTotal(FIRST, sent.mailing.id, Channel.SMS, 9, 2, 0, 0, 1)]
    assert _totals(sent) == []


def test_hidden_statistics_are_left_out(database: Database) -> None:
    sent = send_message(database)
    _append(sent, _event(sent, MailEventKind.SENT), _event(sent, MailEventKind.OPENED))
    with database.write() as connection:
        hide_statistics(connection, sent.account.id, Channel.EMAIL, sent.message.number)
        again = add_sending(connection, sent.mailing, Channel.EMAIL, sent.message, state="completed")
    _append(sent, _event(sent, MailEventKind.CLICKED))
    assert _totals(sent) == []
    _append(sent, _event(sent, MailEventKind.SENT)._replace(sending_id=again.id))
    assert [total[4:] for total in _totals(sent)] == [(1, 0, 0, 0)]
    wanted = Selection(account_id=sent.account.id)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(mail_event)).scalar_one() == 4
        rows = connection.execute(select_mail_statistics(wanted, ["status", "sending"])).all()
    assert [row[1] for row in rows] == [again.number]


def test_a_sending_that_begins_anew_leaves_earlier_totals_out(database: Database) -> None:
    sent = send_message(database)
    _append(sent, _event(sent, MailEventKind.SENT))
    with database.write() as connection:
        request_sending(
            connection,
            sent.mailing,
            sent.message,
            target=Target(),
            sender=Sender(email="shop@example.com"),
            clear_statistics=True,
        )
    assert _totals(sent) == []


def test_hiding_is_of_one_account_and_channel(database: Database) -> None:
    sent, other = send_message(database), send_message(database, 2)
    assert sent.message.number == other.message.number
    for one in (sent, other):
        _append(one, _event(one, MailEventKind.SENT))
    with database.write() as connection:
        hide_statistics(connection, sent.account.id, Channel.SMS, sent.message.number)
        hide_statistics(connection, other.account.id, Channel.EMAIL, sent.message.number)
    assert len(_totals(sent)) == 1
    assert _totals(other) == []


def test_sendings_of_others_are_not_counted(database: Database) -> None:
    sent, other = send_message(database), send_message(database, 2)
    _append(sent, _event(other, MailEventKind.OPENED))
    assert _totals(sent) == []
    assert _totals(other) == []


def test_totals_stay_when_a_person_is_forgotten(database: Database) -> None:
    sent = send_message(database)
    _append(sent, _event(sent, MailEventKind.OPENED))
    before = _totals(sent)
    with database.write() as connection:
        erase_recipient(connection, sent.account.id, parse_address(sent.mailing, email=sent.emails[0]), Cause("test"))
    assert sent.events() == []
    assert _totals(sent) == before


def test_writers_at_once_lose_nothing(database: Database) -> None:
    sent = send_message(database)
    with database.write() as connection:
        add_list(connection, sent.account.id, "Offers")
    days = [SENT_AT + timedelta(days=days) for days in (-1, 0, 1)]

    def write(turn: int) -> None:
        ordered = days if turn % 2 else days[::-1]
        for _ in range(10):
            retry_on_conflict(lambda: _append(sent, *(_event(sent, MailEventKind.OPENED, at) for at in ordered)))

    threads = [threading.Thread(target=write, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(total.opened for total in _totals(sent, first=date(2026, 10, 1))) == len(sent.events()) == 120
