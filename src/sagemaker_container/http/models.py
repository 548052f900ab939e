"""The models of a multi-model endpoint: load them, find them, unload them.

One worker holds all of them, once: models cost memory, and SageMaker puts as many on a
machine as fit. Its threads are shared by all models, and so is what computes.
"""

import dataclasses
import threading
from pathlib import Path

from lstm_ad import artifacts, model_json
from lstm_ad.exceptions import ArtifactError
from lstm_ad.parallel import Cores
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats.messages import shown
from sagemaker_container.http.body import MB
from sagemaker_container.http.catalogue import Catalogue
from sagemaker_container.memory import give_back_freed_memory, resident_bytes

BYTES_PER_BYTE = 2
"""Memory that a model takes per byte of its network and its statistics: measured 1.1 to
1.5 where the network is most of them."""

BYTES_PER_PAYLOAD = 2
"""Memory that a request takes at its peak per byte of its body: measured 1.9."""


class ModelNotFoundError(Exception):
    """Raised if no model of a name is loaded."""


class ModelLoadedError(Exception):
    """Raised if a model of a name is loaded already."""


class UnusableModelError(Exception):
    """Raised if a folder holds no model that can be served."""


class NoMemoryError(Exception):
    """Raised if a model would leave too little memory for a request."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much memory the models may take."""

    limit_bytes: int
    """The container's limit."""
    max_payload_mb: int
    """The largest request body, in MB of 2**20 bytes, for which memory is kept."""

    def refuse_beyond(self, name: str, n_bytes: int) -> None:
        """Refuse a model that would leave too little memory for a request.

        Args:
            name: The model's.
            n_bytes: The memory that it takes.

        Raises:
            NoMemoryError: If it does.
        """
        kept = BYTES_PER_PAYLOAD * self.max_payload_mb * MB
        if self._is_beyond(n_bytes + kept):
            give_back_freed_memory()
        if self._is_beyond(n_bytes + kept):
            raise NoMemoryError(
                f"The model {shown(name)} takes {n_bytes / MB:.1f} MB, but of the "
                f"{self.limit_bytes / MB:.0f} MB of memory {resident_bytes() / MB:.0f} "
                f"are in use and {kept / MB:.0f} are kept for a request; unload "
                f"another model."
            )

    def _is_beyond(self, n_bytes: int) -> bool:
        """Return whether more memory than the limit would be in use."""
        return resident_bytes() + n_bytes > self.limit_bytes


class Models:
    """The models of a multi-model endpoint.

    Args:
        catalogue: The models that an earlier worker has left; kept up to date.
        budget: How much memory they may take.
        cores: The threads that compute.
        gpu: The number of the GPU that computes, if there are any.
    """

    def __init__(
        self, catalogue: Catalogue, budget: Budget, cores: Cores, gpu: int = 0
    ) -> None:
        self._catalogue = catalogue
        self._budget = budget
        self._cores = cores
        self._gpu = gpu
        self._changing = threading.Lock()
        self._locations = catalogue.read()
        self._loaded: dict[str, LSTMAD] = {}

    @property
    def locations(self) -> dict[str, str]:
        """The folder of each model, by its name, in the order of the names."""
        return dict(sorted(self._locations.copy().items()))

    def location(self, name: str) -> str:
        """Return the folder of a model.

        Raises:
            ModelNotFoundError: If it is not loaded.
        """
        try:
            return self._locations[name]
        except KeyError:
            raise ModelNotFoundError(
                f"The model {shown(name)} is not loaded; load it with POST /models."
            ) from None

    def load(self, name: str, location: str) -> None:
        """Load a model.

        Args:
            name: What requests call it.
            location: Its folder.

        Raises:
            ModelLoadedError: If a model of this name is loaded.
            NoMemoryError: If it would leave too little memory for a request.
            UnusableModelError: If the folder holds no model that can be served.
        """
        with self._changing:
            if name in self._locations:
                raise ModelLoadedError(
                    f"The model {shown(name)} is loaded already; unload it first."
                )
            self._loaded[name] = self._detector(name, location)
            self._locations[name] = location
            self._catalogue.write(self._locations)

    def detector(self, name: str) -> LSTMAD:
        """Return a model, ready to score.

        Raises:
            ModelNotFoundError: If it is not loaded.
            NoMemoryError: As :meth:`load`, if another worker has loaded it.
            UnusableModelError: Likewise.
        """
        detector = self._loaded.get(name)
        if detector is None:
            self.location(name)  # what is unknown need not wait for another to load
            with self._changing:
                location = self.location(name)
                detector = self._loaded.get(name) or self._detector(name, location)
                self._loaded[name] = detector
        return detector

    def unload(self, name: str) -> None:
        """Free a model; requests that it is scoring are still answered.

        Raises:
            ModelNotFoundError: If it is not loaded.
        """
        with self._changing:
            self.location(name)
            del self._locations[name]
            self._catalogue.write(self._locations)
            self._loaded.pop(name, None)

    def _detector(self, name: str, location: str) -> LSTMAD:
        """Return the model in a folder, after it has scored once."""
        folder = Path(location)
        files = folder / model_json.NETWORK, folder / model_json.STATISTICS
        self._budget.refuse_beyond(name, BYTES_PER_BYTE * sum(map(_size, files)))
        try:
            detector = artifacts.load(folder, self._cores, self._gpu)
            detector.warm_up()
        except (ArtifactError, ValueError) as error:
            raise UnusableModelError(str(error)) from error
        detector.reconstructor.network.drop_model()
        return detector


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none: loading it says so."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
