"""Write the requests of :mod:`specification` and the rest as JSON files."""

import json
import sys
from pathlib import Path

import alarms
import endpoints
import listing
import retraining
import specification


def main(folder: Path) -> None:
    """Write every document to ``folder``, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in (specification, retraining, endpoints, listing, alarms):
        for name, document in module.DOCUMENTS.items():
            text = json.dumps(document(), indent=2) + "\n"
            (folder / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
