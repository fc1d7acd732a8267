"""Lists, groups, fields and templates, as the services with an access key show them (specification §1.3).

Numbers 5 to 7, 12, 33 and 34 there; the first three are operations of MailupManage too.
"""

from __future__ import annotations

from audience.accounts import Account
from audience.lists import fields_of, groups_of, lists_of
from audience.templates import Template, templates_of
from audience.users import has_user
from services.mailup.instants import describe_instant
from services.mailup.keyed_operations import find_own_list, keyed_operation
from services.mailup.keyed_results import Shape, text_element
from services.mailup.list_results import GROUPS, LISTS, TEMPLATES, describe_groups, describe_list, describe_lists
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call

_FIELDS = element("Fields")


@keyed_operation("GetLists", Shape("GetListsResult", LISTS), accessKey=STRING)
def get_lists(call: Call, account: Account) -> str:
    """Return the account's lists."""
    with call.resources.database.read_once() as connection:
        return describe_lists(lists_of(connection, account.id))


@keyed_operation("GetListsUser", Shape("GetListsUserResult", LISTS), accessKey=STRING, idUser=INT)
def get_lists_of_user(call: Call, account: Account, user: int) -> str:
    """Return the lists that a user sees: all of them, if he is one of the account's."""
    with call.resources.database.read() as connection:
        return describe_lists(lists_of(connection, account.id) if has_user(connection, account.id, user) else ())


@keyed_operation("GetGroups", Shape("GetGroupsResult", GROUPS), accessKey=STRING, listID=INT)
def get_groups(call: Call, account: Account, number: int) -> str:
    """Return a list's groups."""
    with call.resources.database.read() as connection:
        mailing = find_own_list(connection, account, number)
        return describe_groups(mailing, groups_of(connection, [mailing.id]))


@keyed_operation("GetTemplates", Shape("GetTemplatesResult", TEMPLATES), accessKey=STRING, listID=INT)
def get_templates(call: Call, account: Account, number: int) -> str:
    """Return a list's templates."""
    with call.resources.database.read() as connection:
        mailing = find_own_list(connection, account, number)
        templates = templates_of(connection, account.id, mailing)
    described = "".join(_describe_template(template, account) for template in templates)
    return element("list", describe_list(mailing) + element("templates", described))


@keyed_operation("GetFields", Shape("GetFields", codes_success=False, names_error=True), accessKey=STRING)
def get_fields(call: Call, account: Account) -> str:
    """Return the account's personal data fields, in the deprecated form."""
    return element("Fields", "".join(element("Field", Name=name, Id=number) for number, name in _read(call, account)))


@keyed_operation("GetFields_st", Shape("GetFields_st", _FIELDS, names_error=True), accessKey=STRING)
def get_fields_st(call: Call, account: Account) -> str:
    """Return the account's personal data fields."""
    return element("Fields", "".join(element("Field", Id=number, Name=name) for number, name in _read(call, account)))


def _read(call: Call, account: Account) -> list[tuple[int, str]]:
    with call.resources.database.read_once() as connection:
        return list(fields_of(connection, account.id).items())


def _describe_template(template: Template, account: Account) -> str:
    content = (
        element("templateID", str(template.number))
        + text_element("subject", template.subject)
        + text_element("note", template.notes)
        + element("creationdate", describe_instant(template.created_at, account.zone))
    )
    return element("template", content)
