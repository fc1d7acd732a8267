"""What GetLists, GetGroups and GetFields answer, to the letter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from keyed_calls import MANAGE, SEND, Keyed
from sqlalchemy import Connection, Table
from web_server import serve

from audience.accounts import add_account
from audience.lists import add_group, add_list, set_field
from db.engine import Database
from db.tables import field, list_group, mailing_list
from jobs.storage import Storage

SCRIPTS = "Città – 東京 – 😀"
HOSTILE = [
    "]]>",
    "]]]]>>",
    "<![CDATA[x]]>",
    "&amp;<b>\"'",
    "</listName></list></lists>",
    "%s {0} \\",
    "\u202eabc",
]
START = "<errorCode>0</errorCode><errorDescription></errorDescription>"


@pytest.fixture
def keyed(database: Database, storage: Storage) -> Iterator[Keyed]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        add_group(connection, add_list(connection, account.id, "News"), "Customers")
        add_group(connection, add_list(connection, account.id, SCRIPTS), SCRIPTS)
        set_field(connection, account.id, 2, SCRIPTS)
        set_field(connection, account.id, 1, "nome")
        stranger = add_account(connection, 2, password="secret")
        for _ in range(3):
            add_group(connection, add_list(connection, stranger.id, "Other"), "Other")
        add_account(connection, 3, password="secret")
    with serve(database, storage) as site:
        yield Keyed(site)


@pytest.mark.parametrize("path", [SEND, MANAGE])
def test_lists(keyed: Keyed, path: str) -> None:
    assert keyed.result(path, "GetLists", accessKey=keyed.log_in()) == (
        f"<GetListsResult>{START}<lists>"
        "<list><listID>1</listID><listName><![CDATA[News]]></listName></list>"
        f"<list><listID>2</listID><listName><![CDATA[{SCRIPTS}]]></listName></list>"
        "</lists></GetListsResult>"
    )


@pytest.mark.parametrize("path", [SEND, MANAGE])
def test_groups(keyed: Keyed, path: str) -> None:
    assert keyed.result(path, "GetGroups", accessKey=keyed.log_in(), listID=2) == (
        f"<GetGroupsResult>{START}<list><listID>2</listID><listName><![CDATA[{SCRIPTS}]]></listName><groups>"
        f"<group><groupID>2</groupID><groupName><![CDATA[{SCRIPTS}]]></groupName><groupNotes></groupNotes></group>"
        "</groups></list></GetGroupsResult>"
    )


def test_fields(keyed: Keyed) -> None:
    key = keyed.log_in()
    fields = f'<Field Name="nome" Id="1"></Field><Field Name="{SCRIPTS}" Id="2"></Field>'
    expected = f"<GetFields><Fields>{fields}</Fields></GetFields>"
    assert keyed.result(SEND, "GetFields", accessKey=key) == expected
    fields = f'<Field Id="1" Name="nome"></Field><Field Id="2" Name="{SCRIPTS}"></Field>'
    expected = f"<GetFields_st>{START}<Fields>{fields}</Fields></GetFields_st>"
    assert keyed.result(SEND, "GetFields_st", accessKey=key) == expected


def test_nothing(keyed: Keyed, database: Database) -> None:
    key = keyed.log_in(user="a3", console=3)
    assert keyed.result(SEND, "GetLists", accessKey=key) == f"<GetListsResult>{START}<lists></lists></GetListsResult>"
    assert keyed.result(SEND, "GetFields", accessKey=key) == "<GetFields><Fields></Fields></GetFields>"
    assert keyed.result(SEND, "GetFields_st", accessKey=key) == (
        f"<GetFields_st>{START}<Fields></Fields></GetFields_st>"
    )
    with database.write() as connection:
        connection.execute(list_group.delete())
    root = keyed.call(SEND, "GetGroups", accessKey=keyed.log_in(), listID=1)
    assert [child.tag for child in root] == ["errorCode", "errorDescription", "list"]
    assert root.find("list/groups") is not None
    assert not root.findall("list/groups/*")


def test_unknown_lists(keyed: Keyed) -> None:
    key = keyed.log_in()
    for number in (0, 3, -1, 2**31 - 1, -(2**31)):
        assert keyed.result(MANAGE, "GetGroups", accessKey=key, listID=number) == (
            f"<GetGroupsResult><errorCode>5</errorCode><errorDescription><![CDATA[There is no list {number}.]]>"
            "</errorDescription><list><groups></groups></list></GetGroupsResult>"
        )


def test_failures(keyed: Keyed) -> None:
    text = "<![CDATA[The access key is not valid or has expired.]]>"
    start = f"<errorCode>4</errorCode><errorDescription>{text}</errorDescription>"
    shapes = {
        "GetLists": f"<GetListsResult>{start}<lists></lists></GetListsResult>",
        "GetGroups": f"<GetGroupsResult>{start}<list><groups></groups></list></GetGroupsResult>",
        "GetFields": f"<GetFields>{start}<Error>{text}</Error></GetFields>",
        "GetFields_st": f"<GetFields_st>{start}<Error>{text}</Error><Fields></Fields></GetFields_st>",
    }
    for operation, shape in shapes.items():
        assert keyed.result(SEND, operation, accessKey="x") == shape


def _rename(connection: Connection, table: Table, name: str) -> None:
    connection.execute(table.update().where(table.c.account_id == 1, table.c.number == 1).values(name=name))


def test_hostile_names(keyed: Keyed, database: Database) -> None:
    """No door lets such names in, but they may have come into the database by other ways."""
    key = keyed.log_in()
    for name in HOSTILE:
        with database.write() as connection:
            for table in (mailing_list, list_group, field):
                _rename(connection, table, name)
        assert keyed.call(SEND, "GetLists", accessKey=key).findtext("lists/list/listName") == name
        groups = keyed.call(SEND, "GetGroups", accessKey=key, listID=1)
        assert groups.findtext("list/listName") == groups.findtext("list/groups/group/groupName") == name
        fields = keyed.call(SEND, "GetFields_st", accessKey=key)
        assert [node.get("Name") for node in fields.findall("Fields/Field")] == [name, SCRIPTS]
