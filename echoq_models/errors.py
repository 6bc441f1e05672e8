"""The errors a person may meet. Each carries one clear sentence; the command line maps each to an exit code."""


class EchoQError(Exception):
    """Base of every expected failure: its text is one sentence meant for a person.

    `exit_code` is what the command line returns (see the README's table).
    """

    exit_code = 5


class InputError(EchoQError):
    """The input is missing, unreadable or not what it must be (exit code 3)."""

    exit_code = 3


class RegionError(InputError):
    """A region of interest is empty, overlaps the other one, or lies outside the frame (exit code 3)."""


class WeightsError(EchoQError):
    """Weights are missing, damaged or of another architecture (exit code 5)."""


class OutputError(EchoQError):
    """The output cannot be written (exit code 5)."""


class NotClean(EchoQError):
    """The pixels may show a name, so nothing is written unless it is asked for all the same (exit code 4)."""

    exit_code = 4


class Cancelled(EchoQError):
    """A person or a signal stopped the job (exit code 130)."""

    exit_code = 130
