"""The one exception whose message is meant for the person at the keyboard."""


class SDiffError(ValueError):
    """Bad input or a missing file. The message is one sentence that says what to do about it."""
