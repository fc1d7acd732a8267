"""Images that a message's HTML shows from elsewhere, so that they can go out with it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import unescape

import structlog

from delivery.message_files import MAX_IMAGE_NAME
from delivery.messages import MessageFile
from delivery.outgoing_http import OutgoingClient, OutgoingRequest, RequestFailed

log = structlog.get_logger()

MAX_IMAGES = 50
MAX_IMAGE_SIZE = 3_000_000
"""Bytes."""
MAX_IMAGES_SIZE = 10_000_000
"""Bytes of all images of a message."""
FETCH_SECONDS = 30.0
_AT_ONCE = 8

# Each pattern is matched where the one before it ended, so that the time is linear in the length of the HTML.
_NEXT_TAG = re.compile(r"<(?:(!--)|img(?=[\s/]))", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""[\s/]*+([^\s/>=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']++)))?""")
_REMOTE = re.compile(r"https?://", re.IGNORECASE)
_IMAGE_TYPE = re.compile(r"image/[A-Za-z0-9!#$&^_.+-]{1,50}")


def find_images(html: str) -> list[str]:
    """Return the addresses of the images that HTML shows by http or https, each once, as the HTML writes them.

    Addresses with merge tags are left out, as they are others for each recipient.
    """
    found = (source for source in _find_sources(html) if _REMOTE.match(source) and "[" not in source)
    return [source for source in dict.fromkeys(found) if len(source) <= MAX_IMAGE_NAME]


def fetch_images(client: OutgoingClient, html: str, *, seconds: float = FETCH_SECONDS) -> list[MessageFile]:
    """Fetch the images of HTML.

    An image that cannot be had, or that is over a limit, is left out: the HTML goes on showing it from where it lies.

    Args:
        client: goes to no address that it must not go to.
        html: of a message.
        seconds: after which no further image is begun with.
    """
    begin_until = time.monotonic() + seconds
    sources = find_images(html)[:MAX_IMAGES]
    images: list[MessageFile] = []
    room = MAX_IMAGES_SIZE
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="images") as threads:
        for start in range(0, len(sources), _AT_ONCE):
            for image in threads.map(partial(_fetch, client, begin_until), sources[start : start + _AT_ONCE]):
                if image is not None and len(image.content) <= room:
                    room -= len(image.content)
                    images.append(image)
    return images


def _find_sources(html: str) -> Iterator[str]:
    place = 0
    last_end = html.rfind("-->")
    while (tag := _NEXT_TAG.search(html, place)) is not None:
        place = tag.end()
        if tag[1]:
            if place > last_end:
                # It has no end, and neither has any after it: nothing more is shown.
                return
            place = html.index("-->", place)
            continue
        source = None
        while (attribute := _ATTRIBUTE.match(html, place)) is not None:
            place = attribute.end()
            if attribute[1].lower() == "src" and source is None:
                source = attribute[2] or attribute[3] or attribute[4] or ""
        if source:
            yield source


def _fetch(client: OutgoingClient, begin_until: float, source: str) -> MessageFile | None:
    if time.monotonic() > begin_until:
        return None
    try:
        answer = client.send(OutgoingRequest("GET", unescape(source).strip()), keep=MAX_IMAGE_SIZE)
    except RequestFailed as failure:
        log.info("image_not_embedded", reason=str(failure))
        return None
    content_type = answer.content_type.partition(";")[0].strip().lower()
    if answer.status != 200 or not _IMAGE_TYPE.fullmatch(content_type) or not answer.content:
        log.info("image_not_embedded", status=answer.status)
        return None
    return MessageFile("image", source, content_type, answer.content)
