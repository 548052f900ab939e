"""Environment variables: the one module that reads them."""

import os
from pathlib import Path

from lstm_ad.exceptions import SettingError

BASE_DIR = "SAGEMAKER_BASE_DIR"
DEFAULT_BASE_DIR = "/opt/ml"

THREADS = "OMP_NUM_THREADS"
"""Threads of a process; OpenMP also accepts a list, one number per level of nesting."""


def base_dir() -> Path:
    """Return the root of a container's files; sagemaker-training moves it likewise."""
    return Path(os.environ.get(BASE_DIR, DEFAULT_BASE_DIR))


def text(variable: str) -> str:
    """Return the value of a variable without spaces around it; empty if unset."""
    return os.environ.get(variable, "").strip()


def positive_integer(variable: str, default: int) -> int:
    """Return the positive integer in a variable, or the default if it is unset.

    Raises:
        SettingError: If the variable holds anything else.
    """
    return _positive_integer(text(variable), variable, default)


def n_threads(default: int) -> int:
    """Return the number of threads that the user asks for, or the default.

    Raises:
        SettingError: If the variable holds no positive integer.
    """
    given = text(THREADS)
    return _positive_integer(given.partition(",")[0].strip() or given, THREADS, default)


def _positive_integer(given: str, variable: str, default: int) -> int:
    """Return the positive integer in a text, or the default if it is empty."""
    if not given:
        return default
    digits, _, zeros = given.partition(".")  # "4.0", as JSON tools write integers
    if not digits.isdecimal() or int(digits) == 0 or zeros.strip("0"):
        raise SettingError(
            f'{variable} must be a positive integer, but "{given}" was given.'
        )
    return int(digits)
