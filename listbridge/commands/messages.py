"""`listbridge message`: e-mails as they are written, with their files, and as recipients would get them."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from audience.accounts import find_account
from audience.lists import find_list, load_list
from audience.status_rules import Channel
from delivery.images import fetch_images
from delivery.message_files import add_file, list_files, remove_file, set_files
from delivery.messages import (
    ListedMessage,
    Message,
    MessageFile,
    MessageSettings,
    add_message,
    check_subject,
    clone_message,
    edit_message,
    find_message,
    list_messages,
    remove_message,
)
from delivery.outgoing_http import OutgoingClient
from listbridge.app import Application, mail_options
from listbridge.commands.message_contents import read_attachments, read_content
from listbridge.commands.message_sending import send
from listbridge.commands.operator import YesOption, confirm
from listbridge.commands.options import AccountOption, application, write
from listbridge.errors import CommandError
from listbridge.output import JsonOption, Row, print_json, print_rows, print_values
from listbridge.settings import parse_networks

app = typer.Typer(help="Messages: e-mails as they are written, and their sending.", no_args_is_help=True)
app.command()(send)

NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="Of the message, in the account.")]
ListOption = Annotated[int, typer.Option("--list", help="Number of the list.")]
HtmlOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="File with its HTML.", show_default=False)
]
TextOption = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="File with its text part; else made of the HTML.", show_default=False
    ),
]
AttachOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Attach a file; repeatable.", show_default=False),
]
SubjectOption = Annotated[str | None, typer.Option(help="Subject.", show_default=False)]
NotesOption = Annotated[str | None, typer.Option(help="For people.", show_default=False)]
EmbedOption = Annotated[
    bool | None,
    typer.Option("--embed-images/--link-images", help="Let the images of the HTML go out with it.", show_default=False),
]
TrackOption = Annotated[
    bool | None, typer.Option("--track-links/--no-track-links", help="Count clicks.", show_default=False)
]
MergeOption = Annotated[
    bool | None, typer.Option("--merge/--no-merge", help="Replace merge tags, or leave them.", show_default=False)
]


@app.command()
def add(
    account: AccountOption,
    number: ListOption,
    subject: Annotated[str, typer.Option(help="Subject.")],
    html: HtmlOption = None,
    text: TextOption = None,
    attach: AttachOption = None,
    embed_images: EmbedOption = None,
    track_links: TrackOption = None,
    merge: MergeOption = None,
    notes: NotesOption = None,
) -> None:
    """Add a message to a list and print its number."""
    settings = _change(MessageSettings(), embed_images, track_links, merge)
    parts = {"html": read_content(html), "text": read_content(text)}
    subject = check_subject(subject)
    files = read_attachments(attach or [])

    def work(connection: Connection) -> Message:
        mailing = find_list(connection, find_account(connection, account).id, number)
        given = {**parts, "notes": notes or ""}
        added = add_message(connection, mailing, Channel.EMAIL, subject=subject, settings=settings, **given)
        for file in (*files, *images):
            add_file(connection, added, file)
        return added

    with application() as opened:
        images = _fetch_images(opened, settings, parts["html"])
        print(write(opened, work).number)


@app.command("list")
def list_all(account: AccountOption, number: ListOption, as_json: JsonOption = False) -> None:
    """List the messages of a list by number."""
    with application() as opened, opened.database.read() as connection:
        mailing = find_list(connection, find_account(connection, account).id, number)
        messages = list_messages(connection, mailing, Channel.EMAIL)
    print_rows([_summarise(message) for message in messages], as_json=as_json, nothing="There are no messages.")


@app.command()
def show(number: NumberArgument, account: AccountOption, as_json: JsonOption = False) -> None:
    """Show a message: what is set for it, and its files."""
    with application() as opened, opened.database.read() as connection:
        found = _find(connection, account, number)
        described = _describe(found, load_list(connection, found.list_id).number)
        files = [
            {"kind": kind, "name": name, "content_type": content_type, "bytes": size}
            for kind, name, content_type, size in list_files(connection, found)
        ]
    if as_json:
        print_json({**described, "html": found.html, "text": found.text, "files": files})
        return
    print_values(described)
    if files:
        print()
        print_rows(files, as_json=False, nothing="")


@app.command()
def edit(
    number: NumberArgument,
    account: AccountOption,
    subject: SubjectOption = None,
    html: HtmlOption = None,
    text: TextOption = None,
    attach: AttachOption = None,
    detach: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Take an attachment away; repeatable.", show_default=False)
    ] = None,
    embed_images: EmbedOption = None,
    track_links: TrackOption = None,
    merge: MergeOption = None,
    notes: NotesOption = None,
) -> None:
    """Change a message; what is not named stays. Not while people are getting it."""
    new_html, new_text = (read_content(path) if path is not None else None for path in (html, text))
    files = read_attachments(attach or [])

    def work(connection: Connection) -> None:
        found = _find(connection, account, number)
        settings = _change(found.settings, embed_images, track_links, merge)
        given = {"subject": subject, "html": new_html, "text": new_text, "notes": notes}
        edited = edit_message(connection, found, settings=settings, **given)
        for name in detach or ():
            remove_file(connection, edited, "attachment", name)
        for file in files:
            add_file(connection, edited, file)
        if images is not None:
            set_files(connection, edited, "image", images)

    with application() as opened:
        with opened.database.read() as connection:
            before = _find(connection, account, number)
        settings = _change(before.settings, embed_images, track_links, merge)
        shows_others = new_html is not None or settings.embed_images != before.settings.embed_images
        shown = before.html if new_html is None else new_html
        images = _fetch_images(opened, settings, shown) if shows_others else None
        write(opened, work)
    print(f"Message {number} of account {account} is changed.")


@app.command()
def clone(number: NumberArgument, account: AccountOption, subject: SubjectOption = None) -> None:
    """Copy a message with its files, in its list, and print the number of the copy."""
    with application() as opened:
        copy = write(
            opened, lambda connection: clone_message(connection, _find(connection, account, number), subject or "")
        )
    print(copy.number)


@app.command()
def remove(number: NumberArgument, account: AccountOption, yes: YesOption = False) -> None:
    """Remove a message that was never sent."""
    with application() as opened:
        with opened.database.read() as connection:
            found = _find(connection, account, number)
        confirm(f"Remove message {number} of account {account}, {found.subject!r}?", yes=yes)
        write(opened, lambda connection: remove_message(connection, _find(connection, account, number)))
    print(f"Message {number} of account {account} is removed.")


@app.command()
def preview(
    number: NumberArgument,
    account: AccountOption,
    recipient: Annotated[str, typer.Option(metavar="EMAIL", help="As whom to see it.")],
    html: Annotated[bool, typer.Option("--html", help="Print the HTML.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the text part; so it is without any of these.")] = False,
    source: Annotated[bool, typer.Option("--source", help="Print the whole mail as it would go out.")] = False,
) -> None:
    """Print a message as a recipient would get it. Nothing is sent or recorded, and no link in it is tracked."""
    # What compiles messages is large, and no other command needs it.
    from delivery.previews import Place, load_preview

    if html + text + source > 1:
        raise CommandError("Choose one of --html, --text and --source.")
    with application() as opened, opened.database.read() as connection:
        options = mail_options(opened.settings)
        place = Place(
            public_url=options.public_url,
            host=options.host,
            bounce_domain=options.bounce_domain,
            vocabulary=options.vocabulary,
        )
        shown = load_preview(connection, _find(connection, account, number), recipient, place)
    if source:
        sys.stdout.flush()
        sys.stdout.buffer.write(shown.source())
        sys.stdout.buffer.flush()
    else:
        print(shown.html() if html else shown.text())


def _find(connection: Connection, account: int, number: int) -> Message:
    return find_message(connection, find_account(connection, account).id, Channel.EMAIL, number)


def _change(
    settings: MessageSettings, embed_images: bool | None, track_links: bool | None, merge: bool | None
) -> MessageSettings:
    given = {"embed_images": embed_images, "track_links": track_links, "merge_fields": merge}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(settings, **chosen)


def _fetch_images(opened: Application, settings: MessageSettings, html: str) -> list[MessageFile]:
    if not settings.embed_images or not html:
        return []
    return fetch_images(OutgoingClient(parse_networks(opened.settings.webhook_allowed_networks)), html)


def _summarise(message: ListedMessage) -> Row:
    row = message._asdict()
    del row["text"]
    return row


def _describe(message: Message, list_number: int) -> Row:
    settings: dict[str, Any] = asdict(message.settings)
    shown = ("merge_fields", "embed_images", "track_links", "link_parameters")
    return {
        "number": message.number,
        "list": list_number,
        "subject": message.subject,
        "notes": message.notes,
        "html_characters": len(message.html),
        "text_characters": len(message.text),
        **{name: settings[name] for name in shown},
        "tracked_schemes": ",".join(message.settings.tracked_schemes),
        "cloned_from": message.cloned_from,
        "created_at": message.created_at,
        "updated_at": message.updated_at,
    }
