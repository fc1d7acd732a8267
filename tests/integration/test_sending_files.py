"""Parcels and tables of text messages, dropped by FTP or as by a door: what is stored, what stands in the queue, and
what people are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ftplib import error_perm
from typing import Any

import pytest
import sftp_doors
from drop_folders import CONTACT, DropFolders, open_drop_folders
from ftp_doors import Office, begin, close_quietly, reset, store, wait_until
from parcel_maker import SMS_TABLE, make_parcel, make_sms
from rendered_mail import ADA, render

from audience.accounts import add_account
from audience.list_changes import change_list
from audience.lists import add_list, load_list, set_field
from audience.notices import set_contact
from audience.smtp_users import add_smtp_user
from audience.status_rules import Channel
from db.engine import Database
from db.leases import name_owner
from db.tables import arrival, group_member, import_run, list_group, mailing_list, notice, sending, sending_file
from delivery.messages import add_message
from delivery.sending_changes import cancel
from delivery.sendings import find_sending
from jobs.feeds import all_feeds_of, feeds_of
from jobs.housekeeping import keep_house
from jobs.job_listing import JobRefused, cancel_job, job_history, retry_job, unfinished_jobs
from jobs.missing_files import tell_missing
from jobs.sending_files import run_next_sending_file
from jobs.sending_folders import NoSendingFolder, SendingFolder, disable_folder, enable_folder, folders_of
from jobs.storage import Storage

PEOPLE = {"ann@example.com": {"1": "Ann", "2": "Abel"}, "bob@example.com": {"1": "Bob", "2": "Baker"}}
ROWS = b"111;1;Code\nann@example.com;Ann;A1\nann@example.com;Ann;A2\nbob@example.com;Bob;B1\nnobody;X;Y\n"


@pytest.fixture
def office(database: Database, storage: Storage) -> DropFolders:
    return open_drop_folders(database, storage)


def one(office: DropFolders) -> Any:
    """Return the only sending."""
    (row,) = office.sendings()
    return row


def members(office: DropFolders) -> dict[str, int]:
    """Return how many people are in each group, by its name."""
    names = {row.id: row.name for row in office.rows(list_group)}
    counts = dict.fromkeys(names.values(), 0)
    with office.database.read() as connection:
        for row in connection.execute(group_member.select()):
            counts[names[row.group_id]] += 1
    return counts


def test_massive_parcel(office: DropFolders) -> None:
    files = {"Attachments/terms.pdf": b"%PDF", "Markup.htm": b'<img src="Logo.png">[nome]', "logo.png": b"image"}
    settings = {"Attachments": "true", "ScheduleDateTime": "2099-11-04T11:20:00.000", "NotifyEmail": "boss@example.com"}
    office.drop(make_parcel(files, **settings))
    office.work_off()
    sent, (written,) = one(office), office.messages()
    assert (sent.state, sent.kind, sent.message_id, sent.total) == ("scheduled", "bulk", written.id, 0)
    assert sent.start_at == datetime(2099, 11, 4, 10, 20, tzinfo=UTC)
    assert (sent.sender_email, sent.sender_name, sent.notes) == ("shop@example.com", "The shop", "weekly")
    assert sent.target["to"] == "groups"
    assert members(office) == {"Automatic 01": 2}
    assert office.people() == PEOPLE
    assert written.subject == "News [1]"
    assert written.settings == {
        "embed_images": True,
        "track_links": True,
        "link_parameters": "source=mail",
    }
    assert [(row.kind, row.name, row.content) for row in office.files()] == [
        ("attachment", "terms.pdf", b"%PDF"),
        ("image", "Logo.png", b"image"),
    ]
    ((address, subject, text),) = office.notices()
    assert (address, subject) == ("boss@example.com", "FTPZIP Campaign0009: completed")
    assert "Folder: import_zip/processed\n" in text
    assert "Sending: 1\nMessage: 1\nRows: 2\nImported: 2\n" in text
    assert office.outcome() == {"processed": ["parcel.zip"], "failed": []}
    assert not (office.home / "import_zip/parcel.zip").exists()


def test_transactional_parcel_keeps_nobodys_data(office: DropFolders) -> None:
    values = {"SendType": "transactional", "KeepDuplicates": "true", "AggregationCode": "orders", "Username": "s1_1"}
    with office.database.write() as connection:
        add_smtp_user(connection, office.account.id, "s1_1", "pass")
    office.drop(
        make_parcel({"Recipients.csv": ROWS}, Password="pass", ScheduleDateTime="2099-01-01T00:00:00", **values)
    )
    office.work_off()
    sent = one(office)
    assert (sent.state, sent.kind, sent.start_at, sent.tags) == ("scheduled", "single", None, ["orders"])
    assert sent.target["to"] == "queue"
    assert office.people() == {"ann@example.com": {}, "bob@example.com": {}}
    assert [(row.address, row.domain, row.copy, row.values) for row in office.deliveries()] == [
        ("ann@example.com", "example.com", 0, {"field:1": "Ann", "nome": "Ann", "Code": "A1"}),
        ("ann@example.com", "example.com", 1, {"field:1": "Ann", "nome": "Ann", "Code": "A2"}),
        ("bob@example.com", "example.com", 0, {"field:1": "Bob", "nome": "Bob", "Code": "B1"}),
    ]
    assert office.run().counters["queued"] == 3
    assert office.run().counters["refused"] == 1


def test_transactional_parcel_without_duplicates(office: DropFolders) -> None:
    office.enable(smtp_user="", engines=("transactional",))
    with office.database.write() as connection:
        add_smtp_user(connection, office.account.id, "s1_1", "pass")
    office.enable(smtp_user="s1_1")
    office.drop(make_parcel({"Recipients.csv": ROWS}, SendType="transactional"))
    office.work_off()
    assert [row.values["Code"] for row in office.deliveries()] == ["A1", "B1"]
    assert office.run().counters["duplicates"] == 1


@pytest.mark.parametrize("clone", ["false", "true"])
@pytest.mark.parametrize("engine", ["massive", "transactional"])
def test_sending_a_message_that_exists(office: DropFolders, engine: str, clone: str) -> None:
    with office.database.write() as connection:
        add_message(connection, office.mailing, Channel.EMAIL, subject="Old", html="<p>Old</p>")
        add_smtp_user(connection, office.account.id, "s1_1", "pass")
    office.enable(smtp_user="s1_1")
    values = {"ActionType": "send", "MessageId": "1", "CloneMessage": clone, "SendType": engine}
    office.drop(make_parcel(leave_out="Markup.htm", **values))
    office.work_off()
    assert one(office).message_number == (2 if clone == "true" else 1)
    assert one(office).subject == "News [1]"
    assert [row.html for row in office.messages()] == ["<p>Old</p>"] * (2 if clone == "true" else 1)
    assert one(office).state == "scheduled"


def test_saving_makes_a_message_alone(office: DropFolders) -> None:
    office.drop(make_parcel(leave_out="Recipients.csv", ActionType="save"))
    office.work_off()
    assert [row.subject for row in office.messages()] == ["News [1]"]
    assert office.sendings() == office.deliveries() == office.rows(import_run) == []
    assert office.run().state == "completed"
    assert office.notices()[0][1] == "FTPZIP Campaign0009: completed"


REFUSED: list[tuple[str, bytes, str, str]] = [
    ("list", make_parcel(ListId="7"), "unknown-list", "List 7, defined in XML file, does not exist"),
    ("guid", make_parcel(ListGUID="x"), "unknown-list", "List 1, defined in XML file, does not exist"),
    ("node", make_parcel(without="Notes"), "xml-node", "Missing Node in Xml File."),
    ("schema", make_parcel(ActionType="x"), "xml-invalid", "XML file does not match its schema. Validation failed"),
    ("zip", b"PK\x03\x04", "zip-damaged", "Cannot read that as a ZipFile"),
    ("subject", make_parcel(EmailSubject=""), "subject", "EmailSubject is empty in XML file."),
    ("message", make_parcel(ActionType="send"), "message", "MessageId is empty in XML file."),
    ("unknown", make_parcel(ActionType="send", MessageId="9"), "message", "Message 9, defined in XML file, does not "),
    ("user", make_parcel(SendType="transactional"), "smtp-user", "No SMTP+ user is defined in XML file, and none "),
    ("password", make_parcel(SendType="transactional", Username="s"), "smtp-user", "The SMTP+ user does not exist or "),
    ("sender", make_parcel(SenderEmail="nobody"), "not-possible", ""),
    ("image", make_parcel({"Markup.htm": b"<img src='a.png'>"}), "missing-file", 'There was no "a.png" file '),
    ("columns", make_parcel({"Recipients.csv": b"111;Code\na@example.com;1\n"}), "unknown-column", ""),
    ("nobody", make_parcel({"Recipients.csv": b"111\n"}), "no-recipients", "The file has no recipient who could be "),
    ("wrong", make_parcel({"Recipients.csv": b"111\nnobody\n"}), "no-recipients", "The file has no recipient who "),
    ("no table", make_parcel({"Recipients.csv": b""}), "empty-file", "The file has no content."),
]


def test_refusals_and_their_notices(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    office = open_drop_folders(database, storage)
    for place, (name, content, code, text) in enumerate(REFUSED):
        office.drop(content, f"{name}.zip")
        office.work_off()
        assert (office.run().error_code, office.run().state) == (code, "failed"), name
        assert office.run().error_text.startswith(text), name
        address, subject, told = office.notices()[place]
        assert address == CONTACT
        assert subject.startswith("FTPZIP ")
        assert subject.endswith(": failed")
        assert office.run().error_text in told
    assert len(office.outcome()["failed"]) == len(REFUSED)
    assert {row.state for row in office.sendings()} <= {"failed"}
    assert office.deliveries() == []
    result = json.loads((office.home / "import_zip/failed/list.zip.result.json").read_bytes())
    assert result["error_text"] == "List 7, defined in XML file, does not exist"
    database.close()


def test_an_engine_that_is_not_enabled(office: DropFolders) -> None:
    office.enable(engines=("transactional",))
    office.drop(make_parcel())
    office.work_off()
    assert office.run().error_text == "The massive engine is not enabled for this account."
    assert office.messages() == office.sendings() == []


def test_lists_and_messages_of_others_are_unknown(office: DropFolders) -> None:
    with office.database.write() as connection:
        other = add_account(connection, 2, password="secret")
        add_list(connection, other.id, "First")
        theirs = add_list(connection, other.id, "Theirs")
        add_message(connection, theirs, Channel.EMAIL, subject="Theirs", html="x")
        add_smtp_user(connection, other.id, "theirs", "pass")
    for values, code in (
        ({"ListId": "2"}, "unknown-list"),
        ({"ListGUID": theirs.guid}, "unknown-list"),
        ({"ActionType": "send", "MessageId": "1"}, "message"),
        ({"SendType": "transactional", "Username": "theirs", "Password": "pass"}, "smtp-user"),
    ):
        office.drop(make_parcel(**values), f"{code}.zip")
        office.work_off()
        assert office.run().error_code == code


def test_the_same_content_is_sent_once(office: DropFolders) -> None:
    office.drop(make_parcel())
    office.drop(make_parcel(), "again.zip")
    office.work_off()
    assert [row.state for row in office.runs()] == ["completed", "skipped"]
    assert len(office.sendings()) == 1
    assert "The same content was sent as file 1." in office.notices()[1][2]
    assert office.outcome() == {"processed": ["again.zip", "parcel.zip"], "failed": []}


def test_what_failed_may_come_again(office: DropFolders) -> None:
    content = make_parcel(ListId="2")
    office.drop(content)
    office.work_off()
    with office.database.write() as connection:
        connection.execute(mailing_list.update().values(number=2))
    office.drop(content)
    office.work_off()
    assert [row.state for row in office.runs()] == ["failed", "completed"]


@pytest.mark.parametrize("engine", ["massive", "transactional"])
def test_a_sending_that_was_cancelled_meanwhile(office: DropFolders, engine: str) -> None:
    with office.database.write() as connection:
        add_smtp_user(connection, office.account.id, "s1_1", "pass")
    office.enable(smtp_user="s1_1")
    office.drop(make_parcel(SendType=engine))
    assert run_next_sending_file(office.database, office.storage, name_owner())
    with office.database.write() as connection:
        cancel(connection, find_sending(connection, office.account.id, 1))
    office.work_off()
    assert (one(office).state, office.deliveries()) == ("cancelled", [])
    assert (office.run().state, office.run().error_code) == ("cancelled", "sending-cancelled")
    ((_, subject, text),) = office.notices()
    assert subject == "FTPZIP Campaign0009: cancelled"
    assert "The sending was cancelled before it began." in text
    assert office.outcome()["failed"] == ["parcel.zip"]


def test_a_column_headed_by_the_number_of_no_field(office: DropFolders) -> None:
    with office.database.write() as connection:
        add_smtp_user(connection, office.account.id, "s1_1", "pass")
    office.enable(smtp_user="s1_1")
    office.drop(make_parcel({"Recipients.csv": b"111;7;1\nann@example.com;Seven;Ann\n"}, SendType="transactional"))
    office.work_off()
    (row,) = office.deliveries()
    assert row.values == {"field:7": "Seven", "7": "Seven", "field:1": "Ann", "nome": "Ann"}


# As a job


def test_a_waiting_file_is_cancelled_and_begun_again(office: DropFolders) -> None:
    run_id = office.drop(make_parcel())
    assert cancel_job(office.database, "sending-file", run_id).cancel_requested_at is not None
    office.work_off()
    assert (office.run().state, office.sendings()) == ("cancelled", [])
    assert office.outcome()["failed"] == ["parcel.zip"]
    assert office.notices()[0][1] == "FTPZIP parcel.zip: cancelled"
    assert retry_job(office.database, office.storage, "sending-file", run_id).state == "queued"
    office.work_off()
    assert (office.run().state, one(office).state) == ("completed", "scheduled")
    assert office.outcome()["processed"] == ["parcel.zip"]


def test_a_file_is_cancelled_during_its_import_and_its_sending_with_it(office: DropFolders) -> None:
    run_id = office.drop(make_parcel())
    assert run_next_sending_file(office.database, office.storage, name_owner())
    with office.database.read() as connection:
        jobs = unfinished_jobs(connection)
    assert next((job.kind, job.what) for job in jobs) == ("sending-file", "import_zip/parcel.zip")
    cancel_job(office.database, "sending-file", run_id)
    office.work_off()
    assert (office.run().state, one(office).state) == ("cancelled", "failed")
    with pytest.raises(JobRefused, match="sending of the file has ended"):
        retry_job(office.database, office.storage, "sending-file", run_id)
    with office.database.read() as connection:
        ended = job_history(connection, folder="import_zip")
    assert [(job.kind, job.state) for job in ended] == [("sending-file", "cancelled")]


def test_sendings_to_many_are_listed_while_they_go_on(office: DropFolders) -> None:
    office.drop(make_parcel())
    office.work_off()
    with office.database.write() as connection:
        values = {"state": "sending", "total": 4, "sent": 2, "failed": 1, "started_at": datetime.now(UTC)}
        connection.execute(sending.update().values(**values))
    with office.database.read() as connection:
        (job,) = unfinished_jobs(connection)
    assert (job.kind, job.id, job.state, job.rows, job.percent) == ("sending", 1, "sending", 3, 75.0)
    assert (job.what, job.account_number) == ("News [1] (sending 1)", 1)


# Text messages


def test_text_messages(office: DropFolders) -> None:
    office.drop(make_sms(), "sms.csv", "import_sms")
    office.work_off()
    sent, (written,) = one(office), office.messages()
    assert (sent.channel, sent.state, sent.target["to"], sent.start_at) == (Channel.SMS, "scheduled", "queue", None)
    assert (sent.sender_name, written.subject, written.channel) == ("Shop", "Spring", Channel.SMS)
    assert [(row.address, row.text) for row in office.deliveries()] == [
        ("+393331234567", "Hello Ann"),
        ("+393331234568", "Hello Bob"),
    ]
    assert office.people() == {"+393331234567": {}, "+393331234568": {}}
    ((address, subject, text),) = office.notices()
    assert (address, subject) == ("author@example.com", "CSV2SMS C1: completed")
    assert "Messages: 2\n" in text
    assert office.outcome("import_sms")["processed"] == ["sms.csv"]


@pytest.mark.parametrize(
    ("rows", "state", "start_at", "name"),
    [
        ({"row3": "A"}, "draft", None, "Spring"),
        ({"row2": "2099-07-01 10:00"}, "scheduled", datetime(2099, 7, 1, 8, tzinfo=UTC), "Spring"),
        ({"row2": "2099-07-01 10:00", "row3": "A"}, "draft", None, "Spring"),
        ({"row2": "2001-07-01 10:00"}, "scheduled", None, "Spring"),
        ({"row6": ""}, "scheduled", None, "Default 1"),
        ({"row6": "", "row5": "1"}, "scheduled", None, "Default 1"),
    ],
)
def test_orders_of_text_messages(
    office: DropFolders, rows: dict[str, str], state: str, start_at: datetime | None, name: str
) -> None:
    office.drop(make_sms(**rows), "sms.csv", "import_sms")
    office.work_off()
    assert (one(office).state, one(office).start_at) == (state, start_at)
    assert one(office).subject == name
    assert len(office.deliveries()) == 2


def test_the_default_message_is_one_and_no_message_shows_anybodys_data(office: DropFolders) -> None:
    office.drop(make_sms(row6=""), "one.csv", "import_sms")
    office.drop(make_sms(row6="", row7="C2"), "two.csv", "import_sms")
    office.drop(make_sms(row7="C3"), "three.csv", "import_sms")
    office.work_off()
    assert [(row.subject, row.text) for row in office.messages()] == [
        ("Default 1", "Default 1"),
        ("Spring", "Hello [name]"),
    ]
    assert [row.message_id for row in office.sendings()] == [1, 1, 2]


def test_texts_without_unicode_stay_in_the_alphabet_of_phones(office: DropFolders) -> None:
    rows = "+393331234567;“Ciao” – [A];ë;0\n+393331234568;“Ciao” – [A];ë;1\n"
    office.drop(make_sms(table=f"M;T;A;UNICODE\n{rows}"), "sms.csv", "import_sms")
    office.work_off()
    assert [row.text for row in office.deliveries()] == ['"Ciao" - e', "“Ciao” – ë"]


def test_one_code_is_sent_once(office: DropFolders) -> None:
    office.drop(make_sms(), "one.csv", "import_sms")
    office.drop(make_sms(row6="Other"), "two.csv", "import_sms")
    office.drop(make_sms(row7="C2", row5="7"), "three.csv", "import_sms")
    office.drop(make_sms(row7="C2"), "four.csv", "import_sms")
    office.work_off()
    assert [(row.state, row.error_code, row.code) for row in office.runs()] == [
        ("completed", None, "C1"),
        ("failed", "code-known", None),
        ("failed", "unknown-list", None),
        ("completed", None, "C2"),
    ]
    assert office.runs()[1].error_text == "The code of row 7 was imported already, by file 1."
    assert len(office.sendings()) == 2


def test_text_messages_for_one_person_and_for_nobody(office: DropFolders) -> None:
    rows = ("+393331234567;One;;", "+393331234567;Two;;1", "number;Three;;", "+393331234569;;;", "+393331234569;漢字;;")
    table = "\n".join(("M;T;A;UNICODE", *rows, ""))
    office.drop(make_sms(table=table, row1="+393330000000"), "sms.csv", "import_sms")
    office.work_off()
    assert [(row.copy, row.text) for row in office.deliveries()] == [(0, "One"), (1, "Two")]
    assert office.run().counters["refused"] == 3
    assert office.messages()[0].settings == {"unicode": True}
    assert office.notices()[0][0] == CONTACT


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no file", "encoding"),
        (make_sms(row4=""), "sender"),
        (make_sms(table="M;T;A;UNICODE\n"), "no-recipients"),
        (make_sms(table="M;T;A;UNICODE\nnumber;x;;\n"), "no-recipients"),
        (make_sms(table=SMS_TABLE + "1;2\n"), "columns"),
    ],
)
def test_text_messages_that_are_refused(office: DropFolders, content: bytes, code: str) -> None:
    office.drop(content, "sms.csv", "import_sms")
    office.work_off()
    assert (office.run().state, office.run().error_code) == ("failed", code)
    assert office.notices()[0][1].endswith(": failed")
    assert {row.state for row in office.sendings()} <= {"failed"}
    assert office.outcome("import_sms")["failed"] == ["sms.csv"]


# Doors


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with sftp_doors.open_sftp_office(tmp_path_factory.mktemp("office")) as office:
        yield office


def serving(office: Office, **values: Any) -> DropFolders:
    """Let the served account's folders send."""
    with office.database.read() as connection:
        mailing = load_list(connection, 1)
    found = DropFolders(office.database, office.storage, office.account(), mailing)
    with office.database.write() as connection:
        change_list(connection, mailing, {"sender_email": "list@example.com"})
        set_contact(connection, found.account.id, CONTACT)
        for number, name in ((1, "nome"), (2, "cognome")):
            set_field(connection, found.account.id, number, name)
    found.enable("import_zip", quiet_seconds=60.0, **values)
    found.enable("import_sms", quiet_seconds=60.0)
    return found


def test_uploads_by_ftp_are_sent(served: Office) -> None:
    office = serving(served)
    client = served.client()
    assert store(client, "import_zip/parcel.zip", make_parcel()).startswith("226")
    store(client, "import_sms/sms.csv", make_sms())
    client.quit()
    runs = wait_until(lambda: office.runs() if len(office.runs()) == 2 else None)
    assert [(row.kind, row.file_name) for row in runs] == [("parcel", "parcel.zip"), ("sms", "sms.csv")]
    assert [row.complete for row in office.rows(arrival)] == [True, True]
    office.work_off()
    assert [row.state for row in office.runs()] == ["completed", "completed"]
    assert office.outcome()["processed"] == ["parcel.zip"]
    assert [row.kind for row in office.rows(notice)] == ["sending-file"] * 2


def test_uploads_by_sftp_are_sent(served: Office) -> None:
    office = serving(served)
    before = len(office.runs())

    async def upload() -> None:
        async with sftp_doors.client(served) as sftp:
            await sftp_doors.store(sftp, "import_zip/by_sftp.zip", make_parcel(Notes="by SFTP"))

    sftp_doors.run(upload())
    wait_until(lambda: len(office.runs()) > before)
    office.work_off()
    assert (office.run().file_name, office.run().state) == ("by_sftp.zip", "completed")
    assert office.rows(arrival)[-1].door == "sftp"


def test_folders_of_the_server_are_its_own(served: Office) -> None:
    serving(served)
    client = served.client()
    for command in (
        lambda: store(client, "import_zip/processed/x.zip", b"x"),
        lambda: client.mkd("import_sms/failed/x"),
        lambda: client.rmd("import_zip/processed"),
        lambda: client.rename("import_zip", "other"),
        lambda: client.rmd("import_sms"),
    ):
        with pytest.raises(error_perm, match="550 "):
            command()
    client.quit()


def test_a_cut_upload_is_put_aside(served: Office) -> None:
    office = serving(served)
    before = len(office.runs())
    client = served.client()
    reset(begin(client, "import_zip/cut.zip", make_parcel()[:100]))
    wait_until(lambda: any((office.home / "import_zip/incomplete").iterdir()))
    close_quietly(client)
    assert len(office.runs()) == before


def test_a_disabled_folder_takes_nothing_in(served: Office) -> None:
    office = serving(served)
    with office.database.write() as connection:
        disable_folder(connection, office.account, "import_zip")
    before = len(office.rows(sending_file))
    client = served.client()
    store(client, "import_zip/later.zip", make_parcel(Notes="later"))
    client.quit()
    assert len(office.rows(sending_file)) == before
    assert (office.home / "import_zip/later.zip").exists()


def test_the_rest_of_the_server_knows_no_such_import(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    office = open_drop_folders(database, storage)
    with database.read() as connection:
        assert [found.folder for found in feeds_of(connection, office.account.id)] == ["import/1"]
        assert {found.kind for found in all_feeds_of(connection, office.account.id)} == {"import", "parcel", "sms"}
    tell_missing(database, datetime.now(UTC))
    office.drop(make_parcel())
    office.work_off()
    assert len(list(storage.imports.iterdir())) == 2
    keep_house(database, storage, timedelta(0))
    assert list(storage.imports.iterdir()) == []
    database.close()


def test_what_a_row_brings_goes_before_what_is_stored() -> None:
    person = ADA._replace(values={"field:1": "Ann", "nome": "Ann", "Code": "A1"})
    rendered = render(text="[campo1] [nome] [code] [campo2] a[1]", person=person)
    assert rendered.text == "Ann Ann A1 Lovelace a[1]"


def test_folders_that_cannot_be(office: DropFolders) -> None:
    with office.database.write() as connection, pytest.raises(NoSendingFolder, match="import_pdf"):
        enable_folder(connection, office.storage, office.account, "import_pdf", SendingFolder())
    with pytest.raises(NoSendingFolder, match="engine"):
        office.enable(engines=())
    with office.database.write() as connection:
        disable_folder(connection, office.account, "import_sms")
    with office.database.write() as connection, pytest.raises(NoSendingFolder, match="takes nothing in"):
        disable_folder(connection, office.account, "import_sms")
    with office.database.read() as connection:
        found = folders_of(connection, office.account.id)
    assert [(folder.folder, folder.settings.enabled) for folder in found] == [
        ("import_sms", False),
        ("import_zip", True),
    ]
