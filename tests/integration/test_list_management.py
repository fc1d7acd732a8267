"""Lists and groups made, changed and deleted over the wire: the documents to the letter, and what is stored then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from keyed_calls import ENVELOPE, MANAGE, NAMESPACE, SEND, Keyed
from lxml import etree
from sqlalchemy import Row, select
from web_server import serve

from audience.access_keys import issue_key
from audience.accounts import Account, add_account, find_account, find_api_login
from audience.list_changes import change_defaults
from audience.lists import add_group, add_list
from audience.templates import add_template
from audience.users import hash_user
from db.engine import Database
from db.tables import group_member, import_run, list_group, mailing_list, message_template, recipient, subscription
from exchange.profiles import Profile
from jobs.queue import ImportRequest, enqueue_import
from jobs.storage import Storage

SCRIPTS = "Città – 東京 – 😀 ]]"
START = "<errorCode>0</errorCode><errorDescription></errorDescription>"
GUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:x="http://www.w3.org/2001/XMLSchema"'
NUMBERS = (0, 9, -1, 2**31 - 1, -(2**31))


@dataclass(frozen=True)
class Office:
    """A server with two accounts, and a key to the first."""

    keyed: Keyed
    database: Database
    storage: Storage
    key: str

    def result(self, operation: str, path: str = MANAGE, **parameters: object) -> str:
        """Call an operation with the key; return the text of its result, which has no white space between elements."""
        result = self.keyed.result(path, operation, **({"accessKey": self.key} | parameters))
        assert not re.search(r">\s+<", result) and not result.startswith("<?xml")
        return result

    def call(self, operation: str, path: str = MANAGE, **parameters: object) -> etree._Element:
        """Call an operation with the key; return the root of its result."""
        return etree.fromstring(self.result(operation, path, **parameters))

    def code(self, operation: str, path: str = MANAGE, **parameters: object) -> str:
        """Call an operation with the key; return its error code."""
        return self.keyed.code(path, operation, accessKey=self.key, **parameters)

    def account(self, number: int = 1) -> Account:
        with self.database.read() as connection:
            return find_account(connection, number)

    def list(self, number: int) -> Row[Any]:
        """Return the row of a list of the first account."""
        here = (mailing_list.c.account_id == self.account().id) & (mailing_list.c.number == number)
        with self.database.read() as connection:
            return connection.execute(select(mailing_list).where(here)).one()

    def import_into(self, number: int, state: str) -> int:
        """Record an import."""
        mailing = self.list(number)
        request = ImportRequest(
            account_id=mailing.account_id,
            list_id=mailing.id,
            profile=Profile(),
            source="soap",
            file_name="a.xml",
            spool_name="a",
            size=1,
        )
        with self.database.write() as connection:
            import_id = enqueue_import(connection, request)
            connection.execute(import_run.update().where(import_run.c.id == import_id).values(state=state))
        return import_id


@pytest.fixture
def office(database: Database, storage: Storage) -> Iterator[Office]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        demo = add_list(connection, account.id, "Demo")
        add_group(connection, demo, "Staff", "Who works here")
        stranger = add_account(connection, 2, password="secret")
        for _ in range(8):
            other = add_list(connection, stranger.id, "Other", external_id="crm-1")
            add_group(connection, other, "Other")
            add_template(connection, stranger.id, other, subject="Other", html="")
        login = find_api_login(connection, "a1")
        assert login is not None
        key = issue_key(connection, login, datetime.now(UTC))
    with serve(database, storage) as site:
        yield Office(Keyed(site), database, storage, key)


def test_making_a_list(office: Office) -> None:
    result = office.result("CreateList", name=f" {SCRIPTS} ", defaultSettings="default", copyTemplate="false")
    row = office.list(2)
    assert result == (
        f"<CreateListResult>{START}<list><listID>2</listID><listName><![CDATA[{SCRIPTS}]]></listName>"
        f"<listGUID>{row.guid}</listGUID></list></CreateListResult>"
    )
    assert re.fullmatch(GUID, row.guid)
    assert (row.name, row.settings, row.default_prefix, row.external_id) == (SCRIPTS, {}, "+39", None)
    assert (office.storage.home(1) / "import/2/processed").is_dir()
    assert office.call("GetLists").findall("lists/list/listName")[1].text == SCRIPTS
    root = office.call("CreateList", name="Third", copyTemplate=0, options={})
    assert root.findtext("list/listID") == "3"


def test_names_of_lists_that_cannot_be(office: Office) -> None:
    for name in ("", " ", "a&b", "<", ">", '"', "x" * 201, "a\tb"):
        assert office.code("CreateList", name=name) == "9", name
        for operation in ("CreateList_st", "CreateList"):
            root = office.call(operation, SEND, name=name)
            assert root.findtext("errorCode") == "9", name
            assert root.findtext("errorDescription")
    assert office.code("CreateList") == "9"
    assert len(office.call("GetLists").findall("lists/list")) == 1
    assert not (office.storage.home(1) / "import/2").exists()


def test_settings_and_templates_of_new_lists(office: Office) -> None:
    account = office.account()
    with office.database.write() as connection:
        change_defaults(connection, account.id, {"language": "it", "default_prefix": "44", "public": "1"})
        add_template(connection, account.id, None, subject="Default", html="<p>1</p>", notes="n")
    created = office.call("CreateList", name="Own", defaultSettings="DEFAULT", copyTemplate=1, options={"public": "0"})
    assert created.findtext("errorCode") == "0"
    own = office.list(2)
    assert (own.settings, own.default_prefix) == ({"language": "it"}, "+44")
    with office.database.write() as connection:
        change_defaults(connection, account.id, {"language": "de", "default_prefix": "+39"})
    copied: dict[str, Any] = {"defaultSettings": " 2 ", "copyTemplate": "true", "options": {"description": "Copy"}}
    assert office.code("CreateList", name="Copy", **copied) == "0"
    copy = office.list(3)
    assert (copy.settings, copy.default_prefix) == ({"language": "it", "description": "Copy"}, "+44")
    assert office.list(2).settings == {"language": "it"}
    assert office.code("CreateList", name="Bare", defaultSettings=2, copyTemplate=0) == "0"
    with office.database.read() as connection:
        templates = select(message_template).where(message_template.c.account_id == account.id)
        rows = connection.execute(templates.order_by(message_template.c.number)).all()
    assert [(row.number, row.list_id, row.subject, row.html, row.notes) for row in rows] == [
        (1, None, "Default", "<p>1</p>", "n"),
        (2, own.id, "Default", "<p>1</p>", "n"),
        (3, copy.id, "Default", "<p>1</p>", "n"),
    ]
    assert office.code("CreateList_st", SEND, name="Send") == "0"
    assert office.list(5).settings == {"language": "de", "public": True}


def test_models_that_are_none(office: Office) -> None:
    for text, code in {"8": "5", "0": "5", "999999999": "5", "x": "9", "-1": "9", "1.0": "9", "9" * 99: "9"}.items():
        assert office.code("CreateList", name="New", defaultSettings=text) == code, text
    assert len(office.call("GetLists").findall("lists/list")) == 1


def test_every_option_is_stored(office: Office) -> None:
    wanted = {
        "owneremail": "Owner@example.com",
        "bouncedemail": "bounce@example.com",
        "description": SCRIPTS,
        "format": "text",
        "charset": "ISO-8859-1",
        "public": "1",
        "tracking": "0",
        "nl_sendername": "Shop & <Sons>",
        "sms_sendername": "Shop",
        "optout_type": "3",
        "multi_optout_list": "1;2",
        "sendemailoptout": "true",
        "notifyemail": "staff@example.com",
        "frontendform": "0",
        "disclaimer": "Line\nline",
        "headerxabuse": "abuse@example.com",
        "kbmax": "50",
        "replyto": "reply@example.com",
        "displayas": "campo1,campo2",
        "headerlistunsubscriber": "<[listunsubscribe]>,<[mailto_uns]>",
        "multipart_text": "1",
        "conversionlab_trackcode": "code",
        "default_prefix": "0044",
        "subscribedemail": "1",
        "sendconfirmsms": "1",
        "colour": "unknown",
    }
    stored = {
        "sender_email": "owner@example.com",
        "bounce_email": "bounce@example.com",
        "description": SCRIPTS,
        "format": "text",
        "charset": "iso-8859-1",
        "public": True,
        "track_opens": False,
        "sender_name": "Shop & <Sons>",
        "sms_sender": "Shop",
        "unsubscribe_mode": "options",
        "unsubscribe_lists": [1, 2],
        "goodbye_mail": True,
        "unsubscribe_notice": "staff@example.com",
        "hosted_forms": False,
        "disclaimer": "Line\nline",
        "abuse_header": "abuse@example.com",
        "size_warning_kb": 50,
        "reply_to": "reply@example.com",
        "to_name": "field:1,field:2",
        "unsubscribe_header": "<[listunsubscribe]>,<[mailto_uns]>",
        "text_part": True,
        "conversion_code": "code",
        "welcome_mail": True,
        "welcome_sms": True,
    }
    assert office.code("CreateList", name="Plain") == "0"
    assert office.result("UpdateList", listID=1, options=wanted) == f"<UpdateListResult>{START}</UpdateListResult>"
    assert office.code("CreateList", name="Made", options=wanted) == "0"
    for number in (1, 3):
        assert (office.list(number).settings, office.list(number).default_prefix) == (stored, "+44")
    back = {"owneremail": "", "public": "0", "optout_type": "0", "multi_optout_list": "", "kbmax": "100"}
    assert office.code("UpdateList", listID=1, options=back) == "0"
    rest = {name: value for name, value in stored.items() if name in office.list(1).settings}
    assert office.list(1).settings == rest
    assert stored.keys() - rest.keys() == {
        *("sender_email", "public", "unsubscribe_mode", "unsubscribe_lists", "size_warning_kb")
    }
    assert office.list(2).settings == {}
    emptied = dict.fromkeys(wanted, "")
    assert office.code("UpdateList", listID=3, options=emptied) == "0"
    assert office.code("CreateList", name="Emptied", options=emptied) == "0"
    for number in (3, 4):
        assert (office.list(number).settings, office.list(number).default_prefix) == ({}, "+39")


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("", {}),
        ("<options/>", {}),
        (f'<options {XSI} xsi:nil="true"/>', {}),
        (f'<options {XSI}><Option xsi:nil="true"/><Option/></options>', {}),
        ("<options><Option><Value>x</Value><Key>description</Key></Option></options>", {"description": "x"}),
        (
            f'<options {XSI}><Option><Key>public</Key><Value xsi:type="x:boolean">true</Value></Option>'
            '<Option><Key>kbmax</Key><Value xsi:type="x:int">7</Value></Option></options>',
            {"public": True, "size_warning_kb": 7},
        ),
        ("<options><Option><Key>description</Key></Option></options>", {}),
        (
            "<options><Option><Key>description</Key><Value>1</Value></Option>"
            "<Option><Key>description</Key><Value>Città – 😀</Value></Option></options>",
            {"description": "Città – 😀"},
        ),
    ],
)
def test_options_as_clients_send_them(office: Office, given: str, stored: dict[str, Any]) -> None:
    content = f"<accessKey>{office.key}</accessKey><listID>1</listID>{given}"
    body = f'<UpdateList xmlns="{NAMESPACE}">{content}</UpdateList>'
    envelope = f'<e:Envelope xmlns:e="{ENVELOPE}"><e:Body>{body}</e:Body></e:Envelope>'
    reply = office.keyed.site.request("POST", MANAGE, envelope.encode(), {"Content-Type": "text/xml; charset=utf-8"})
    assert (reply.status, "&lt;errorCode&gt;0&lt;" in reply.text) == (200, True)
    assert office.list(1).settings == stored


def test_an_option_that_is_not_valid_changes_nothing(office: Office) -> None:
    for key, value, reason in [
        ("OwnerEmail", "nobody", "The e-mail address is not well-formed."),
        ("nl_sendername", "a\nBcc: b@example.com", "It is one line of at most 255 characters."),
        ("public", "yes", "It is 0, 1, false or true."),
        ("optout_type", "4", "It is 0, 1, 2 or 3."),
        ("multi_optout_list", "1,8", "There is no list 8."),
        ("default_prefix", "999", "It is an international prefix such as +39 or 0039."),
        ("kbmax", "0", "It is a positive whole number up to 1000000."),
        ("format", "pdf", "It is one of html, text."),
    ]:
        for operation, parameters in (("UpdateList", {"listID": 1}), ("CreateList", {"name": "New"})):
            root = office.call(operation, **parameters, options={"description": "x", key: value})
            assert (root.findtext("errorCode"), root.findtext("errorDescription")) == ("10", f"{key}: {reason}")
    assert office.list(1).settings == {}
    assert len(office.call("GetLists").findall("lists/list")) == 1
    assert not (office.storage.home(1) / "import/2").exists()


def test_unknown_lists_and_those_of_others(office: Office) -> None:
    for number in (2, 8, *NUMBERS):
        for operation in ("UpdateList", "DeleteList", "CreateGroup"):
            assert office.code(operation, listID=number, groupName="x") == "5", (operation, number)
        assert office.code("DeleteGroup", listID=number, groupID=1, deleteUsers="true") == "5"
        assert office.code("DeleteGroup", listID=1, groupID=number, deleteUsers="true") == "6"
        assert office.code("UpdateGroup", groupID=number, options={"name": "x"}) == "6"
        assert office.code("GetTemplates", SEND, listID=number) == "5"
        if number > 0:
            assert office.call("DeleteList_st", SEND, listId=number, autoId="crm-1").findtext("errorCode") == "5"
    assert office.call("GetListIdentity_st", SEND, autoId="crm-1").findall("Lists/*") == []
    assert office.call("DeleteList_st", SEND, listId=0, autoId="crm-1").findtext("errorCode") == "5"
    with office.database.read() as connection:
        assert len(connection.execute(select(list_group)).all()) == 9
        assert connection.execute(select(mailing_list.c.id).where(mailing_list.c.deleted_at.is_not(None))).all() == []


def test_a_parameter_that_only_the_documentation_has_is_ignored(office: Office) -> None:
    assert office.code("UpdateList", listID=1, copyTemplate="nonsense", options={"description": "x"}) == "0"
    assert office.list(1).settings == {"description": "x"}


def test_groups(office: Office) -> None:
    sample = (
        "<list><listID>1</listID><listName><![CDATA[Demo]]></listName><groups><group><groupID>2</groupID>"
        "<groupName><![CDATA[Top customers]]></groupName>"
        "<groupNotes><![CDATA[use notes for group description]]></groupNotes></group></groups></list>"
    )
    wanted: dict[str, Any] = {
        "listID": 1,
        "groupName": "Top customers",
        "groupNotes": "use notes for group description",
    }
    assert office.result("CreateGroup", **wanted) == f"<CreateGroupsResult>{START}{sample}</CreateGroupsResult>"
    again = office.result("CreateGroup", listID=1, groupName=" Top customers ", groupNotes="other")
    assert again == f"<CreateGroupsResult>{START}{sample}</CreateGroupsResult>"
    assert office.result("UpdateGroup", groupID=2) == f"<UpdateGroupResult>{START}{sample}</UpdateGroupResult>"
    assert office.result("UpdateGroup", groupID=2, options={"Colour": "red"}).count("Top customers") == 1
    for number, path in ((1, SEND), (2, MANAGE)):
        notes = office.call("GetGroups", path, listID=1).findall("list/groups/group/groupNotes")
        assert [note.text for note in notes] == ["Who works here", "use notes for group description"], number
    renamed = office.call("UpdateGroup", groupID=2, options={"GROUPNAME": SCRIPTS, "Notes": "]]>&amp;<b>"})
    assert renamed.findtext("list/groups/group/groupName") == SCRIPTS
    assert renamed.findtext("list/groups/group/groupNotes") == "]]>&amp;<b>"
    root = office.call("CreateGroup", listID=1, groupName="x" * 60)
    assert root.findtext("list/groups/group/groupName") == "x" * 50


def test_groups_that_cannot_be(office: Office) -> None:
    for name in ("", " ", "a&b", "<", ">", '"', "a\nb"):
        failed = office.result("CreateGroup", listID=1, groupName=name)
        assert failed.startswith("<CreateGroupsResult><errorCode>9</errorCode><errorDescription><![CDATA["), name
        assert failed.endswith("</errorDescription><list><groups></groups></list></CreateGroupsResult>")
        root = office.call("UpdateGroup", groupID=1, options={"groupNotes": "lost", "groupName": name})
        assert root.findtext("errorCode") == "10"
        assert (root.findtext("errorDescription") or "").startswith("groupName: A name ")
    assert office.code("CreateGroup", listID=1) == "9"
    assert office.code("CreateGroup", listID=1, groupName="x", groupNotes="x" * 2_001) == "9"
    assert office.code("CreateGroup", listID=1, groupName="Second") == "0"
    assert office.code("UpdateGroup", groupID=2, options={"name": "Staff"}) == "10"
    assert office.call("GetGroups", listID=1).findtext("list/groups/group/groupNotes") == "Who works here"


def test_many_make_the_same_group_at_once(office: Office) -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: office.result("CreateGroup", listID=1, groupName="New"), range(24)))
    assert len(set(results)) == 1
    assert len(office.call("GetGroups", listID=1).findall("list/groups/group")) == 2


@pytest.mark.parametrize(("deletes", "left"), [("false", 1), ("true", 0)])
def test_deleting_a_group(office: Office, deletes: str, left: int) -> None:
    with office.database.write() as connection:
        person = {"account_id": office.account().id, "email": "a@example.com", "fields": {}}
        now = datetime.now(UTC)
        added = connection.execute(recipient.insert().values(**person, created_at=now, updated_at=now))
        assert added.inserted_primary_key is not None
        person_id = added.inserted_primary_key[0]
        key = {"recipient_id": person_id, "list_id": office.list(1).id, "channel": 1}
        connection.execute(subscription.insert().values(**key, status=1, changed_at=now, source="page"))
        group_id = connection.execute(select(list_group.c.id).where(list_group.c.name == "Staff")).scalar_one()
        connection.execute(group_member.insert().values(recipient_id=person_id, group_id=group_id))
    result = office.result("DeleteGroup", listID=1, groupID=1, deleteUsers=deletes)
    assert result == f"<DeleteGroupResult>{START}</DeleteGroupResult>"
    with office.database.read() as connection:
        for table in (recipient, subscription):
            assert len(connection.execute(select(table)).all()) == left
        assert connection.execute(select(group_member)).all() == []
    assert office.call("GetGroups", listID=1).findall("list/groups/group") == []
    assert office.code("DeleteGroup", listID=1, groupID=1, deleteUsers=deletes) == "6"


def test_deleting_a_list(office: Office) -> None:
    assert office.code("CreateList", name="Second") == "0"
    assert office.code("DeleteGroup", listID=2, groupID=1, deleteUsers="false") == "6"
    for state in ("prepared", "queued", "running"):
        import_id = office.import_into(1, state)
        root = office.call("DeleteList", listID=1)
        assert root.findtext("errorCode") == "12"
        assert root.findtext("errorDescription") == "An import into list 1 waits or runs."
        for listed in ("DeleteList_st", "DeleteList"):
            assert office.call(listed, SEND, listId=1).findtext("errorCode") == "12"
        with office.database.write() as connection:
            connection.execute(import_run.update().where(import_run.c.id == import_id).values(state="completed"))
    assert office.result("DeleteList", listID=1) == f"<DeleteListResult>{START}</DeleteListResult>"
    assert office.code("DeleteList", listID=1) == "5"
    assert office.code("GetGroups", listID=1) == "5"
    assert office.code("UpdateGroup", groupID=1) == "6"
    assert office.code("UpdateList", listID=2, options={"multi_optout_list": "1"}) == "10"
    assert [node.text for node in office.call("GetLists").findall("lists/list/listID")] == ["2"]
    assert office.call("CreateList", name="Third").findtext("list/listID") == "3"


@pytest.mark.parametrize("suffix", ["_st", ""])
def test_lists_of_another_system(office: Office, suffix: str) -> None:
    start = START if suffix else ""
    made = office.result(f"CreateList{suffix}", SEND, name=SCRIPTS, autoId=" crm-1 ")
    row = office.list(2)
    first = f'<List Guid="{row.guid}" Id="2" Name="{SCRIPTS}"></List>'
    assert made == f"<CreateList{suffix}>{start}<Lists>{first}</Lists></CreateList{suffix}>"
    assert row.external_id == "crm-1"
    assert (office.storage.home(1) / "import/2").is_dir()
    office.result("CreateList_st", SEND, name="Again", autoId="crm-1")
    office.result("CreateList_st", SEND, name="Nobody's")
    second = f'<List Guid="{office.list(3).guid}" Id="3" Name="Again"></List>'
    identity, empty = f"GetListIdentity{suffix}", f"{start}<Lists></Lists>"
    found = office.result(identity, SEND, autoId="crm-1")
    assert found == f"<{identity}>{start}<Lists>{first}{second}</Lists></{identity}>"
    for nobody in ("crm-2", "", " ", "CRM-1", "%", "' OR 1=1 --"):
        assert office.result(identity, SEND, autoId=nobody) == f"<{identity}>{empty}</{identity}>"
    assert office.result(identity, SEND) == f"<{identity}>{empty}</{identity}>"

    delete = f"DeleteList{suffix}"
    import_id = office.import_into(3, "queued")
    assert office.call(delete, SEND, listId=0, autoId="crm-1").findtext("errorCode") == "12"
    assert office.list(2).deleted_at is None
    with office.database.write() as connection:
        connection.execute(import_run.update().where(import_run.c.id == import_id).values(state="failed"))
    assert office.result(delete, SEND, listId=4, autoId="crm-1") == (
        f'<{delete}>{start}<Lists><List Id="4"></List></Lists></{delete}>'
    )
    assert office.result(delete, SEND, listId=-1, autoId="crm-1") == (
        f'<{delete}>{start}<Lists><List Id="2"></List><List Id="3"></List></Lists></{delete}>'
    )
    assert office.result(identity, SEND, autoId="crm-1") == f"<{identity}>{empty}</{identity}>"
    for parameters, code in (({"autoId": "crm-1"}, "5"), ({}, "9"), ({"autoId": " "}, "9"), ({"listId": 2}, "5")):
        assert office.call(delete, SEND, **parameters).findtext("errorCode") == code


def test_failures_of_lists_of_another_system(office: Office) -> None:
    text = "<![CDATA[There is no list 7.]]>"
    codes = f"<errorCode>5</errorCode><errorDescription>{text}</errorDescription>"
    assert office.result("DeleteList_st", SEND, listId=7) == f"<DeleteList_st>{codes}<Lists></Lists></DeleteList_st>"
    assert office.result("DeleteList", SEND, listId=7) == f"<DeleteList>{codes}<Error>{text}</Error></DeleteList>"
    assert office.call("CreateList_st", SEND, name="x", autoId="x" * 201).findtext("errorCode") == "9"
    for operation in ("CreateList", "DeleteList", "GetListIdentity"):
        root = office.call(operation, SEND, accessKey="wrong", listId=1, name="x")
        assert [child.tag for child in root] == ["errorCode", "errorDescription", "Error"]
        root = office.call(f"{operation}_st", SEND, accessKey="wrong", listId=1, name="x")
        assert [child.tag for child in root] == ["errorCode", "errorDescription", "Lists"]
        assert root.findtext("errorCode") == "4"


def test_users(office: Office) -> None:
    for path in (SEND, MANAGE):
        id_of_user = f"<GetIdUserResult>{START}<idUser>2</idUser></GetIdUserResult>"
        assert office.result("GetIdUser", path) == id_of_user
        for user in (1, 2):
            lists = office.result("GetListsUser", path, idUser=user)
            assert lists.replace("GetListsUser", "GetLists") == office.result("GetLists", path)
        for user in NUMBERS:
            empty = f"<GetListsUserResult>{START}<lists></lists></GetListsUserResult>"
            assert office.result("GetListsUser", path, idUser=user) == empty
        root = office.call("GetListsUser", path, accessKey="x", idUser=1)
        assert [child.tag for child in root] == ["errorCode", "errorDescription", "lists"]
    console = office.keyed.log_in(user="m1")
    assert office.call("GetIdUser", accessKey=console).findtext("idUser") == "1"
    access = f"<GetUserAccessResult>{START}<access>1</access></GetUserAccessResult>"
    assert office.result("GetUserAccess", SEND, userId=1) == access
    for user in NUMBERS:
        assert office.code("GetUserAccess", SEND, userId=user) == "9"


def test_hashes_of_users(office: Office) -> None:
    account = office.account()
    with office.database.read() as connection:
        first, second = (hash_user(connection, account.id, number) or "" for number in (1, 2))
    valid = f"<CheckUserHashResult>{START}<valid>1</valid></CheckUserHashResult>"
    for given in (first, f" {first.upper()} "):
        assert office.result("CheckUserHash", SEND, userID=1, userHash=given) == valid
    for user, given in ((1, second), (1, ""), (1, "è"), (3, first), (0, first), (-1, first)):
        assert office.code("CheckUserHash", SEND, userID=user, userHash=given) == "9"


def test_templates(office: Office) -> None:
    account = office.account()
    with office.database.write() as connection:
        add_template(connection, account.id, None, subject="Default", html="")
        mailing = add_list(connection, account.id, "Second")
        template = add_template(connection, account.id, mailing, subject=SCRIPTS, html="<p>", notes="]]>")
    at = template.created_at.astimezone(account.zone).strftime("%d/%m/%Y %H.%M.%S")
    assert office.result("GetTemplates", SEND, listID=2) == (
        f"<GetTemplatesResult>{START}<list><listID>2</listID><listName><![CDATA[Second]]></listName><templates>"
        f"<template><templateID>2</templateID><subject><![CDATA[{SCRIPTS}]]></subject>"
        f"<note><![CDATA[]]]]><![CDATA[>]]></note><creationdate>{at}</creationdate></template>"
        "</templates></list></GetTemplatesResult>"
    )
    assert office.call("GetTemplates", SEND, listID=1).findall("list/templates/*") == []
    failed = office.call("GetTemplates", SEND, accessKey="wrong", listID=1)
    assert failed.find("list/templates") is not None
