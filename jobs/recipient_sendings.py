"""Tables of recipients for a message: they are imported into a group of their own, which its sending goes to."""

from __future__ import annotations

from sqlalchemy import Connection, select

from audience.lists import load_list
from db.tables import sending
from delivery.sendings import Target
from delivery.waiting_sendings import plan_waiting
from exchange.profiles import Profile
from jobs.sending_work import Work, add_temporary_group


def begin_recipients(work: Work) -> None:
    """Make the group, and put the import into the queue.

    Raises:
        LeaseLost: another process has the run now.
    """
    work.write(lambda connection: _begin(connection, work))


def complete_recipients(work: Work) -> None:
    """Plan the sending whose recipients have been imported; what was done already stays.

    Raises:
        LeaseLost: another process has the run now.
    """
    target = Target(to="groups", groups=(work.run.options["group"],))
    work.write(lambda connection: plan_waiting(connection, work.run.sending_id, target=target))


def _begin(connection: Connection, work: Work) -> None:
    of_sending = select(sending.c.list_id, sending.c.number).where(sending.c.id == work.run.sending_id)
    list_id, number = connection.execute(of_sending).one()
    mailing = load_list(connection, list_id)
    group = add_temporary_group(connection, mailing)
    options = work.run.options
    profile = Profile(
        separator=options["separator"],
        column_names=options["column_names"],
        groups=(group.number,),
        # Whoever sends to a million people is asked to name each of them once.
        duplicates="refuse",
    )
    names = {"spool_name": work.run.spool_name, "file_name": work.run.file_name}
    import_id = work.import_people(connection, mailing, profile, **names)
    work.note(
        connection,
        begun=True,
        import_id=import_id,
        options={"group": group.number},
        counters={"sending": number},
    )
