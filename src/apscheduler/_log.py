"""Logging that cannot fail."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any


def say(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: Any,
    exc_info: BaseException | None = None,
    stacklevel: int = 2,
) -> None:
    """Log a message; what a filter or handler raises does not come out.

    `logging` itself only contains the errors of well-behaved handlers, and what was to be done
    after the message must be done all the same.

    :param stacklevel: 2 to name the caller as the place of the message, 3 for its caller
    """
    try:
        if logger.isEnabledFor(level):
            logger.log(level, message, *args, exc_info=exc_info, stacklevel=stacklevel)
    except Exception:
        # Where `logging` reports what it cannot log, too.
        if logging.raiseExceptions and sys.stderr is not None:
            try:
                traceback.print_exc(file=sys.stderr)
            except OSError:
                pass
