"""A stage is stale when its code changed, and not when a comment did."""

import shutil
from pathlib import Path

import pytest

import spkdistill
from spkdistill import codehash


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package that a test may edit."""
    copy = tmp_path / "spkdistill"
    shutil.copytree(Path(spkdistill.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codehash, "ROOT", copy)
    forget()
    yield copy
    forget()


def forget() -> None:
    codehash.parsed.cache_clear()


def hash_after(edit) -> str:
    edit()
    forget()
    return codehash.code_hash("shards")


def test_comments_docstrings_and_layout_do_not_count(package):
    before = codehash.code_hash("shards")
    path = package / "shards.py"

    def edit() -> None:
        text = path.read_text().replace('"""Shards:', '"""Other words:')
        path.write_text("# a comment\n\n" + text)

    assert hash_after(edit) == before


def test_a_changed_statement_counts_in_the_module_and_in_what_it_imports(package):
    before = codehash.code_hash("shards")
    path, imported = package / "shards.py", package / "errors.py"
    after = hash_after(lambda: path.write_text(path.read_text().replace("(job - 1)", "(job - 2)")))
    assert after != before
    assert hash_after(lambda: imported.write_text(imported.read_text() + "\nX = 1\n")) not in (before, after)


def test_a_module_that_is_not_imported_does_not_count(package):
    before = codehash.code_hash("shards")
    path = package / "seeds.py"
    assert hash_after(lambda: path.write_text(path.read_text() + "\nX = 1\n")) == before
