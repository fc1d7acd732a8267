"""WSMailUpImport: reads lists, starts imports, follows them (specification §1.2, §2)."""

from __future__ import annotations

from services.mailup.import_authentication import admits
from services.mailup.import_lists import create_group, get_lists, get_lists_of_user, get_user, get_web_service_user
from services.mailup.import_processes import (
    get_process_details,
    new_import_process,
    start_import_processes,
    start_process,
)
from services.mailup.results import describe_outcome
from services.soap.declarations import Service, header_type

NAMESPACE = "http://ws.mailupnet.it/"

IMPORT_SERVICE = Service(
    name="WSMailUpImport",
    namespace=NAMESPACE,
    paths=("/Services/WSMailUpImport.asmx", "/Services/WSMailup.asmx"),
    operations=(
        get_web_service_user,
        get_user,
        get_lists,
        get_lists_of_user,
        new_import_process,
        start_import_processes,
        create_group,
        get_process_details,
        start_process,
    ),
    documentation="MailUp WebService for subscribers import.",
    header=header_type("Authentication", NAMESPACE, "User", "Password", "encType"),
    describe_outcome=describe_outcome,
    admits=admits,
    plain_http=True,
)
