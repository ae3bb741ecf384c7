"""Targets: what the teacher says about exactly each view, and how students read it back."""

import argparse

import numpy as np
import pytest
import torch
from dumping import dump

from spkdistill.arks import ArkReader, ArkWriter, describe_rounding
from spkdistill.cli.targets import add_commands
from spkdistill.distill.parts import AGGREGATED, PARTS, file_name, part_of
from spkdistill.distill.targets import TargetReader, TeacherFiles
from spkdistill.errors import ConfigError, DataError
from spkdistill.models.aggregators import AGGREGATORS as AGGREGATORS_BY_NAME
from spkdistill.models.build import build_model
from spkdistill.models.store import load, load_aggregators, save
from spkdistill.views import ViewSettings, make_views, write_views


@pytest.fixture(scope="module")
def scps(tmp_path_factory, teacher, corpus) -> dict[str, str]:
    """Targets of every part, from one shard."""
    return dump(tmp_path_factory.mktemp("targets"), teacher, corpus, jobs=1, parts=(*PARTS, "layer:2"))


def test_targets_are_what_the_teacher_says_about_the_view(teacher, corpus, scps):
    views, _, _, features = corpus
    model, head, _ = load(teacher.model, teacher.config)
    aggregators = load_aggregators(teacher.aggregators, teacher.aggregators_config, model.layer_dims)
    readers = {part: ArkReader(scp) for part, scp in scps.items()}
    for index in range(0, len(views), 13):
        whole = features[views.utterances[index]]
        crop = whole[(views.first[index] + np.arange(50)) % len(whole)]
        with torch.no_grad():
            layers = model.frame_layers(torch.from_numpy(crop).unsqueeze(0))
            embedding = model(torch.from_numpy(crop).unsqueeze(0))
            cosine = torch.nn.functional.cosine_similarity(embedding, head.weight)
            expected = {
                "xvector": embedding[0],
                "narrow_bn": layers[3].mean(2)[0],
                "wide_bn": layers[4].mean(2)[0],
                "sp_aggr": aggregators["sp_aggr"](layers)[0],
                "lde_aggr": aggregators["lde_aggr"](layers)[0],
                "logits": 32 * cosine,
                "layer:2": layers[1].mean(2)[0],
            }
        for part, reader in readers.items():
            found = reader[views.ids[index]]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected[part].numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jobs", [2, 3, 7])
def test_targets_are_the_same_bytes_in_any_number_of_shards(tmp_path, teacher, corpus, scps, jobs):
    others = dump(tmp_path, teacher, corpus, jobs)
    for part in PARTS:
        one, many = ArkReader(scps[part]), ArkReader(others[part])
        assert one.keys() == many.keys() == corpus[0].ids
        assert one.gather(one.keys()).tobytes() == many.gather(many.keys()).tobytes()


def test_the_last_layers_by_number_are_narrow_and_wide(tmp_path, teacher, corpus, scps):
    numbered = dump(tmp_path, teacher, corpus, 1, ["layer:4", "layer:5"])
    for part, named in (("layer:4", "narrow_bn"), ("layer:5", "wide_bn")):
        one, other = ArkReader(numbered[part]), ArkReader(scps[named])
        assert one.gather(one.keys()).tobytes() == other.gather(other.keys()).tobytes()


def test_every_aggregator_is_a_part():
    assert tuple(AGGREGATORS_BY_NAME) == AGGREGATED


def test_names_of_parts_and_of_their_files_go_both_ways():
    for part in (*PARTS, "layer:1", "layer:24"):
        assert part_of(file_name(part)) == part
        assert not set(file_name(part)) & set(":/.")


UTTERANCE_PARTS = ("xvector", "layer:1", "sp_aggr")


@pytest.fixture(scope="module")
def of_utterances(tmp_path_factory, teacher, corpus) -> dict[str, str]:
    """Targets of whole utterances, from one shard."""
    folder = tmp_path_factory.mktemp("utterances")
    return dump(folder, teacher, corpus, 1, UTTERANCE_PARTS, targets_of="utterance")


def test_a_target_of_an_utterance_is_the_teachers_answer_for_all_its_frames(teacher, corpus, of_utterances):
    views, _, _, features = corpus
    model, _, _ = load(teacher.model, teacher.config)
    sp_aggr = load_aggregators(teacher.aggregators, teacher.aggregators_config, model.layer_dims)["sp_aggr"]
    readers = {part: ArkReader(scp) for part, scp in of_utterances.items()}
    for utterance in views.utterances[::40]:
        with torch.no_grad():
            layers = model.frame_layers(torch.from_numpy(features[utterance]).unsqueeze(0))
            expected = {
                "xvector": model.embed(layers[-1]),
                "layer:1": layers[0].mean(2),
                "sp_aggr": sp_aggr(layers),
            }
        for part, reader in readers.items():
            np.testing.assert_allclose(
                reader[utterance], expected[part][0].numpy(), rtol=1e-4, atol=1e-5, err_msg=part
            )


def test_targets_of_utterances_are_the_same_bytes_in_any_number_of_shards(
    tmp_path, teacher, corpus, of_utterances
):
    others = dump(tmp_path, teacher, corpus, 3, UTTERANCE_PARTS, targets_of="utterance")
    for part in UTTERANCE_PARTS:
        one, many = ArkReader(of_utterances[part]), ArkReader(others[part])
        assert one.keys() == many.keys() == sorted(corpus[3])
        assert one.gather(one.keys()).tobytes() == many.gather(many.keys()).tobytes()


def test_an_utterance_shorter_than_the_receptive_field_is_repeated(tmp_path, teacher):
    random = np.random.default_rng(1)
    matrix = random.standard_normal((12, 5)).astype(np.float32)
    with ArkWriter(tmp_path / "voiced.ark", tmp_path / "voiced.scp") as writer:
        writer.write("u", matrix)
    views, _ = make_views({"u": 12}, {"u": "s"}, ViewSettings(20, 1, 1, 1), seed=0)
    write_views(tmp_path / "views.tsv", views)
    short = views, tmp_path / "views.tsv", tmp_path / "voiced.scp"
    scps = dump(tmp_path, teacher, short, 1, ["xvector"], targets_of="utterance")
    model, _, _ = load(teacher.model, teacher.config)
    with torch.no_grad():
        expected = model(torch.from_numpy(np.vstack([matrix, matrix[:3]])).unsqueeze(0))[0]
    np.testing.assert_allclose(ArkReader(scps["xvector"])["u"], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_two_bytes_a_value_halve_the_cache_and_its_manifest_says_what_they_lose(
    tmp_path, teacher, corpus, scps
):
    stored = dump(tmp_path, teacher, corpus, 2, storage="two-byte")
    for part in PARTS:
        ids = corpus[0].ids
        exact, rounded = ArkReader(scps[part]).gather(ids), ArkReader(stored[part]).gather(ids)
        assert not np.array_equal(exact, rounded)
        exact, rounded = exact.astype(np.float64), rounded.astype(np.float64)
        lengths = np.linalg.norm(exact, axis=1)
        errors = np.linalg.norm(rounded - exact, axis=1) / lengths
        cosines = (exact * rounded).sum(1) / lengths / np.linalg.norm(rounded, axis=1)
        said = describe_rounding([tmp_path / f"{part}.{job}.json" for job in (1, 2)])
        assert said["storage"] == "two-byte"
        assert said["largest_error"] == pytest.approx(errors.max(), rel=1e-9)
        assert said["rms_error"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-9)
        assert said["smallest_cosine"] == pytest.approx(cosines.min(), abs=1e-15)
        assert 0 < said["rms_error"] < said["largest_error"] < 4e-5
    one, other = (
        TargetReader({part: cache[part] for part in ("xvector", "wide_bn")}, mean_norm=False)
        for cache in (scps, stored)
    )
    assert one.sizes == other.sizes
    np.testing.assert_allclose(one.batch(ids), other.batch(ids), atol=2e-5)


def test_float32_loses_nothing(scps):
    said = describe_rounding([scps["xvector"].replace(".scp", ".1.json")])
    assert said == {"storage": "float32", "largest_error": 0, "rms_error": 0, "smallest_cosine": 1}


def test_parts_are_normalised_each_and_put_side_by_side(scps, corpus):
    ids = corpus[0].ids[5:90:7]
    reader = TargetReader({part: scps[part] for part in ("wide_bn", "xvector")}, mean_norm=True)
    expected = []
    for part in ("wide_bn", "xvector"):
        archive = ArkReader(scps[part])
        centred = archive.gather(ids).astype(float) - archive.gather(archive.keys()).astype(float).mean(0)
        expected.append(centred / np.linalg.norm(centred, axis=1)[:, None])
    batch = reader.batch(ids)
    assert reader.sizes == {"wide_bn": 12, "xvector": 6}
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, np.concatenate(expected, 1), atol=1e-5)


def test_without_mean_normalisation_targets_keep_their_direction(scps, corpus):
    ids = corpus[0].ids[:20]
    raw = ArkReader(scps["narrow_bn"]).gather(ids)
    batch = TargetReader({"narrow_bn": scps["narrow_bn"]}, mean_norm=False).batch(ids)
    np.testing.assert_allclose(batch, raw / np.linalg.norm(raw, axis=1)[:, None], atol=1e-6)


def test_logits_are_read_as_they_were_dumped(scps, corpus):
    ids = corpus[0].ids[:20]
    reader = TargetReader({"logits": scps["logits"], "xvector": scps["xvector"]}, mean_norm=True)
    assert np.array_equal(reader.logits(ids), ArkReader(scps["logits"]).gather(ids))
    assert reader.batch(ids).shape == (20, 6)


def test_a_view_without_target_is_named(scps, corpus):
    reader = TargetReader({"xvector": scps["xvector"], "logits": scps["logits"]}, mean_norm=False)
    for read in (reader.batch, reader.logits):
        with pytest.raises(DataError, match=r"other-v00: no target here; dump the targets again"):
            read([corpus[0].ids[0], "other-v00"])


def test_an_empty_index_is_refused(tmp_path):
    (tmp_path / "xvector.scp").write_text("")
    with pytest.raises(DataError, match=r"xvector\.scp: no targets"):
        TargetReader({"xvector": tmp_path / "xvector.scp"}, mean_norm=True)


def test_parts_that_a_teacher_cannot_give_are_refused(tmp_path, teacher, corpus):
    bare = teacher._replace(aggregators=None)
    with pytest.raises(ConfigError, match="sp_aggr needs the teacher's aggregators"):
        dump(tmp_path, bare, corpus, 1, ["sp_aggr"])
    for part in ("x", "layer:0", "layer:-1", "layer:1.5", "layer:"):
        with pytest.raises(ConfigError, match=f"'{part}' is not known; choose from xvector, narrow_bn"):
            dump(tmp_path, teacher, corpus, 1, [part])
    with pytest.raises(ConfigError, match=r"layer:6: .*config has 5 frame layers"):
        dump(tmp_path, teacher, corpus, 1, ["layer:6"])
    settings = {"arch": "fc8", "channels": 4, "layers": 2, "embedding": 3}
    config = {"model": settings, "feature_dim": 5, "head": None, "speakers": []}
    other = TeacherFiles(tmp_path / "model", tmp_path / "config", None, None)
    save(other.model, other.config, build_model(settings, 5), None, config)
    with pytest.raises(ConfigError, match="fc8 has no layer called wide_bn"):
        dump(tmp_path, other, corpus, 1, ["wide_bn"])
    with pytest.raises(ConfigError, match="no head, so no logits"):
        dump(tmp_path, other, corpus, 1, ["logits"])
    assert not list(tmp_path.glob("*.ark"))


def test_features_and_views_that_do_not_fit_the_teacher_are_refused(tmp_path, teacher, corpus):
    views, _, scp, features = corpus
    with ArkWriter(tmp_path / "wide.ark", tmp_path / "wide.scp") as writer:
        for name, matrix in features.items():
            writer.write(name, np.hstack([matrix, matrix]))
    with pytest.raises(DataError, match=r"wide\.scp: 10 columns, but the teacher was trained on 5"):
        dump(tmp_path, teacher, (views, corpus[1], tmp_path / "wide.scp"), 1)
    lengths = {name: len(matrix) for name, matrix in features.items()}
    short, _ = make_views(lengths, dict.fromkeys(lengths, "s"), ViewSettings(14, 1, 10, 1), seed=0)
    write_views(tmp_path / "short.tsv", short)
    with pytest.raises(DataError, match=r"short\.tsv: views of 14 frames, but the teacher sees 15"):
        dump(tmp_path, teacher, (short, tmp_path / "short.tsv", scp), 1)


def test_the_subcommand_writes_the_parts_it_is_given(tmp_path, teacher, corpus, scps):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parts = [
        f"{part}=" + ",".join(f"{tmp_path}/{part}.{kind}" for kind in ("ark", "scp", "json"))
        for part in ("logits", "wide_bn")
    ]
    command = ["dump", "--model", teacher.model, "--config", teacher.config, "--views", str(corpus[1])]
    command += ["--features", str(corpus[2]), "--targets-of", "view", "--storage", "float32"]
    command += ["--job", "2", "--jobs", "2", "--threads", "1", "--parts"]
    options = parser.parse_args([*command, *parts])
    options.run(options)
    for part in ("logits", "wide_bn"):
        half, whole = ArkReader(tmp_path / f"{part}.scp"), ArkReader(scps[part])
        assert half.keys() == whole.keys()[-len(half) :]
        assert half.gather(half.keys()).tobytes() == whole.gather(half.keys()).tobytes()
    with pytest.raises(ConfigError, match="expected PART=ARK,SCP,JSON"):
        parser.parse_args([*command, "xvector=a,b"])
