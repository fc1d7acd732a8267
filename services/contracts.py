"""Every SOAP service of this server."""

from __future__ import annotations

from services.mailup.import_service import IMPORT_SERVICE
from services.mailup.manage_service import MANAGE_SERVICE
from services.mailup.report_service import REPORT_SERVICE
from services.mailup.send_service import SEND_SERVICE

SERVICES = (IMPORT_SERVICE, SEND_SERVICE, MANAGE_SERVICE, REPORT_SERVICE)
