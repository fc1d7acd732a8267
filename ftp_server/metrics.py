"""What the FTP door counts for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter

LOGINS = Counter("listbridge_ftp_logins", "FTP logins by result: success, failed or locked.", ["result"])
UPLOADS = Counter(
    "listbridge_ftp_uploads", "FTP uploads by verdict: complete, incomplete, stored or full.", ["verdict"]
)
