"""The repository reads itself: core code has no clock, no randomness, no threads and no sets of its own.

Same seed, same trace: everything that could differ between two runs comes in through a seam (trio's clock, the actor's
`Random`, the committer, the transport). Sets are banned altogether, because the order in which they are walked differs
from process to process; a dict does the same work in a known order.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ("proto", "storage", "partitions", "clients")
# The edges: where threads, asyncio and the system's own clock belong.
EDGES = (
    "proto/ursa_pb2.py",
    "storage/committer.py",
    "partitions/requests/audit_file.py",
    "partitions/process.py",
    "partitions/frontends/grpc.py",
    "partitions/frontends/webhooks.py",
    "clients/transport/grpc.py",
    "clients/transport/_grpc_bridge.py",
    "clients/transport/_grpc_detour.py",
    "clients/transport/_grpc_pump.py",
    "clients/transport/_grpc_wire.py",
    "clients/transport/_relay.py",
)

BANNED_MODULES = (
    "time",
    "threading",
    "asyncio",
    "secrets",
    "multiprocessing",
    "concurrent",
    "queue",
    "select",
    "signal",
)
BANNED_NAMES = {
    "random": ("random", "choice", "choices", "shuffle", "randint", "uniform", "seed", "getrandbits", "SystemRandom"),
    "uuid": ("uuid1", "uuid4"),
    "datetime": ("now", "utcnow", "today"),
    "os": ("urandom", "getrandom"),
}

# Sets, and numbers that differ from process to process.
BANNED_CALLS = ("set", "frozenset", "id", "hash")


def core_files() -> list[Path]:
    files = [path for folder in CORE for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if str(path.relative_to(ROOT)) not in EDGES]


def breaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    # A parameter may be called `random`, as an actor's is; only the module of that name is banned. A class like
    # datetime is imported by name.
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    modules = ["datetime", *(alias.asname or alias.name for node in imports for alias in node.names)]
    for node in ast.walk(tree):
        yield from _import_breaches(node)
        yield from _use_breaches(node, modules)


def _import_breaches(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] in BANNED_MODULES:
                yield node.lineno, f"imports {alias.name}"
    elif isinstance(node, ast.ImportFrom) and not node.level:
        module = (node.module or "").split(".")[0]
        if module in BANNED_MODULES:
            yield node.lineno, f"imports from {module}"
        for alias in node.names:
            if alias.name in BANNED_NAMES.get(module, ()):
                yield node.lineno, f"imports {module}.{alias.name}"


def _use_breaches(node: ast.AST, modules: list[str]) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id in modules and node.attr in BANNED_NAMES.get(node.value.id, ()):
            yield node.lineno, f"uses {node.value.id}.{node.attr}"
    elif isinstance(node, ast.Set | ast.SetComp):
        yield node.lineno, "makes a set"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
        yield node.lineno, f"calls {node.func.id}()"


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_core_code_reaches_for_nothing_outside_its_seams(path: Path) -> None:
    assert list(breaches(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic",
        "import random\nrandom.choice([1])",
        "from uuid import uuid4",
        "from datetime import datetime\ndatetime.now()",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "import threading",
        "hash('a')",
    ],
)
def test_the_rule_sees_a_breach(source: str) -> None:
    assert list(breaches(ast.parse(source)))


def test_every_edge_is_still_there() -> None:
    assert [edge for edge in EDGES if not (ROOT / edge).exists()] == []


def test_every_package_is_installed() -> None:
    """An editable install works without being told; a wheel lacks what is not listed."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = [path.parent for folder in (*CORE, "tools") for path in (ROOT / folder).rglob("__init__.py")]
    assert sorted(listed) == sorted(["ursa", *(".".join(("ursa", *room.relative_to(ROOT).parts)) for room in rooms)])
