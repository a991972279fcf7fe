"""What an installation fails with."""
from __future__ import annotations


class InstallationError(Exception):
    """Something could not be installed; the message says what, why and what to do."""


class InstallationCancelled(InstallationError):
    """The user has cancelled."""
