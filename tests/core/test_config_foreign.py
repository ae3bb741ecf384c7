"""A teacher that is a file: what a config may say of it, and of the features that it was trained on."""

import copy
from pathlib import Path

import pytest
import yaml

from spkdistill.config import resolve
from spkdistill.errors import ConfigError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
WESPEAKER = {
    "kind": "fbank",
    "num_mel_bins": 80,
    "window_type": "hamming",
    "high_freq": 0,
    "use_energy": False,
    "cmn": {"kind": "utterance"},
}


@pytest.fixture
def config() -> dict:
    """The tiny config with a second teacher, from which a student learns."""
    config = yaml.safe_load((ROOT / "workflow/configs/tiny.yaml").read_text())
    config["features"]["fbank"] = copy.deepcopy(WESPEAKER)
    config["teachers"]["wespeaker"] = {"features": "fbank", "file": "resnet34.onnx"}
    config["students"]["other"] = {**config["students"]["fc8"], "teacher": "wespeaker", "objectives": ["x"]}
    config["objectives"]["x"] = {"objective": "multilevel", "targets": ["xvector"]}
    return config


def test_a_teacher_may_be_a_file_which_nothing_trains(config):
    config["training"]["teacher"]["epochs"] = 3
    resolved = resolve(config, SCHEMA)
    assert resolved["teachers"]["wespeaker"] == {
        "features": "fbank",
        "file": "resnet34.onnx",
        "output": None,
        "trust": False,
        "targets": ["xvector"],
        "target_storage": "float32",
    }
    assert resolved["teachers"]["xvector"]["training"]["epochs"] == 3


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("teachers.wespeaker", {"model": {"arch": "fc8"}}, "teachers.wespeaker: unknown key 'model'; "),
        ("teachers.wespeaker", {"training": {}}, "teachers.wespeaker: unknown key 'training'; "),
        ("teachers.wespeaker", {"file": "model.bin"}, "teachers.wespeaker.file: 'model.bin' does not match"),
        ("teachers.wespeaker", {"file": "a.pt"}, "teachers.wespeaker.trust: a.pt is TorchScript, a program"),
        ("teachers.wespeaker", {"output": 0}, "teachers.wespeaker.output: 0 is less than the minimum of 1"),
        (
            "teachers.wespeaker",
            {"targets": ["logits"]},
            "teachers.wespeaker.targets.0: 'xvector' was expected",
        ),
        (
            "teachers.wespeaker",
            {"features": "mel"},
            "teachers.wespeaker.features: features has no entry 'mel'",
        ),
        (
            "students.other",
            {"objectives": ["dkd"]},
            "students.other-dkd: learns from logits, but the teacher",
        ),
        ("students.other", {"objectives": ["heads"]}, "students.other-heads: learns from "),
        ("features.fbank", {"cmn": {"kind": "speaker"}}, "features.fbank.cmn.kind: 'speaker' is not one of"),
        ("features.fbank", {"cmn": {"min_frames": 9}}, "features.fbank.cmn: unknown key 'min_frames'"),
        ("features.fbank", {"cmn": {"window": 9}}, "features.fbank.cmn.min_window: 100 is not allowed"),
        ("features.fbank", {"snip_edges": True}, "features.fbank.snip_edges: True, but False for mfcc"),
        ("features.fbank", {"frame_shift": 12.5}, "features.fbank.frame_shift: 12.5, but 10 for mfcc"),
    ],
)
def test_a_fault_of_a_foreign_teacher_is_one_line_that_names_the_key(config, section, change, said):
    role, name = section.split(".")
    config[role][name] |= change
    with pytest.raises(ConfigError) as caught:
        resolve(config, SCHEMA)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_program_is_taken_from_a_maker_who_is_trusted(config):
    config["teachers"]["wespeaker"] |= {"file": "a.pt", "trust": True}
    assert resolve(config, SCHEMA)["teachers"]["wespeaker"]["trust"]


def test_features_have_the_normalisation_of_the_run_but_for_what_they_say_themselves(config):
    config["cmn"] = {"window": 200, "norm_vars": True}
    resolved = resolve(config, SCHEMA)
    assert resolved["features"]["mfcc"]["cmn"] == resolved["cmn"]
    assert resolved["features"]["fbank"]["cmn"] == {**resolved["cmn"], "kind": "utterance"}


def test_frames_of_one_length_matter_only_where_edges_are_snipped(config):
    config["features"]["fbank"]["frame_length"] = 20
    resolve(config, SCHEMA)
    for kind in ("mfcc", "fbank"):
        config["features"][kind]["snip_edges"] = True
    with pytest.raises(ConfigError, match=r"features\.fbank\.frame_length: 20, but 25 for mfcc"):
        resolve(config, SCHEMA)
