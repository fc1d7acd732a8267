"""Lets the large texts of a message be kept on the disk: only for callers whom the service lets in, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from services.resources import Resources
from services.soap.declarations import Call, Service
from services.soap.large_text import NoRoom, Text
from services.soap.reader import Node


class Admission:
    """The large texts of one message.

    Args:
        service: that the message is for.
        resources: with the directory, and the places for large texts.
        describe_call: returns what is known of a call when the header of its envelope has been read.
        held: gets what must be given back when the call has been answered.
    """

    def __init__(
        self, service: Service, resources: Resources, describe_call: Callable[[Node], Call], held: ExitStack
    ) -> None:
        self._service = service
        self._resources = resources
        self._describe_call = describe_call
        self._held = held
        self.call: Call | None = None
        """The call, if it was looked at before its body was read."""

    def open_text(self, envelope: Node) -> Text:
        """Return the place for a large text of a message that begins with this envelope."""
        text = Text(self._resources.storage.receiving, lambda: self._claim(envelope))
        self._held.callback(text.close)
        return text

    def _claim(self, envelope: Node) -> bool:
        """Tell whether a text that does not fit into memory is kept.

        Raises:
            NoPlace: too many are kept at present.
            NoRoom: there is no room on the disk.
        """
        if self.call is None:
            self.call = self._describe_call(envelope)
            if not self._service.admits(self.call):
                return False
            self._held.enter_context(self._resources.large_texts.take())
        if not self._resources.storage.has_room():
            raise NoRoom
        return True
