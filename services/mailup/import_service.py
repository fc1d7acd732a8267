"""WSMailUpImport: reads lists, starts imports, follows them (specification §1.2, §2).

An import that came by FTP or from the command line is followed in the same way as one started here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import wraps
from itertools import groupby
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, Row, select

from audience.accounts import Account
from audience.lists import GroupRow, MailingList, lists_with_groups
from db.tables import import_run
from exchange.profiles import Profile
from services.http.failures import describe_failure
from services.mailup.import_authentication import admits, authenticate
from services.mailup.import_request import (
    EMPTY_DOCUMENT,
    ImportFlags,
    Started,
    find_target,
    read_targets,
    start_imports,
)
from services.mailup.operations_to_come import OperationToCome
from services.mailup.results import Refusal, describe_outcome, element, escape_value, write_result
from services.soap.declarations import BOOLEAN, INT, LARGE_TEXT, STRING, Call, Service, header_type, operation
from services.soap.large_text import Text

log = structlog.get_logger()

NAMESPACE = "http://ws.mailupnet.it/"
UNKNOWN_PROCESS = -501
FAILED_LISTS = -200
FAILED_USER = -200
FAILED_GROUP = -300
FAILED_NEW = -400
FAILED_DETAILS = -500
FAILED_START = -600

# To be executed, in progress, completed, failed.
STATUS_CODES = {"prepared": 1, "queued": 1, "running": 2, "completed": 3, "skipped": 3, "failed": 4}

_COUNTERS = {
    "TotalContacts": "total",
    "NewMobile": "new_mobile",
    "NewEmail": "new_email",
    "OptOutMobile": "optout_mobile",
    "OptOutEmail": "optout_email",
    "ExistingMobile": "existing_mobile",
    "ExistingEmail": "existing_email",
}


def _answer(failure: int) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Let a function that gets the call and the caller's account answer refusals and failures with their codes.

    Args:
        failure: code of the operation's "unrecognized error".
    """

    def decorate(function: Callable[..., str]) -> Callable[..., str]:
        @wraps(function)
        def answer(call: Call, *parameters: Any) -> str:
            try:
                return function(call, authenticate(call), *parameters)
            except Refusal as refusal:
                return write_result(refusal.code)
            except Exception as error:
                log.error("import_call_failed", operation=function.__name__, **describe_failure(error))
                return write_result(failure)

        return answer

    return decorate


def _to_come(name: str, failure: int, /, **parameters: Any) -> OperationToCome:
    """Declare an operation that is not there yet: for callers with a right password it fails with its own code."""

    @_answer(failure)
    def refuse(_call: Call, _account: Account, *_parameters: Any) -> str:
        log.info("operation_not_available", operation=name)
        raise Refusal(failure)

    return OperationToCome(name, STRING, parameters, refuse)


@operation("GetNlLists")
@_answer(FAILED_LISTS)
def get_lists(call: Call, account: Account) -> str:
    """Return the account's lists and their groups."""
    with call.resources.database.read_once() as connection:
        rows = lists_with_groups(connection, account.id)
    lists = groupby(rows, key=itemgetter(0, 1, 2))
    return write_result(0, element("Lists", "".join([_describe_list(mailing, groups) for mailing, groups in lists])))


def _describe_list(mailing: tuple[int, str, str], rows: Iterable[GroupRow]) -> str:
    number, guid, name = mailing
    # Groups are most of the answer, so their elements are not built up attribute by attribute.
    groups = "".join(
        [
            f'<Group idGroup="{group_number}" groupName="{escape_value(group_name)}"></Group>'
            for _, _, _, group_number, group_name in rows
            if group_name is not None
        ]
    )
    return element("List", element("Groups", groups), idList=number, listGUID=guid, listName=name)


@operation(
    "StartImportProcesses",
    listsIDs=STRING,
    listsGUIDs=STRING,
    xmlDoc=LARGE_TEXT,
    groupsIDs=STRING,
    importType=INT,
    mobileInputType=INT,
    asPending=BOOLEAN,
    ConfirmEmail=BOOLEAN,
    asOptOut=BOOLEAN,
    forceOptIn=BOOLEAN,
    replaceGroups=BOOLEAN,
)
@_answer(FAILED_START)
def start_import_processes(
    call: Call,
    account: Account,
    list_ids: str | None,
    list_guids: str | None,
    document: Text | None,
    group_ids: str | None,
    import_type: int,
    _mobile_input_type: int,
    as_pending: bool,
    confirm_email: bool,
    as_opt_out: bool,
    force_opt_in: bool,
    replace_groups: bool,
) -> str:
    """Start one import of the document for each list.

    Prefix and number are joined whichever way they come, so the mobile input type makes no difference.
    """
    if document is None:
        # This starts the imports that were prepared earlier; none are.
        return write_result(0, element("processes"))
    if document.is_blank():
        raise Refusal(EMPTY_DOCUMENT)
    flags = ImportFlags(
        import_type=import_type,
        as_pending=as_pending,
        confirm_email=confirm_email,
        as_opt_out=as_opt_out,
        force_opt_in=force_opt_in,
        replace_groups=replace_groups,
    )
    targets = read_targets(list_ids, list_guids, group_ids)
    started = start_imports(call.resources, account, targets, document, flags)
    return write_result(0, element("processes", "".join(map(_describe_started, started))))


def _describe_started(started: Started) -> str:
    numbers = {"processID": started.process, "listID": started.list_number, "ReturnCode": started.code}
    return element("process", "".join(element(name, str(number)) for name, number in numbers.items()))


@operation("GetProcessDetails", idList=INT, listGUID=STRING, idProcess=INT)
@_answer(FAILED_DETAILS)
def get_process_details(call: Call, account: Account, list_id: int, list_guid: str | None, process: int) -> str:
    """Return how far an import is and what it has counted."""
    with call.resources.database.read() as connection:
        mailing = find_target(connection, account.id, str(list_id), (list_guid or "").strip())
        run = _find_run(connection, mailing, process)
    details = "".join(element(name, value) for name, value in _describe_run(run, account.zone).items())
    return write_result(0, element("ImportProcess", details, idProcess=process))


def _find_run(connection: Connection, mailing: MailingList, number: int) -> Row[Any]:
    query = select(import_run).where(
        import_run.c.account_id == mailing.account_id,
        import_run.c.list_id == mailing.id,
        import_run.c.number == number,
    )
    run = connection.execute(query).one_or_none()
    if run is None:
        raise Refusal(UNKNOWN_PROCESS)
    return run


def _describe_run(run: Row[Any], zone: ZoneInfo) -> dict[str, str]:
    confirms = Profile.from_dict(run.profile).confirm
    return {
        "StartDate": _describe_time(run.started_at, zone),
        "EndDate": _describe_time(run.finished_at, zone),
        **{name: str(run.counters.get(counter, 0)) for name, counter in _COUNTERS.items()},
        "StatusCode": str(STATUS_CODES[run.state]),
        "IsRunning": str(run.state == "running"),
        "ConfirmationEmail": str(confirms),
        # Confirmation requests are not sent yet.
        "ConfirmationSent": "False" if confirms else "",
    }


def _describe_time(at: datetime | None, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%d/%m/%Y %H.%M.%S") if at is not None else ""


IMPORT_SERVICE = Service(
    name="WSMailUpImport",
    namespace=NAMESPACE,
    paths=("/Services/WSMailUpImport.asmx", "/Services/WSMailup.asmx"),
    operations=(
        _to_come("GetIdWsUser", FAILED_USER),
        _to_come("GetIdUser", FAILED_USER, userName=STRING),
        get_lists,
        _to_come("GetNlListsUser", FAILED_LISTS, userId=INT),
        _to_come(
            "NewImportProcess",
            FAILED_NEW,
            idList=INT,
            listGUID=STRING,
            xmlDoc=LARGE_TEXT,
            idGroups=STRING,
            importType=INT,
            mobileInputType=INT,
            asPending=BOOLEAN,
            ConfirmEmail=BOOLEAN,
            asOptOut=BOOLEAN,
            forceOptIn=BOOLEAN,
            replaceGroups=BOOLEAN,
            idConfirmNL=INT,
        ),
        start_import_processes,
        _to_come("CreateGroup", FAILED_GROUP, idList=INT, listGUID=STRING, newGroupName=STRING),
        get_process_details,
        _to_come("StartProcess", FAILED_START, idList=INT, listGUID=STRING, idProcess=INT),
    ),
    documentation="MailUp WebService for subscribers import.",
    header=header_type("Authentication", NAMESPACE, "User", "Password", "encType"),
    describe_outcome=describe_outcome,
    admits=admits,
    plain_http=True,
)
