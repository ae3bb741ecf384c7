"""The version of a stage's code: a hash of the syntax trees of the modules it imports.

Comments, docstrings and formatting do not change it; an edited statement does. Imports are followed inside
this package, those inside functions too, so that the hash covers what the stage runs and nothing else.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "spkdistill"
ROOT = Path(__file__).parent


def code_hash(*modules: str) -> str:
    """Sixteen hex digits for `modules` (names below this package, as "features.vad") and all they import."""
    found: set[str] = set()
    waiting = [f"{PACKAGE}.{module}" for module in modules]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(parsed(module)[1])
    digest = hashlib.blake2b(digest_size=8)
    for module in sorted(found):
        digest.update(f"{module}\0{parsed(module)[0]}\0".encode())
    return digest.hexdigest()


@cache
def parsed(module: str) -> tuple[str, frozenset[str]]:
    """A module's syntax tree as text, without docstrings and positions, and its imports of this package."""
    tree = ast.parse(source_file(module).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        body = getattr(node, "body", None)
        if body and is_docstring(body[0]):
            del body[0]
    own = (name for name in names if name.startswith(f"{PACKAGE}."))
    return ast.dump(tree), frozenset(name for name in own if source_file(name).exists())


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """A tree and every statement in it, at any depth; expressions, most of a tree, are left out."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, block, [])


def is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a bare string."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def source_file(module: str) -> Path:
    """The file of a module of this package."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
