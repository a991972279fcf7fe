"""Errors that a user can act on.  Every message names the cause and the remedy."""


class ReconstructionError(Exception):
    """Base of all errors that this library raises on purpose."""


class InputError(ReconstructionError, ValueError):
    """The input cannot be reconstructed as it is; the message says what to change."""


class BackendUnavailableError(ReconstructionError, RuntimeError):
    """The requested device or rasterizer implementation does not exist here; the message says what is missing."""


class Cancelled(ReconstructionError):
    """`should_stop` returned true; nothing was written."""
