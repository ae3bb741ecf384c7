"""`spkdistill models` prints what a person compares."""

import argparse
import json

from spkdistill.cli.models import add_commands
from spkdistill.models import cost


def run(*arguments: str) -> None:
    """Run the subcommand alone."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    options = parser.parse_args(["models", *arguments])
    options.run(options)


def test_the_table_is_aligned_and_has_both_counts(capsys):
    run()
    lines = capsys.readouterr().out.splitlines()
    assert len(set(map(len, lines))) == 1
    assert lines[1].split()[1:3] == ["4,219,868", "8,239,223"]
    assert [line.split()[-4] for line in lines[-3:]] == ["91.1%", "85.0%", "75.4%"]


def test_json_includes_a_trained_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "PUBLISHED", {})
    path = tmp_path / "config.json"
    model = {"arch": "fc8", "channels": 8, "layers": 2, "embedding": 6}
    head = {"kind": "aam", "scale": 32.0, "margin": 0.2}
    path.write_text(json.dumps({"model": model, "feature_dim": 5, "head": head, "speakers": ["a", "b"]}))
    run("--json", "--config", str(path))
    row = json.loads(capsys.readouterr().out)[-1]
    assert row["parameters"] == (5 + 1) * 8 + (8 + 1) * 8 + (16 + 1) * 6
    assert row["with_head"] == row["parameters"] + 2 * 6
    assert row["macs_per_second"] == 100 * (5 * 8 + 8 * 8) + 16 * 6
