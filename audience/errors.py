"""What the audience refuses.

AudienceError
├── UnknownAccount
├── UnknownList
├── UnknownRecipient
├── InvalidAddress
├── InvalidName
└── AlreadyExists
"""

from __future__ import annotations


class AudienceError(Exception):
    """Something was asked of the audience that it cannot do; the text is fit for the caller."""


class UnknownAccount(AudienceError):
    """There is no account with that number."""


class UnknownList(AudienceError):
    """There is no such list in this account, or number and GUID do not belong together."""


class UnknownRecipient(AudienceError):
    """The address is not known on that list."""


class InvalidAddress(AudienceError):
    """The e-mail address or mobile number is not well-formed."""


class InvalidName(AudienceError):
    """A name is empty, too long, or has characters that old clients cannot read back."""


class AlreadyExists(AudienceError):
    """The number or name is taken."""
