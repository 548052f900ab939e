"""The names of the loaded models, kept in memory for when a worker ends.

A worker that crashes takes its models with it, but SageMaker still counts on them. The
worker that replaces it finds their names here, and loads each at its first request.
"""

import logging
import os
from collections.abc import Mapping

import orjson

logger = logging.getLogger(__name__)

_MAX_BYTES = 2**30
"""More than any catalogue has: what a read asks for."""


class Catalogue:
    """Names of models, and their locations; made before the workers are forked.

    It is a file in memory, so that it also works on a read-only disk.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("models")

    def read(self) -> dict[str, str]:
        """Return the locations of the models by their names."""
        text = os.pread(self._file, _MAX_BYTES, 0).partition(b"\n")[0]
        if not text:
            return {}
        try:
            models: dict[str, str] = orjson.loads(text)
        except orjson.JSONDecodeError:  # the worker was killed while it wrote
            logger.warning("The list of loaded models is lost; load them again.")
            return {}
        return models

    def write(self, models: Mapping[str, str]) -> None:
        """Replace all that is there by the locations of the models by their names."""
        text = orjson.dumps(dict(models), option=orjson.OPT_APPEND_NEWLINE)
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))  # what is after the line end is not read
