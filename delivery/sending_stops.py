"""Accounts that send nothing by a channel until somebody starts it again."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, select

from audience.status_rules import Channel
from db.functions import insert_into
from db.tables import sending_stop


def stop_channel(connection: Connection, account_id: int, channel: Channel) -> None:
    """Let an account send nothing more by a channel; its sendings keep their places."""
    insert = insert_into(connection, sending_stop)
    row = {"account_id": account_id, "channel": int(channel), "at": datetime.now(UTC)}
    connection.execute(insert.values(**row).on_conflict_do_nothing())


def start_channel(connection: Connection, account_id: int, channel: Channel) -> None:
    """Let an account send by a channel again."""
    connection.execute(sending_stop.delete().where(_is_stop(account_id, channel)))


def is_stopped(connection: Connection, account_id: int, channel: Channel) -> bool:
    """Tell whether an account was stopped."""
    query = select(sending_stop.c.at).where(_is_stop(account_id, channel))
    return connection.execute(query).first() is not None


def _is_stop(account_id: int, channel: Channel) -> ColumnElement[bool]:
    return (sending_stop.c.account_id == account_id) & (sending_stop.c.channel == int(channel))
