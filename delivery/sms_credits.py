"""Credits for text messages: what an account, or a list of it, may still send; a part costs one.

A list that was given credits of its own pays with those and with no others; all other lists pay with the account's.
Credits are taken before a message goes out, by one conditional statement, so that two senders at the same moment
cannot take the same ones; what was not handed over is given back.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, Row, bindparam, case, func, select

from audience.lists import MailingList, is_here
from db.functions import insert_into
from db.tables import delivery, mailing_list, sms_credit
from delivery.errors import NotEnoughCredits
from delivery.queue import DeliveryState

PART = 1000
"""Thousandths of a credit that a part costs."""
ACCOUNT = 0
"""Stands where a list's id would, for the account's own credits."""
MAX_CREDITS = 10**12
NO_CREDITS = "There are not enough credits for text messages."


@dataclass(frozen=True, slots=True)
class ListCredit:
    """What one list may send."""

    number: int
    name: str
    credit: Decimal
    """Its own, or the account's when it has none of its own."""
    is_own: bool


def account_credit(connection: Connection, account_id: int) -> Decimal:
    """Return the credits of an account, without those that were given to its lists."""
    return _to_credits(_read(connection, account_id, ACCOUNT) or 0)


def list_credits(connection: Connection, account_id: int) -> list[ListCredit]:
    """Return the credits that each list of an account can pay with, by the numbers of the lists."""
    shared = _read(connection, account_id, ACCOUNT) or 0
    own = (sms_credit.c.account_id == mailing_list.c.account_id) & (sms_credit.c.list_id == mailing_list.c.id)
    query = (
        select(mailing_list.c.number, mailing_list.c.name, sms_credit.c.thousandths)
        .join_from(mailing_list, sms_credit, own, isouter=True)
        .where(mailing_list.c.account_id == account_id, is_here())
        .order_by(mailing_list.c.number)
    )
    return [_describe(row, shared) for row in connection.execute(query)]


def add_credits(connection: Connection, account_id: int, amount: Decimal, mailing: MailingList | None = None) -> None:
    """Add credits to an account or to one list of it, or take some away.

    Args:
        connection: in a writing transaction.
        account_id: whose.
        amount: to the thousandth; negative takes away.
        mailing: None for the account's own.

    Raises:
        NotEnoughCredits: fewer are left than are to be taken away.
        ValueError: the amount is finer than a thousandth, or too large.
    """
    thousandths = _to_thousandths(amount)
    purse = mailing.id if mailing is not None else ACCOUNT
    if thousandths < 0:
        if not _take(connection, account_id, purse, -thousandths):
            raise NotEnoughCredits("There are fewer credits than are to be taken away.")
        return
    _put(connection, account_id, purse, thousandths)


def set_credits(
    connection: Connection, account_id: int, amount: Decimal | None, mailing: MailingList | None = None
) -> None:
    """Set the credits of an account, or of one list of it.

    Args:
        connection: in a writing transaction.
        account_id: whose.
        amount: to the thousandth; None has a list pay with the account's again.
        mailing: None for the account's own.

    Raises:
        ValueError: the amount is negative, finer than a thousandth, or too large.
    """
    purse = mailing.id if mailing is not None else ACCOUNT
    here = (sms_credit.c.account_id == account_id) & (sms_credit.c.list_id == purse)
    if amount is None:
        connection.execute(sms_credit.delete().where(here))
        return
    thousandths = _to_thousandths(amount)
    if thousandths < 0:
        raise ValueError("Credits cannot be negative.")
    insert = insert_into(connection, sms_credit).values(account_id=account_id, list_id=purse, thousandths=thousandths)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[sms_credit.c.account_id, sms_credit.c.list_id], set_={"thousandths": thousandths}
        )
    )


def take_credits(connection: Connection, account_id: int, list_id: int, parts: int) -> None:
    """Pay for parts of text messages.

    Args:
        connection: in a writing transaction.
        account_id: who pays.
        list_id: internal id of the list that sends.
        parts: how many.

    Raises:
        NotEnoughCredits: there are fewer; nothing was taken.
    """
    if not _take(connection, account_id, _find_purse(connection, account_id, list_id), parts * PART):
        raise NotEnoughCredits(NO_CREDITS)


def require_credits(connection: Connection, mailing: MailingList) -> None:
    """Let a list pass that can pay for a part.

    Raises:
        NotEnoughCredits: it cannot.
    """
    if not affordable_parts(connection, mailing.account_id, mailing.id):
        raise NotEnoughCredits(NO_CREDITS)


def affordable_parts(connection: Connection, account_id: int, list_id: int) -> int:
    """Return how many parts a list can pay at the moment; another sender may be faster."""
    return (_read(connection, account_id, _find_purse(connection, account_id, list_id)) or 0) // PART


def give_back_credits(connection: Connection, account_id: int, list_id: int, parts: int) -> None:
    """Give back what was paid for parts that were not handed over, in a writing transaction."""
    if parts:
        _put(connection, account_id, _find_purse(connection, account_id, list_id), parts * PART)


def refund_waiting(connection: Connection, sending_id: int) -> int:
    """Give back what was paid for the messages of a sending that wait; return for how many parts.

    Args:
        connection: in a writing transaction that takes them out of the queue next.
        sending_id: internal id, in whichever channel.
    """
    return _refund(connection, sending_id, DeliveryState.WAITING)


def refund_cancelled(connection: Connection, sending_id: int) -> int:
    """Give back what was paid for the messages of a sending that were cancelled; return for how many parts.

    Those that it was given back for already have no parts any more, so it may be called again.

    Args:
        connection: in a writing transaction.
        sending_id: internal id, in whichever channel.
    """
    return _refund(connection, sending_id, DeliveryState.CANCELLED)


def _refund(connection: Connection, sending_id: int, state: DeliveryState) -> int:
    here = (delivery.c.sending_id == sending_id) & (delivery.c.state == int(state))
    paid = here & delivery.c.parts.is_not(None)
    query = select(delivery.c.account_id, delivery.c.list_id, delivery.c.parts).where(paid).with_for_update()
    rows = connection.execute(query).all()
    if not rows:
        return 0
    connection.execute(delivery.update().where(paid).values(parts=None))
    parts = int(sum(row.parts for row in rows))
    give_back_credits(connection, rows[0].account_id, rows[0].list_id, parts)
    return parts


_CREDIT = select(sms_credit.c.thousandths).where(
    sms_credit.c.account_id == bindparam("account_id"), sms_credit.c.list_id == bindparam("list_id")
)
_PURSE = select(func.max(case((sms_credit.c.list_id == bindparam("list_id"), sms_credit.c.list_id), else_=0))).where(
    sms_credit.c.account_id == bindparam("account_id")
)


def _read(connection: Connection, account_id: int, purse: int) -> int | None:
    return connection.execute(_CREDIT, {"account_id": account_id, "list_id": purse}).scalar_one_or_none()


def _find_purse(connection: Connection, account_id: int, list_id: int) -> int:
    return connection.execute(_PURSE, {"account_id": account_id, "list_id": list_id}).scalar_one() or ACCOUNT


def _take(connection: Connection, account_id: int, purse: int, thousandths: int) -> bool:
    taken = (
        sms_credit.update()
        .where(
            sms_credit.c.account_id == account_id,
            sms_credit.c.list_id == purse,
            sms_credit.c.thousandths >= thousandths,
        )
        .values(thousandths=sms_credit.c.thousandths - thousandths)
    )
    return connection.execute(taken).rowcount == 1


def _put(connection: Connection, account_id: int, purse: int, thousandths: int) -> None:
    insert = insert_into(connection, sms_credit).values(account_id=account_id, list_id=purse, thousandths=thousandths)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[sms_credit.c.account_id, sms_credit.c.list_id],
            set_={"thousandths": sms_credit.c.thousandths + thousandths},
        )
    )


def _describe(row: Row[int, str, int | None], shared: int) -> ListCredit:
    number, name, own = row
    return ListCredit(number, name, _to_credits(shared if own is None else own), own is not None)


def _to_credits(thousandths: int) -> Decimal:
    return Decimal(thousandths) / PART


def _to_thousandths(amount: Decimal) -> int:
    thousandths = amount * PART
    if not amount.is_finite() or abs(amount) > MAX_CREDITS or thousandths != thousandths.to_integral_value():
        raise ValueError(f"Credits are a number up to {MAX_CREDITS}, with up to three decimals.")
    return int(thousandths)
