"""MailupReport: statistics of recipients and messages (specification §1.5)."""

from __future__ import annotations

from services.mailup.keyed_operations import NAMESPACE, keyed_operation_to_come
from services.mailup.keyed_results import describe_outcome
from services.mailup.logins import LOGINS
from services.soap.declarations import INT, STRING, Service

REPORT_SERVICE = Service(
    name="MailupReport",
    namespace=NAMESPACE,
    paths=("/MailupReport.asmx",),
    operations=(
        *LOGINS,
        keyed_operation_to_come("ReportByUser", accessKey=STRING, email=STRING, listID=INT, messageID=INT),
        keyed_operation_to_come("ReportByUserEN", accessKey=STRING, email=STRING, listID=INT, messageID=INT),
        keyed_operation_to_come("ReportByMessage", accessKey=STRING, listID=INT, messageID=INT),
        keyed_operation_to_come("ReportByMessageEN", accessKey=STRING, listID=INT, messageID=INT),
    ),
    documentation="MailUp WebService for statistics of messages and recipients.",
    describe_outcome=describe_outcome,
)
