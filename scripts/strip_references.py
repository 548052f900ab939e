"""Leave links out of bills of materials, whose files the command line names.

Names and versions say what is in an image; where a package index lies is no part of it.
"""

import json
import sys
from pathlib import Path
from typing import Any


def stripped(value: Any) -> Any:
    """Return a part of a document without what refers to elsewhere."""
    if isinstance(value, dict):
        return {k: stripped(v) for k, v in value.items() if k != "externalReferences"}
    if isinstance(value, list):
        return [stripped(item) for item in value]
    return value


def main() -> None:
    """Write each file again."""
    for name in sys.argv[1:]:
        path = Path(name)
        document = stripped(json.loads(path.read_text()))
        path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
