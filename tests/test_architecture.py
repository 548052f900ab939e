"""Who may import whom: the arrows of the design, checked in the syntax tree.

doors (train, serve) -> sagemaker_container -> lstm_ad. Only what is in the table may
be imported; beyond that, the standard library, except where it is the outside world.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

ARRAYS = {"numpy"}

MAY_IMPORT: dict[str, tuple[set[str], set[str]]] = {
    # module: (modules of the same package, third parties)
    "lstm_ad": (set(), set()),
    "lstm_ad.axes": (set(), ARRAYS),
    "lstm_ad.exceptions": (set(), set()),
    "lstm_ad.layout": (set(), set()),
    "lstm_ad.hyperparameters": ({"exceptions", "layout"}, set()),
    "lstm_ad.parallel": (set(), set()),
    "lstm_ad.losses": ({"axes"}, ARRAYS),
    "lstm_ad.sequences": ({"axes", "layout"}, ARRAYS),
    "lstm_ad.scaling": ({"axes", "sequences"}, ARRAYS),
    "lstm_ad.shares": (
        {"axes", "hyperparameters", "sequences"},
        ARRAYS,
    ),
    "lstm_ad.team": ({"axes"}, {"torch"}),
    "lstm_ad.checks": (
        {"axes", "exceptions", "hyperparameters", "layout", "scaling", "shares"},
        ARRAYS,
    ),
    "lstm_ad.gaussian": ({"axes", "scaling"}, ARRAYS),
    "lstm_ad.checkpoints": ({"losses"}, ARRAYS | {"safetensors"}),
    "lstm_ad.network": ({"layout", "scaling"}, {"torch"}),
    "lstm_ad.training": (
        {"axes", "checkpoints", "exceptions", "hyperparameters", "losses", "network"}
        | {"scaling", "sequences", "shares", "team"},
        ARRAYS | {"torch"},
    ),
    "lstm_ad.onnx_graph": (
        {"axes", "layout", "runtime", "scaling"},
        ARRAYS | {"onnx"},
    ),
    "lstm_ad.runtime": (
        {"axes", "exceptions", "layout"},
        ARRAYS | {"onnxruntime"},
    ),
    "lstm_ad.reconstruction": (
        {"axes", "exceptions", "losses", "parallel", "runtime", "scaling", "sequences"},
        ARRAYS,
    ),
    "lstm_ad.tail": ({"axes"}, ARRAYS),
    "lstm_ad.decision": ({"axes", "tail"}, ARRAYS),
    "lstm_ad.detector": ({"axes", "decision", "gaussian", "reconstruction"}, ARRAYS),
    "lstm_ad.events": ({"axes", "decision", "detector"}, ARRAYS),
    "lstm_ad.labels": ({"axes", "decision", "detector", "exceptions"}, ARRAYS),
    "lstm_ad.calibration": (
        {
            "axes",
            "decision",
            "detector",
            "gaussian",
            "layout",
            "shares",
            "tail",
            "team",
        },
        ARRAYS,
    ),
    "lstm_ad.artifacts": (
        {"axes", "decision", "detector", "exceptions", "gaussian", "hyperparameters"}
        | {"losses", "parallel", "reconstruction", "runtime", "scaling", "tail"},
        ARRAYS | {"safetensors"},
    ),
    "lstm_ad.fitting": (
        {"artifacts", "axes", "calibration", "checkpoints", "checks", "detector"}
        | {"exceptions", "gaussian", "hyperparameters", "labels", "layout", "losses"}
        | {"network", "onnx_graph", "parallel", "shares", "team"}
        | {"reconstruction", "runtime", "scaling", "sequences", "training"},
        ARRAYS | {"torch"},
    ),
    "lstm_ad.inspection": (
        {"artifacts", "axes", "detector", "gaussian", "reconstruction", "shares"},
        ARRAYS,
    ),
    "lstm_ad.verdict": ({"artifacts", "axes", "inspection", "scaling"}, ARRAYS),
    "sagemaker_container": (set(), set()),
    "sagemaker_container.wording": (set(), set()),
    "sagemaker_container.outputs": ({"wording"}, set()),
    "sagemaker_container.environment": ({"outputs"}, set()),
    "sagemaker_container.rows": ({"wording"}, ARRAYS),
    "sagemaker_container.csv_format": (
        {"outputs", "rows", "wording"},
        ARRAYS | {"orjson", "pandas"},
    ),
    "sagemaker_container.json_format": ({"rows", "wording"}, ARRAYS | {"orjson"}),
    "sagemaker_container.answers": ({"csv_format", "json_format", "outputs"}, set()),
    "sagemaker_container.channels": ({"csv_format", "environment"}, ARRAYS),
    "sagemaker_container.launcher": ({"environment"}, {"torch"}),
    "sagemaker_container.metrics": (set(), set()),
    "sagemaker_container.svg": (set(), ARRAYS),
    "sagemaker_container.figures": ({"svg"}, ARRAYS),
    "sagemaker_container.report": ({"figures"}, {"jinja2", "orjson"}),
    "sagemaker_container.places": (set(), set()),
    "sagemaker_container.batch": (set(), set()),
    "sagemaker_container.specification": (
        {"environment", "metrics", "outputs"},
        set(),
    ),
    "sagemaker_container.memory": (set(), set()),
    "sagemaker_container.http_worker": ({"memory"}, {"gunicorn"}),
    "sagemaker_container.app": (
        {"answers", "batch", "csv_format", "json_format", "outputs", "places"}
        | {"wording"},
        {"flask", "orjson", "sagemaker_inference", "werkzeug"},
    ),
    "train": (set(), {"sagemaker_training"}),
    "serve": (set(), {"flask", "gunicorn"}),
}

FROM_THE_ALGORITHM: dict[str, set[str]] = {
    "sagemaker_container.environment": {"exceptions", "hyperparameters"},
    "sagemaker_container.rows": {"axes", "exceptions", "parallel"},
    "sagemaker_container.csv_format": {"axes", "decision", "detector", "exceptions"}
    | {"parallel"},
    "sagemaker_container.json_format": {"axes", "decision", "detector", "events"}
    | {"exceptions", "parallel"},
    "sagemaker_container.answers": {"axes", "detector", "events"},
    "sagemaker_container.channels": {
        *("axes", "checkpoints", "checks", "exceptions", "labels", "shares", "team"),
    },
    "sagemaker_container.launcher": {"exceptions"},
    "sagemaker_container.metrics": {"losses"},
    "sagemaker_container.svg": {"axes"},
    "sagemaker_container.figures": {"artifacts", "axes", "inspection"},
    "sagemaker_container.report": {"artifacts", "axes", "inspection", "losses"}
    | {"verdict"},
    "sagemaker_container.batch": {"exceptions"},
    "sagemaker_container.specification": {"hyperparameters"},
    "sagemaker_container.app": {"axes", "detector", "exceptions", "parallel"},
}
"""What the container package knows of the algorithm: data, exceptions, one detector."""

DOORS = {"train", "serve"}

OUTSIDE = {"argparse", "csv", "getopt", "http", "socket", "subprocess", "urllib"}
"""Parts of the standard library that are the outside world."""


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


def test_every_module_has_its_row() -> None:
    """A new module must say whom it may import; a row without a module goes."""
    assert set(TREES) == set(MAY_IMPORT)


@pytest.mark.parametrize("module", TREES)
def test_a_module_imports_only_what_its_row_allows(module: str) -> None:
    """Of its own package, of the package below, and of third parties."""
    package = module.partition(".")[0]
    own, third_party = MAY_IMPORT[module]
    if module in DOORS:
        allowed = {name for name in TREES if name not in DOORS}
    else:
        allowed = {f"{package}.{name}" for name in own} | {
            f"lstm_ad.{name}" for name in FROM_THE_ALGORITHM.get(module, set())
        }

    ours = {name for name in imports(TREES[module]) if name in TREES}
    others = {name.partition(".")[0] for name in imports(TREES[module])} - {
        name.partition(".")[0] for name in TREES
    }
    assert ours - allowed == set()
    assert others - set(sys.stdlib_module_names) - third_party == set()


def test_nobody_imports_a_door() -> None:
    """Doors are run, not used."""
    everything = {name for tree in TREES.values() for name in imports(tree)}

    assert everything & DOORS == set()


def test_the_algorithm_knows_nothing_of_its_container() -> None:
    """No HTTP, no CSV, no command line, no process around it."""
    for module, tree in TREES.items():
        if module.startswith("lstm_ad"):
            roots = {name.partition(".")[0] for name in imports(tree)}
            forbidden = OUTSIDE | {"sagemaker_container", "flask", "gunicorn", "pandas"}
            assert roots & forbidden == set(), module


def attributes_of(module: str, root: str) -> set[str]:
    """Return the names that a module takes from another by a dot."""
    return {
        node.attr
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == root
    }


def test_the_environment_is_read_in_one_place() -> None:
    """Variables are the business of ``environment`` alone."""
    readers = {
        module
        for module in TREES
        if attributes_of(module, "os") & {"environ", "getenv", "putenv", "environb"}
    }

    assert readers == {"sagemaker_container.environment"}
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

    assert spellers == {"sagemaker_container.environment"}


def test_torch_and_flask_stay_where_they_are() -> None:
    """Five modules know torch; one knows Flask, and a door its type."""
    users = {
        library: {
            module
            for module, tree in TREES.items()
            if library in {name.partition(".")[0] for name in imports(tree)}
        }
        for library in ("torch", "flask")
    }

    assert users == {
        "torch": {
            *(f"lstm_ad.{name}" for name in ("network", "training", "fitting", "team")),
            "sagemaker_container.launcher",
        },
        "flask": {"sagemaker_container.app", "serve"},
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
