"""MailupReport: statistics of recipients and messages (specification §1.5)."""

from __future__ import annotations

from services.mailup.keyed_operations import NAMESPACE
from services.mailup.keyed_results import describe_outcome
from services.mailup.logins import LOGINS
from services.mailup.report_operations import REPORTS
from services.soap.declarations import Service

REPORT_SERVICE = Service(
    name="MailupReport",
    namespace=NAMESPACE,
    paths=("/MailupReport.asmx",),
    operations=(
        *LOGINS,
        *REPORTS,
    ),
    documentation="MailUp WebService for statistics of messages and recipients.",
    describe_outcome=describe_outcome,
)
