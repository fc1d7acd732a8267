"""How lists, groups and templates are written into results (specification §1.3, no. 6, 7, 12, 35 to 40)."""

from __future__ import annotations

from collections.abc import Iterable

from audience.lists import Group, MailingList
from services.mailup.keyed_results import text_element
from services.mailup.results import element

LISTS = element("lists")
GROUPS = element("list", element("groups"))
TEMPLATES = element("list", element("templates"))
IDENTITIES = element("Lists")


def describe_lists(lists: Iterable[MailingList]) -> str:
    """Return lists with their numbers and names."""
    return element("lists", "".join(element("list", describe_list(mailing)) for mailing in lists))


def describe_list(mailing: MailingList) -> str:
    """Return what is said of a list wherever it is named."""
    return element("listID", str(mailing.number)) + text_element("listName", mailing.name)


def describe_groups(mailing: MailingList, groups: Iterable[Group]) -> str:
    """Return groups of a list."""
    return element("list", describe_list(mailing) + element("groups", "".join(map(_describe_group, groups))))


def describe_identities(lists: Iterable[MailingList]) -> str:
    """Return lists as those operations do that know them by the id of another system."""
    described = (element("List", Guid=mailing.guid, Id=mailing.number, Name=mailing.name) for mailing in lists)
    return element("Lists", "".join(described))


def _describe_group(group: Group) -> str:
    name, notes = text_element("groupName", group.name), text_element("groupNotes", group.notes)
    return element("group", element("groupID", str(group.number)) + name + notes)
