"""What the design forbids and import-linter cannot see, checked in the syntax tree.

Which package may import which is in ``pyproject.toml``; ``make check`` holds it.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"

DOORS = {"train", "serve"}


def name_of(path: Path) -> str:
    """Return the name of the module in a file."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


TREES = {
    name_of(path): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module that a tree imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in TREES else str(node.module) for name in full)


def test_nobody_imports_a_door() -> None:
    """Doors are run, not used."""
    everything = {name for tree in TREES.values() for name in imports(tree)}

    assert everything & DOORS == set()


def attributes_of(module: str, root: str) -> set[str]:
    """Return the names that a module takes from another by a dot."""
    return {
        node.attr
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == root
    }


def test_the_environment_is_read_in_one_place_and_set_in_another() -> None:
    """Variables are the business of two modules."""
    users = {
        module
        for module in TREES
        if attributes_of(module, "os") & {"environ", "getenv", "putenv", "environb"}
    }

    assert users == {"sagemaker_container.variables", "sagemaker_container.process"}
    assert "os" not in {
        node.module
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }


def test_opt_ml_is_known_in_one_place() -> None:
    """No other module spells the path, not even in a string that it joins."""
    spellers = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and str(node.value).startswith("/opt/ml")
    }

    assert spellers == {"sagemaker_container.variables"}


def test_torch_and_flask_stay_where_they_are() -> None:
    """Training and two modules beside it know torch; two know Flask."""
    users = {
        library: {
            re.sub(r"^lstm_ad\.training\..*", "lstm_ad.training", module)
            for module, tree in TREES.items()
            if library in {name.partition(".")[0] for name in imports(tree)}
        }
        for library in ("torch", "flask")
    }

    assert users == {
        "torch": {
            "lstm_ad.learning",
            "lstm_ad.model.export",
            "lstm_ad.model.network",
            "lstm_ad.training",
            "sagemaker_container.launcher",
        },
        "flask": {
            "sagemaker_container.http.app",
            "sagemaker_container.http.model_routes",
            "serve",
        },
    }


def test_the_door_of_the_server_takes_a_type_alone_from_flask() -> None:
    """At run time, before the fork, it imports neither Flask nor ONNX Runtime."""
    serve = TREES["serve"]
    at_run_time = [
        node
        for node in serve.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]

    everywhere = imports(ast.Module(at_run_time, type_ignores=[]))
    assert "flask" not in set(everywhere)


def test_nothing_inherits_from_our_own_classes_but_exceptions() -> None:
    """Data are frozen dataclasses; a part of the pipeline is used, not extended."""
    own = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    heirs = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases} & own
    }

    assert all(name.endswith("Error") for name in heirs)


PROBE = """
import importlib, json, logging, os, random, signal, sys, threading
import numpy

def state():
    return [
        dict(os.environ),
        os.getcwd(),
        os.listdir(),
        len(logging.getLogger().handlers),
        logging.getLogger().level,
        str(signal.getsignal(signal.SIGTERM)),
        numpy.random.get_state()[1].tolist(),
        str(random.getstate()),
    ]

before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([state() == before, sorted(sys.argv[1:])]))
"""


def test_importing_has_no_effect(tmp_path: Path) -> None:
    """No logging set up, no folder made, no seed, no signal, no variable."""
    output = subprocess.run(
        [sys.executable, "-c", PROBE, *TREES],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    assert json.loads(output) == [True, sorted(TREES)]


def test_the_door_of_training_opens_without_a_runtime(tmp_path: Path) -> None:
    """Bad input is refused before torch is loaded, and nothing before its switches.

    ONNX Runtime reports to its maker unless that was switched off before the import.
    """
    code = "import train, sys; print({'torch', 'onnxruntime'} & set(sys.modules))"

    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    assert output == b"set()\n"
