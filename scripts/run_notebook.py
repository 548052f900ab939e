"""Run the notebook from top to bottom and store its outputs: ``make notebook``.

``python scripts/run_notebook.py NOTEBOOK [--folder FOLDER] [--output FILE]``
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

CELL_SECONDS = 600
"""How long a cell may take."""


def main() -> None:
    """Run the notebook; a cell that fails ends it with the cell's own error."""
    parser = argparse.ArgumentParser(description="Run a notebook, store its outputs.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--folder", type=Path, help="where it runs; else where it is")
    parser.add_argument("--output", type=Path, help="what is written; else itself")
    arguments = parser.parse_args()
    notebook = nbformat.read(arguments.notebook, as_version=4)
    with tempfile.TemporaryDirectory() as scratch:
        # Neither the settings nor the history of whoever runs it matter.
        os.environ["IPYTHONDIR"] = scratch
        folder = arguments.folder or arguments.notebook.parent
        try:
            execute(notebook, folder, Path(scratch))
        except CellExecutionError as error:
            sys.exit(f"The notebook failed: {error}")
    nbformat.write(notebook, arguments.output or arguments.notebook)


def execute(notebook: nbformat.NotebookNode, folder: Path, scratch: Path) -> None:
    """Run all cells in a new kernel, and keep what they put out and nothing else.

    Args:
        notebook: What runs; its outputs are replaced.
        folder: Where it runs.
        scratch: Where the sockets of its kernel are: no ports are opened.

    Raises:
        CellExecutionError: If a cell fails.
    """
    kernel = {"transport": "ipc", "connection_file": str(scratch / "kernel.json")}
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        config=Config({"KernelManager": kernel}),
    ).execute()
    for cell in notebook.cells:
        # Beside the tags, there would be the times of this run.
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
        "executed_sha256": digest(notebook),
    }


def digest(notebook: nbformat.NotebookNode) -> str:
    """Return the SHA-256 of the code: outputs are stale if they are of another."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


if __name__ == "__main__":
    main()
