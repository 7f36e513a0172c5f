"""Exit codes, and the error that ends a command with one of them and one clear line."""

PUBLISHED = 0
FAILED = 1
USAGE = 2
NOT_BLESSED = 3
DATA_REFUSED = 4
DRIFTED = 10
INTERRUPTED = 75  # EX_TEMPFAIL: try again, with --resume


class CommandError(Exception):
    """Ends the command: the message goes to stderr, without a traceback."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


class NoTrialCompleted(Exception):
    """A search ended without one scored trial; the message has the reasons."""


class ConfigError(CommandError, ValueError):
    """The job file, a flag or what they name is wrong; the message is for who wrote it."""
