"""The operations on import processes: prepare, start, follow (specification §1.2, §2.5).

An import that came by FTP or from the command line is followed in the same way as one started here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from audience.accounts import Account
from exchange.profiles import Profile
from services.mailup.import_operations import import_operation
from services.mailup.import_request import (
    EMPTY_DOCUMENT,
    ImportFlags,
    Started,
    find_process,
    find_target,
    prepare_import,
    read_target,
    read_targets,
    start_imports,
)
from services.mailup.prepared_imports import start_all_prepared, start_one_prepared
from services.mailup.results import Refusal, element, write_result
from services.soap.declarations import BOOLEAN, INT, LARGE_TEXT, STRING, Call
from services.soap.large_text import Text

UNKNOWN_PROCESS = -501
FAILED_NEW = -400
FAILED_DETAILS = -500
FAILED_START = -600

# To be executed, in progress, completed, failed. Cancelled has no code of its own, and is not completed.
STATUS_CODES = {"prepared": 1, "queued": 1, "running": 2, "completed": 3, "skipped": 3, "failed": 4, "cancelled": 4}

_COUNTERS = {
    "TotalContacts": "total",
    "NewMobile": "new_mobile",
    "NewEmail": "new_email",
    "OptOutMobile": "optout_mobile",
    "OptOutEmail": "optout_email",
    "ExistingMobile": "existing_mobile",
    "ExistingEmail": "existing_email",
}
_FLAGS = {
    "importType": INT,
    "mobileInputType": INT,
    "asPending": BOOLEAN,
    "ConfirmEmail": BOOLEAN,
    "asOptOut": BOOLEAN,
    "forceOptIn": BOOLEAN,
    "replaceGroups": BOOLEAN,
}


@import_operation(
    "NewImportProcess",
    FAILED_NEW,
    idList=INT,
    listGUID=STRING,
    xmlDoc=LARGE_TEXT,
    idGroups=STRING,
    **_FLAGS,
    idConfirmNL=INT,
)
def new_import_process(
    call: Call,
    account: Account,
    list_id: int,
    list_guid: str | None,
    document: Text | None,
    group_ids: str | None,
    *flags: Any,
) -> str:
    """Prepare an import, which waits until it is started; return its number."""
    wanted = read_target(list_id, list_guid, group_ids)
    with call.resources.database.read() as connection:
        mailing = find_target(connection, account.id, wanted)
    how = _read_flags(*flags)
    return write_result(prepare_import(call.resources, mailing, wanted.groups, _require(document), how))


@import_operation(
    "StartImportProcesses",
    FAILED_START,
    listsIDs=STRING,
    listsGUIDs=STRING,
    xmlDoc=LARGE_TEXT,
    groupsIDs=STRING,
    **_FLAGS,
)
def start_import_processes(
    call: Call,
    account: Account,
    list_ids: str | None,
    list_guids: str | None,
    document: Text | None,
    group_ids: str | None,
    *flags: Any,
) -> str:
    """Start one import of the document for each list; without a document, all imports that have been prepared."""
    if document is None:
        return _describe_all_started(start_all_prepared(call.resources.database, account))
    how = _read_flags(*flags)
    document = _require(document)
    targets = read_targets(list_ids, list_guids, group_ids)
    return _describe_all_started(start_imports(call.resources, account, targets, document, how))


def _read_flags(
    import_type: int,
    _mobile_input_type: int,
    as_pending: bool,
    confirm_email: bool,
    as_opt_out: bool,
    force_opt_in: bool,
    replace_groups: bool,
    confirm_message: int = 0,
) -> ImportFlags:
    # Prefix and number are joined whichever way they come, so the mobile input type makes no difference.
    return ImportFlags(
        import_type=import_type,
        as_pending=as_pending,
        confirm_email=confirm_email,
        as_opt_out=as_opt_out,
        force_opt_in=force_opt_in,
        replace_groups=replace_groups,
        confirm_message=confirm_message,
    )


def _require(document: Text | None) -> Text:
    if document is None or document.is_blank():
        raise Refusal(EMPTY_DOCUMENT)
    return document


def _describe_all_started(started: Iterable[Started]) -> str:
    return write_result(0, element("processes", "".join(map(_describe_started, started))))


def _describe_started(started: Started) -> str:
    numbers = {"processID": started.process, "listID": started.list_number, "ReturnCode": started.code}
    return element("process", "".join(element(name, str(number)) for name, number in numbers.items()))


@import_operation("StartProcess", FAILED_START, idList=INT, listGUID=STRING, idProcess=INT)
def start_process(call: Call, account: Account, list_id: int, list_guid: str | None, process: int) -> str:
    """Start an import that has been prepared."""
    start_one_prepared(call.resources.database, account, read_target(list_id, list_guid), process)
    return write_result(0)


@import_operation("GetProcessDetails", FAILED_DETAILS, idList=INT, listGUID=STRING, idProcess=INT)
def get_process_details(call: Call, account: Account, list_id: int, list_guid: str | None, process: int) -> str:
    """Return how far an import is and what it has counted."""
    with call.resources.database.read() as connection:
        mailing = find_target(connection, account.id, read_target(list_id, list_guid))
        run = find_process(connection, mailing, process)
    if run is None:
        raise Refusal(UNKNOWN_PROCESS)
    details = "".join(element(name, value) for name, value in _describe_run(run, account.zone).items())
    return write_result(0, element("ImportProcess", details, idProcess=process))


def _describe_run(run: Row[Any], zone: ZoneInfo) -> dict[str, str]:
    confirms = Profile.from_dict(run.profile).confirm
    return {
        "StartDate": _describe_time(run.started_at, zone),
        "EndDate": _describe_time(run.finished_at, zone),
        **{name: str(run.counters.get(counter, 0)) for name, counter in _COUNTERS.items()},
        "StatusCode": str(STATUS_CODES[run.state]),
        "IsRunning": str(run.state == "running"),
        "ConfirmationEmail": str(confirms),
        # Confirmation requests wait until the import has ended.
        "ConfirmationSent": str(run.state == "completed") if confirms else "",
    }


def _describe_time(at: datetime | None, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%d/%m/%Y %H.%M.%S") if at is not None else ""
