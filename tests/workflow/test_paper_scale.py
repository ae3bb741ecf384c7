"""The config of the paper's size, on a made-up corpus of VoxCeleb's layout and with small networks."""

import csv

import pytest
import yaml
from runs import ROOT, Run

from spkdistill.data.corpora.synthetic import SyntheticSettings, sex_of, synthesise, utt2spk_of, wave_bytes
from spkdistill.settings import build

pytestmark = pytest.mark.workflow

DRAWN = {
    "corpus": "synthetic",
    "utterances": 3,
    "seconds": [2.3, 2.6],
    "snr": [10, 25],
    "sample_rate": 16000,
    "trials": {},
}
MAPS = {"channels": 4, "blocks": [1, 1, 1, 1], "embedding": 16}
ECAPA = {"channels": 16, "scale": 4, "pooling_channels": 24, "bottleneck": 8, "embedding": 16}
STAGES = {"channels": 4, "embedding": 16, "blocks": [1] * 6}
SMALL = {  # of each network of the config, whose other settings stay
    "ecapa1024": ECAPA,
    "ecapa400": ECAPA | {"channels": 8},
    "resnet152": MAPS,
    "resnet34": MAPS,
    "mobilenet": {"channels": 4, "embedding": 16},
    "samresnet50": MAPS | {"attention": 8},
    "res2net34": MAPS,
    "redimnet_b5": STAGES | {"group": 4, "reductions": [8] * 6},
    "redimnet_b2": STAGES,
    "camplus": {"map_channels": 4, "channels": 16, "growth": 8, "blocks": [1, 1, 1], "embedding": 16},
    "xvector": {"channels": 16, "pooling_channels": 24, "embedding": 16},
}


@pytest.fixture
def run(tmp_path) -> Run:
    """A few speakers as speaker/video/utterance.wav, and the config but for its sizes."""
    run = Run(tmp_path)
    config = yaml.safe_load((ROOT / "workflow/configs/voxceleb_triage.yaml").read_text())
    for name, speakers in (("train", 5), ("eval", 3)):
        config["sets"][name]["root"] = "corpora/voxceleb"
        settings = build(SyntheticSettings, {**DRAWN, "part": name, "speakers": speakers}, name)
        write_corpus(run, config["sets"][name]["directory"], settings)
    for name, network in (config["teachers"] | config["students"]).items():
        network["model"] |= SMALL[name]
    for training in config["training"].values():
        training |= {"epochs": 2, "batch_size": 8, "threads": 1, "warmup_epochs": 0.5}
    for objective in config["objectives"].values():
        if isinstance(objective.get("tau"), dict):
            objective["tau"] |= {"from": 0, "to": 1}
    config["objectives"]["gkd"]["size"] = 5
    config["experiments"]["pairs"] |= {"students": ["ecapa400"], "objectives": ["none", "trkd"], "seeds": [0]}
    config["experiments"]["all"] = {"objectives": ["trkd"], "seeds": [0]}
    config["experiments"]["each"] = {
        "students": ["xvector"],
        "objectives": [*config["objectives"]],
        "seeds": [0],
    }
    config["sets"]["eval"]["trials"], config["trials"] = ["vox1_o"], {"vox1_o": config["trials"]["vox1_o"]}
    del config["backends"]["asnorm"]
    run.write_config(config | {"shards": 1, "metrics": {"bootstrap_samples": 100, "paired_samples": 100}})
    return run


def write_corpus(run: Run, directory: str, settings: SyntheticSettings) -> None:
    """A Kaldi data directory whose utterances and trials are called as VoxCeleb's files."""
    folder, utt2spk = run.directory / directory, {}
    folder.mkdir(parents=True)
    for number, (drawn, speaker) in enumerate(utt2spk_of(settings).items()):
        name = (
            f"id{number // settings.utterances:05}/video{number % settings.utterances // 2}/{number:05}.wav"
        )
        audio = run.directory / "corpora/voxceleb" / settings.part / name
        audio.parent.mkdir(parents=True, exist_ok=True)
        audio.write_bytes(wave_bytes(synthesise(drawn, speaker, settings, seed=0), settings.sample_rate))
        utt2spk[name] = name.partition("/")[0], sex_of(speaker)
    lines = {name: f"{speaker}\n" for name, (speaker, _) in utt2spk.items()}
    tables = {
        "wav.scp": "".join(f"{name} {settings.part}/{name}\n" for name in lines),
        "utt2spk": "".join(f"{name} {line}" for name, line in lines.items()),
        "spk2gender": "".join(sorted({f"{speaker} {sex}\n" for speaker, sex in utt2spk.values()})),
    }
    trials = [(one, other) for one in utt2spk for other in utt2spk if one < other]
    pairs = "".join(f"{int(utt2spk[one] == utt2spk[other])} {one} {other}\n" for one, other in trials)
    for name, text in (tables | {"vox1_o": pairs}).items():
        (folder / name).write_text(text)


def test_the_config_of_the_papers_size_runs_on_a_corpus_of_its_layout(run):
    planned = run.planned()
    config = run.config()
    results, students = "results/voxceleb_triage", config["students"]
    assert len(students) == 6
    assert (planned["teacher"], planned["head"]) == (5, 5)
    target = f"{results}/experiments/pairs.tsv"
    names = {f"{student}-trkd" for student in students} | {f"xvector-{name}" for name in config["objectives"]}
    run.finish(target, *(f"{results}/students/{name}/model.safetensors" for name in sorted(names)))
    with open(run.directory / target, newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert [row["method"] for row in rows] == ["", "none", "trkd"]
    for student in students:
        log = (run.directory / results / f"students/{student}-trkd/log.tsv").read_text()
        assert "tau" in log.splitlines()[0].split("\t")
