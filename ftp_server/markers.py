"""The markers of files in a folder: whether one waits, and where it goes when its file is judged."""

from __future__ import annotations

from pathlib import Path

from ftp_server.evidence import marker_path
from ftp_server.uploads import put_aside
from jobs.acknowledgements import remove_markers
from jobs.feeds import Feed


def waits_for_marker(feed: Feed, target: Path) -> bool:
    """Tell whether a file and its marker are both there, and the file has no import yet."""
    return target.is_file() and target.stat().st_nlink == 1 and marker_path(feed.profile, target).is_file()


def use_up_marker(feed: Feed, target: Path) -> None:
    """Remove the marker of a file that is being imported, so that it does not stand for the next of this name.

    What the server said of the file before goes too.
    """
    remove_markers(feed.profile, target)
    if feed.profile.completeness == "marker":
        marker_path(feed.profile, target).unlink(missing_ok=True)


def put_marker_aside(feed: Feed | None, target: Path) -> None:
    """Move the marker of a file that it does not fit to where the file goes."""
    if feed is not None and feed.profile.completeness == "marker":
        marker = marker_path(feed.profile, target)
        if marker.is_file():
            put_aside(marker, marker)
