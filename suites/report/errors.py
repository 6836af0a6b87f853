"""Expected errors as documents hold them."""

from __future__ import annotations

from clusters.errors import GraymeshError
from suites.report.document import ErrorPart


def error_part(error: GraymeshError) -> ErrorPart:
    """The error's class, its text as one line, the exit code that follows from it."""
    return {
        "kind": type(error).__name__,
        "message": " ".join(str(error).split()),
        "exit_code": error.exit_code,
    }
