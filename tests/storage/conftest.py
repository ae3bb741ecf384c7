"""A small run on S3-compatible storage, its recordings and its results, beside the same run on the disk."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from spkdistill.arks import ArkWriter
from spkdistill.data.corpora.synthetic import SyntheticSettings, sex_of, synthesise, utt2spk_of, wave_bytes
from spkdistill.settings import build
from spkdistill.shards import shard

ROOT = Path(__file__).parents[2]
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NOT_ARTIFACTS = {"logs", "benchmarks", "work", "provenance", "run.json"}
ARCHIVES = ["wav.1.ark", "wav.2.ark"]
PREFIX = "s3://results/of/mine"  # the folder results/ of a run goes here


@dataclass(frozen=True)
class Run:
    """A working directory with a config, in which Snakemake runs this project's Snakefile."""

    directory: Path
    options: tuple[str, ...] = ()

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake in a process group of its own; what it says goes to run.log."""
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
            *("--directory", str(self.directory), "--configfile", str(self.directory / "run.yaml")),
            *("--cores", "2", "--show-failed-logs", *self.options, *arguments),
        ]
        environment = {**os.environ, **CREDENTIALS, "PYTHONDONTWRITEBYTECODE": "1"}
        with open(self.directory / "run.log", "w") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def finish(self, *arguments: str) -> str:
        """Run to the end; the output of a run that fails becomes the test's."""
        code = self.start(*arguments).wait()
        said = (self.directory / "run.log").read_text()
        assert code == 0, said
        return said


@dataclass(frozen=True)
class Storage:
    """The server, by its address and as boto3 sees it."""

    endpoint: str
    service: Any

    def objects(self, bucket: str) -> dict[str, Any]:
        """The objects of a bucket by their keys; none where there is no such bucket yet."""
        if bucket not in {existing.name for existing in self.service.buckets.all()}:
            return {}
        return {one.key: one for one in self.service.Bucket(bucket).objects.all()}

    def artifacts(self) -> dict[str, bytes]:
        """The bytes of what a run stored, by the paths that they have in a run on the disk."""
        start = PREFIX.removeprefix("s3://results/") + "/"
        found = {key.removeprefix(start): one for key, one in self.objects("results").items()}
        return {name: one.get()["Body"].read() for name, one in found.items() if is_artifact(name)}


def is_artifact(name: str) -> bool:
    """Logs, timings and records of when and where are not artifacts."""
    return not NOT_ARTIFACTS & set(Path(name).parts)


@pytest.fixture(scope="session")
def storage() -> Iterator[Storage]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each of thousands of requests
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    key, secret, region = CREDENTIALS.values()
    names = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": region}
    yield Storage(endpoint, boto3.resource("s3", endpoint_url=endpoint, **names))
    server.stop()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Two Kaldi data directories whose recordings are in archives beside their wav.scp."""
    folder = tmp_path_factory.mktemp("corpus")
    tiny = yaml.safe_load((ROOT / "workflow/configs/tiny.yaml").read_text())
    for name, drawn in tiny["sets"].items():
        settings = build(
            SyntheticSettings, {**drawn, "snr": [10, 25], "sample_rate": 16000, "trials": {}}, name
        )
        write_data_directory(folder / name, settings)
    return folder


def write_data_directory(folder: Path, settings: SyntheticSettings) -> None:
    """A data directory with the trials of all pairs."""
    utt2spk, index = utt2spk_of(settings), ""
    for job, name in enumerate(ARCHIVES, start=1):
        with ArkWriter(folder / name, folder / "part.scp") as writer:
            for utterance, speaker in shard(list(utt2spk.items()), job, len(ARCHIVES)):
                samples = synthesise(utterance, speaker, settings, seed=0)
                writer.write(utterance, wave_bytes(samples, settings.sample_rate))
        index += (folder / "part.scp").read_text()
    (folder / "part.scp").unlink()
    tables = {
        "wav.scp": index.replace(f"{folder}/", ""),
        "utt2spk": "".join(f"{pair[0]} {pair[1]}\n" for pair in utt2spk.items()),
        "spk2gender": "".join(f"{speaker} {sex_of(speaker)}\n" for speaker in sorted(set(utt2spk.values()))),
        "trials": "".join(
            f"{one} {other} {'target' if utt2spk[one] == utt2spk[other] else 'nontarget'}\n"
            for one, other in combinations(utt2spk, 2)
        ),
    }
    for name, text in tables.items():
        (folder / name).write_text(text)


def small_config(sets: dict[str, Any]) -> dict[str, Any]:
    """The tiny config with other sets, one shard, one student and one back-end."""
    config = yaml.safe_load((ROOT / "workflow/configs/tiny.yaml").read_text())
    student = {**config["students"]["fc8"], "objectives": ["heads"]}
    objectives = {"heads": config["objectives"]["heads"]}
    return config | {
        "shards": 1,
        "sets": sets,
        "trials": {"trials": {"set": "eval", "file": "trials"}},
        "students": {"fc8": student},
        "objectives": objectives,
        "experiments": {},
        "backends": {"plda": {"kind": "plda", "lda_dim": 4}},
    }


@pytest.fixture(scope="session")
def here(tmp_path_factory, corpus) -> dict[str, bytes]:
    """The artifacts of the run on the disk."""
    run = Run(tmp_path_factory.mktemp("here"))
    folders = {name: str(corpus / name) for name in ("train", "eval")}
    sets = {name: {"corpus": "kaldi", "directory": path, "root": path} for name, path in folders.items()}
    sets["eval"]["trials"] = ["trials"]
    (run.directory / "run.yaml").write_text(yaml.safe_dump(small_config(sets)))
    run.finish()
    found = {str(path.relative_to(run.directory)): path for path in (run.directory / "results").rglob("*")}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file() and is_artifact(name)}


@pytest.fixture(scope="session")
def remote(tmp_path_factory, corpus, storage) -> Run:
    """A run whose recordings and results are on the storage, not started yet."""
    storage.service.create_bucket(Bucket="corpus")
    for path in filter(Path.is_file, corpus.rglob("*")):
        storage.service.Object("corpus", f"v1/{path.relative_to(corpus)}").upload_file(path)
    sets = {
        name: {"corpus": "kaldi", "directory": f"s3://corpus/v1/{name}", "archives": ARCHIVES}
        for name in ("train", "eval")
    }
    sets["eval"]["trials"] = ["trials"]
    directory = tmp_path_factory.mktemp("remote")
    (directory / "run.yaml").write_text(yaml.safe_dump(small_config(sets)))
    return Run(
        directory,
        (
            *("--workflow-profile", str(ROOT / "workflow/profiles/s3")),
            *("--default-storage-prefix", PREFIX, "--storage-s3-endpoint-url", storage.endpoint),
        ),
    )


@pytest.fixture(scope="session")
def killed(remote, storage) -> dict[str, Any]:
    """What was stored when the run was killed, with its jobs, after the teacher's training."""
    process, stored = remote.start(), {}
    while "of/mine/results/tiny/teachers/xvector/aggregators.json" not in stored:
        assert process.poll() is None, (remote.directory / "run.log").read_text()
        time.sleep(0.5)
        stored = storage.objects("results")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return stored


@pytest.fixture(scope="session")
def finished(remote, killed) -> Run:
    """The run, killed and run again to its end."""
    remote.finish("--unlock")
    remote.finish()
    return remote
