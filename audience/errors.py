"""What the audience refuses.

AudienceError
├── UnknownAccount
├── UnknownList
├── UnknownGroup
├── UnknownRecipient
├── AddressForgotten
├── InvalidAddress
├── InvalidName
├── InvalidSetting
├── ListBusy
├── AlreadyExists
├── UnknownWebhook
└── InvalidWebhook
"""

from __future__ import annotations


class AudienceError(Exception):
    """Something was asked of the audience that it cannot do; the text is fit for the caller."""


class UnknownAccount(AudienceError):
    """There is no account with that number."""


class UnknownList(AudienceError):
    """There is no such list in this account, or number and GUID do not belong together."""


class UnknownGroup(AudienceError):
    """There is no such group in this account or list."""


class UnknownRecipient(AudienceError):
    """The address is not known on that list."""


class AddressForgotten(AudienceError):
    """The address was erased at its owner's wish and must not be added again."""


class InvalidAddress(AudienceError):
    """The e-mail address or mobile number is not well-formed."""


class InvalidName(AudienceError):
    """A name is empty, too long, or has characters that old clients cannot read back."""


class InvalidSetting(AudienceError):
    """A value that a setting cannot have."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason
        """What it can have; fit for the caller, and does not name the setting."""


class ListBusy(AudienceError):
    """An import of the list waits or runs."""


class AlreadyExists(AudienceError):
    """The number or name is taken."""


class UnknownWebhook(AudienceError):
    """There is no webhook with that number in this account."""


class InvalidWebhook(AudienceError):
    """A webhook as described could not work, or must not."""
