"""Gives a new server one account to try everything with: a list, its users, its folders and a daily export."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, func, select

from audience.accounts import DEFAULT_TIME_ZONE
from audience.ftp_users import add_ftp_user
from db.tables import account
from exchange.export_csv import CsvFormat
from jobs.exports import ExportSettings, add_export
from jobs.feeds import IMPORT_FOLDER
from listbridge.app import Application
from listbridge.customers import open_account, open_customer_list
from listbridge.output import Row
from listbridge.settings import Settings
from services.mailup.csv_columns import EXPORT_HEADERS

ACCOUNT_NUMBER = 1
FTP_USER = "demo"
EXPORT_AT = "02:30"


def add_first_account(application: Application) -> Row | None:
    """Add the demo account to a server that has no account; return what its users need to know.

    Returns:
        Names, numbers and passwords by what they are for; None when the server has accounts already.
    """
    with application.database.write() as connection:
        if connection.execute(select(func.count()).select_from(account)).scalar_one():
            return None
        return _add(connection, application)


def _add(connection: Connection, application: Application) -> Row:
    api_password, ftp_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    owner = open_account(
        connection,
        application.storage,
        ACCOUNT_NUMBER,
        password=api_password,
        name="Demo account",
        time_zone=DEFAULT_TIME_ZONE,
    )
    mailing = open_customer_list(connection, application.storage, owner, "Newsletter")
    add_ftp_user(connection, owner.id, FTP_USER, password=ftp_password)
    csv_format = CsvFormat(time_zone=owner.time_zone)
    settings = ExportSettings(period="previous-day", headers=EXPORT_HEADERS["unsubscribers"], csv=csv_format)
    export_id = add_export(connection, owner, "unsubscribers", settings, EXPORT_AT)
    return {
        "account": owner.number,
        "list": f"{mailing.number} ({mailing.name})",
        "list_GUID": mailing.guid,
        "API_user": f"a{owner.number}",
        "API_password": api_password,
        "FTP_user": FTP_USER,
        "FTP_password": ftp_password,
        "import_folder": f"{IMPORT_FOLDER}/{mailing.number}",
        "daily_export": f"{export_id}, at {EXPORT_AT} {owner.time_zone} into {settings.folder}/",
    }


def describe_addresses(settings: Settings) -> Row:
    """Return the addresses of the server by what they are for."""
    http = f"http://{settings.http.reachable}"
    return {
        "SOAP": f"{http}/Services/WSMailUpImport.asmx?WSDL",
        "HTTP_pages": f"{http}/frontend/xmlSubscribe.aspx",
        "health": f"{http}/readyz",
        "FTP": f"ftp://{settings.ftp.reachable}/",
        "SFTP": f"sftp://{settings.sftp.reachable}/" if settings.sftp is not None else "off",
        "data": settings.data_dir,
    }
