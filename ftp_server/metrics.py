"""What the FTP door counts for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

LOGINS = Counter("listbridge_ftp_logins", "FTP logins by result: success, failed, locked or refused.", ["result"])
UPLOADS = Counter(
    "listbridge_ftp_uploads", "FTP uploads by verdict: complete, incomplete, stored or full.", ["verdict"]
)
SESSIONS = Gauge("listbridge_door_sessions", "Users inside, by door: ftp, ftps, sftp or scp.", ["door"])
BYTES = Counter(
    "listbridge_door_bytes", "Bytes of files and listings, by door and direction: in or out.", ["door", "direction"]
)
