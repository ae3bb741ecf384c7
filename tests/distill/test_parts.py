"""What a teacher's cache holds follows from its `targets` and from what its students learn."""

import pytest

from spkdistill.distill.parts import cached, stored, temperatures


@pytest.fixture
def config() -> dict:
    """Two teachers; students of the first learn from logits at two temperatures, and from embeddings."""
    kd = {"objective": "kd", "temperature": 2}
    utterances = {"objective": "multilevel", "targets": ["layer:2", "xvector"], "targets_of": "utterance"}
    frames = {"objective": "multilevel", "targets": ["wide_bn"], "targets_of": "view"}
    learnt = [
        {"objective": "none"},
        kd,
        utterances,
        {"objective": "sum", "of": [{**kd, "temperature": 4}, frames]},
    ]
    logits = {"form": "topk", "k": 8, "temperatures": [1, 4]}
    return {
        "teachers": {
            "one": {"targets": ["xvector"], "logits": logits},
            "other": {"targets": ["logits"], "logits": {"form": "factored"}},
        },
        "students": {
            str(number): {"teacher": "one", "distil": distil} for number, distil in enumerate(learnt)
        },
    }


def test_a_cache_has_what_is_listed_and_what_students_learn(config):
    assert cached(config, "one", "view") == ["xvector", "logits", "wide_bn"]
    assert cached(config, "one", "utterance") == ["layer:2", "xvector"]
    assert cached(config, "other", "view") == ["logits"]
    assert cached(config, "other", "utterance") == []


def test_factored_logits_are_stored_as_embeddings(config):
    assert stored(config, "other", ["logits"]) == ["xvector"]
    assert stored(config, "one", ["logits"]) == ["logits"]


def test_the_mass_of_the_others_is_kept_at_every_temperature(config):
    assert temperatures(config, "one") == [1.0, 2.0, 4.0]
