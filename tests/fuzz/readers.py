"""Every reader of files from outside: valid folders to mutate, and the call that the command line makes.

Readers read the present folder. What they import is imported when they run, so that the
process of one does not hold what another needs.
"""

import functools
import gzip
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile

from spkdistill import arks
from spkdistill.errors import SpkdistillError

from .harness import Files, Reader

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(12, 3)).astype(np.float32)
VALUES = {
    "a-float": MATRIX,
    "b-double": MATRIX.astype(np.float64),
    "c-vector": MATRIX[0],
    "d-doubles": MATRIX[1].astype(np.float64),
    "e-ints": np.array([1, -2, 2**31 - 1], np.int32),
    "f-empty": np.empty((0, 0), np.float32),
}


@contextmanager
def folder() -> Iterator[Path]:
    """An empty present folder."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path()
        finally:
            os.chdir(before)


def written(write: Callable[[], object]) -> Files:
    """What `write` leaves in an empty present folder."""
    with folder() as here:
        write()
        return {path.name: path.read_bytes() for path in here.iterdir()}


def texts(**files: str) -> Files:
    """Files by name, in which _ stands for a dot."""
    return {name.replace("_", "."): text.encode() for name, text in files.items()}


def sound(format: str, subtype: str | None = None, rate: int = 16000, channels: int = 1) -> bytes:
    """A short recording."""
    samples = RNG.normal(size=(2000, channels)) / 8
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def archives() -> list[Files]:
    """Arks of every type, binary and text, with their indices."""

    def write(compression: str = "none", text: bool = False, wav: bool = False) -> None:
        with arks.ArkWriter("x.ark", "x.scp", compression, text=text) as writer:
            for key, value in VALUES.items():
                writer.write(key, value)
            if wav:
                writer.write("w-wav", sound("WAV"))

    found = [written(functools.partial(write, compression)) for compression in arks.COMPRESSIONS]
    found += [written(functools.partial(write, wav=True)), written(functools.partial(write, text=True))]
    ranges = (
        found[0]["x.scp"].replace(b"x.ark:8", b"x.ark:8[2:9,0:1]") + b"z x.ark:8[:,1:1]\nzz x.ark:8[0:3]\n"
    )
    return [*found, found[0] | {"x.scp": ranges}]


def plain_arks() -> list[Files]:
    """Arks alone."""
    return [{"x.ark": files["x.ark"]} for files in archives()]


def packed_arks() -> list[Files]:
    """The same in gzip."""
    return [{"x.ark.gz": gzip.compress(files["x.ark"], 1)} for files in archives()]


def use(values: Iterator[tuple[str, arks.objects.Value]]) -> None:
    """What `ark copy ark,t:-` does with an archive."""
    for _, value in values:
        if isinstance(value, np.ndarray):
            arks.encode_text(value)


def read_ark() -> None:
    """`ark copy`, `ark ls`."""
    use(arks.read_archive("ark:x.ark"))
    list(arks.read_records("x.ark", values=False))


def read_packed() -> None:
    """`ark copy` of x.ark.gz."""
    use(arks.read_archive("x.ark.gz"))


def read_index() -> None:
    """What stages do with an scp: shapes, whole entries, crops, vectors."""
    with arks.ArkReader("x.scp") as reader:
        for key in reader:
            shape = reader.shape(key)
            if len(shape) == 2:
                reader.rows(key, 0, min(shape[0], 5))
            elif len(shape) == 1 and shape[0]:
                reader.gather([key])
            reader.value(key)
    use(arks.read_archive("scp:x.scp"))


def inspect_archives() -> None:
    """`ark check`, `ark stat`, `ark diff`."""
    from spkdistill.arks.inspect import differences, faults, statistics

    list(faults("x.scp"))
    list(faults("x.ark"))
    list(differences("x.ark", "x.scp"))
    statistics("x.ark")


def backends() -> list[Files]:
    """mean.vec, transform.mat and plda, binary and text."""
    from spkdistill.backend.plda import Plda, write_plda

    def write(binary: bool) -> None:
        arks.write_vector("mean.vec", RNG.normal(size=4), binary)
        arks.write_matrix("transform.mat", RNG.normal(size=(3, 5)), binary)
        write_plda("plda", Plda(np.zeros(3), np.eye(3) + 0.1, np.array([3.0, 2, 1])), binary)

    return [written(functools.partial(write, binary)) for binary in (True, False)]


def read_backend() -> None:
    """`score`: the files of a back-end."""
    from spkdistill.backend.settings import ScoreSettings
    from spkdistill.backend.system import read_system

    settings = ScoreSettings(True, False, "none", 2)
    read_system(settings, Path("mean.vec"), Path("transform.mat"), Path("plda"))


def embeddings() -> list[Files]:
    """Embeddings with the files that name their speakers."""

    def write() -> None:
        with arks.ArkWriter("x.ark", "x.scp") as writer:
            for number in range(6):
                writer.write(
                    f"utt{number}", RNG.normal(size=4).astype(np.float32 if number % 2 else np.float64)
                )

    tables = texts(
        utt2spk="".join(f"utt{n} spk{n // 2}\n" for n in range(6)),
        spk2utt="".join(f"spk{n} utt{2 * n} utt{2 * n + 1}\n" for n in range(3)),
        num_utts="".join(f"utt{n} {n + 1}\n" for n in range(6)),
    )
    return [written(write) | tables | {"num_utts": tables.pop("num.utts")}]


def read_embeddings() -> None:
    """`backend`, `speaker-means` and `score`."""
    from spkdistill.backend.inputs import read_classes, read_means, speaker_means, utterances

    side = utterances(Path("x.scp"))
    read_classes("utt2spk", side.names)
    speaker_means(Path("spk2utt"), side, 0.5)
    read_means(Path("x.scp"), Path("num_utts"))


def data_directories() -> list[Files]:
    """Kaldi data directories with and without segments, and with speeds."""
    utterances = [f"s{n // 2}-u{n}" for n in range(6)]
    tables = texts(
        wav_scp="".join(f"{u} wav/{u}.flac\n" for u in utterances),
        utt2spk="".join(f"{u} {u[:2]}\n" for u in utterances),
        spk2utt="".join(f"s{n} s{n}-u{2 * n} s{n}-u{2 * n + 1}\n" for n in range(3)),
        spk2gender="s0 f\ns1 m\ns2 f\n",
        utt2dur="".join(f"{u} 1.5\n" for u in utterances),
        trials_enrol="m0 s0-u0 s0-u1\nm1 s1-u2\n",
        trials="m0 s1-u3 nontarget\nm1 s1-u3 target\n",
    )
    cut = texts(
        wav_scp="r0 r0.wav\nr1 wav.ark:15\n",
        segments="".join(f"{u} r{n % 2} {n}.25 {n + 1}.5\n" for n, u in enumerate(utterances)),
    )
    played = texts(utt2speed="".join(f"{u} {0.8 + n / 10:g}\n" for n, u in enumerate(utterances)))
    return [tables, tables | cut, tables | played]


def read_data() -> None:
    """`prepare`: a data directory, its models and its trials."""
    from spkdistill.data import kaldi
    from spkdistill.data.enrolment import model_speakers, read_models
    from spkdistill.data.trials import check_trials, read_trials

    data, _ = kaldi.read_with_speakerless(".", allow_pipes=False)
    [utterance.segment for utterance in data.utterances]
    models = read_models("trials.enrol", data.utt2spk)
    check_trials("trials", read_trials("trials"), data.utt2spk, model_speakers(models, data.utt2spk))


def trial_lists() -> list[Files]:
    """Trials in each form, with scores."""
    pairs = [(f"e{n % 3}", f"t{n % 4}", n % 3 == n % 4) for n in range(12)]
    kaldi = "".join(f"{e} {t} {'target' if same else 'nontarget'}\n" for e, t, same in pairs)
    voxceleb = "".join(f"{int(same)} {e} {t}\n" for e, t, same in pairs)
    header = "enrol test label language\n" + "".join(f"{e} {t} {int(same)} l{t}\n" for e, t, same in pairs)
    scores = "".join(f"{e} {t} {n * 0.37 - 2:.9g}\n" for n, (e, t, _) in enumerate(pairs))
    utt2spk = "e0 s0\ne1 s1\ne2 s2\nt0 s0\nt1 s1\nt2 s2\nt3 s3\n"
    return [texts(trials=list_, scores=scores, utt2spk=utt2spk) for list_ in (kaldi, voxceleb, header)]


def read_trial_lists() -> None:
    """`metrics`, `fuse`, `score`: lists of trials and of scores."""
    from spkdistill.data.scores import match_scores, read_scores
    from spkdistill.data.trials import read_pairs
    from spkdistill.metrics.labelled import read_labelled

    read_pairs("trials")
    labelled = read_labelled(Path("trials"), Path("utt2spk"), None)
    match_scores(read_scores("scores"), labelled.trials, "scores")


def metrics_inputs() -> list[Files]:
    """Trials and scores for the metrics."""
    return trial_lists()


def measure() -> None:
    """`metrics` and `calibrate` but for what they write."""
    from spkdistill.backend.calibration import train_fusion
    from spkdistill.data.scores import match_scores, read_scores
    from spkdistill.errors import naming
    from spkdistill.metrics.evaluate import measure as measure_trials
    from spkdistill.metrics.labelled import read_labelled
    from spkdistill.metrics.settings import MetricsSettings

    labelled = read_labelled(Path("trials"), Path("utt2spk"), None)
    scores = match_scores(read_scores("scores"), labelled.trials, "scores")
    scored = ~np.isnan(scores)
    whole = labelled.select(scored)
    settings = MetricsSettings(10, 10, 0.95, (0.01,), (), ())
    with naming("scores"):
        measure_trials(whole, scores[scored], settings, np.random.default_rng(0))
        train_fusion(scores[scored][:, None], whole.trials.target, 0.5)


def view_files() -> list[Files]:
    """Views, the features they crop, and what they are drawn from."""

    def write() -> None:
        from spkdistill.views import ViewSettings, make_views, write_speakers, write_views

        frames = {f"utt{n}": 12 for n in range(4)}
        views, _ = make_views(frames, {f"utt{n}": f"s{n % 2}" for n in range(4)}, ViewSettings(5, 2, 1, 1), 0)
        write_views("views.tsv", views)
        write_speakers("speakers", views)
        with arks.ArkWriter("x.ark", "x.scp", "two-byte-auto") as writer:
            for utterance in frames:
                writer.write(utterance, MATRIX)
        Path("utt2num_frames").write_text("".join(f"{utterance} 12\n" for utterance in frames))
        Path("utt2spk").write_text("".join(f"utt{n} s{n % 2}\n" for n in range(4)))
        Path("rejected.tsv").write_text("utterance\treason\nutt9\ttoo short\n")

    return [written(write)]


def read_view_files() -> None:
    """`views` and `train`: drawing views, reading them, cropping."""
    from spkdistill.views import (
        ViewReader,
        ViewSettings,
        make_views,
        read_map,
        read_num_frames,
        read_speakers,
        read_views,
    )

    views = read_views("views.tsv")
    read_speakers("speakers")
    ViewReader(views, "x.scp").batch(np.arange(min(len(views), 4)))
    arks.describe("x.scp")
    arks.read_rejected(["rejected.tsv"])
    arks.read_keys("utt2spk")
    make_views(read_num_frames("utt2num_frames"), read_map("utt2spk"), ViewSettings(5, 2, 1, 1), 0)


def target_files() -> list[Files]:
    """A part of a teacher's cache, in each storage, and what that lost."""

    def write(storage: str) -> None:
        with arks.VectorWriter("x.ark", "x.scp", "x.json", storage) as writer:
            for row, vector in enumerate(MATRIX):
                writer.write(f"utt{row:02d}-v00", vector)

    return [written(functools.partial(write, storage)) for storage in arks.STORAGES]


def read_targets() -> None:
    """`train` of a student, `merge` of the cache."""
    from spkdistill.distill.targets import TargetReader

    reader = TargetReader({"xvector": "x.scp"}, mean_norm=True)
    reader.batch(reader.readers["xvector"].keys()[:4])
    arks.describe_rounding(["x.json"])


def logit_files() -> list[Files]:
    """The forms of a teacher's logits that are not dense: the largest, and embeddings with a head."""

    def write_top() -> None:
        with arks.TopKWriter("x.ark", "x.scp", "x.json", arks.Layout(9, 2, (1.0, 4.0))) as writer:
            for view in range(4):
                matrix = [[9, 3, 0, 8, 1, 4], [2, 1.5, 6, 2 + view, -1, -0.5]]
                writer.write(f"utt{view}-v00", np.array(matrix, np.float32))

    def write_factored(settings: dict) -> None:
        from spkdistill.distill.logits import save_head
        from spkdistill.models.build import build_head

        with arks.VectorWriter("x.ark", "x.scp", "x.json", "float32") as writer:
            for row, vector in enumerate(MATRIX):
                writer.write(f"utt{row:02d}-v00", vector)
        save_head("head.safetensors", build_head(settings, 3, 4), settings, 4)
        contents = {"form": "factored", "embeddings": "x.scp"}
        Path("head.json").write_text(json.dumps({"contents": contents}))

    heads = HEAD, {"kind": "softmax", "hidden": 5}
    return [written(write_top), *(written(functools.partial(write_factored, head)) for head in heads)]


def read_logits() -> None:
    """`train` of a student that learns logits, `merge` of the cache, `ark stat`."""
    from spkdistill.cli.ark import factored_rows
    from spkdistill.distill.targets import TargetReader

    head = {"head": "head.safetensors"} if Path("head.safetensors").exists() else {}
    reader = TargetReader({"logits": "x.scp", **head}, mean_norm=False, temperature=4)
    reader.logits(reader.form.reader.keys()[:4])
    arks.describe_losses(["x.json"])
    if head:
        list(factored_rows("head.safetensors"))


def fusions() -> list[Files]:
    """fusion.json."""
    contents = {
        "weights": {"cosine": 3.5, "plda": 0.25},
        "offset": -1.5,
        "prior": 0.5,
        "targets": 3,
        "missing": 0,
    }
    return [{"fusion.json": json.dumps(contents, indent=2).encode()}]


def read_fusion() -> None:
    """`fuse`."""
    from spkdistill.backend.fusion import read_fusion

    read_fusion(Path("fusion.json"), ["cosine", "plda"])


def settings() -> list[Files]:
    """`--settings` of stages, as the workflow gives them."""
    whole = resolved_config()
    features = {key: value for key, value in whole["features"]["mfcc"].items() if key != "cmn"}
    stages = {
        "features": {**features, "channel": -1},
        "cmn": whole["cmn"],
        "vad": {key: value for key, value in whole["vad"].items() if key != "features"},
        "views": whole["views"],
        "metrics": whole["metrics"],
        "plda": {
            "lda_dim": 4,
            "total_covariance_factor": 0.0,
            "em_iterations": 2,
            "smoothing": 0.0,
            "adapt_set": None,
        }
        | {"kind": "plda", "mean_diff_scale": 1.0, "within_covar_scale": 0.7, "between_covar_scale": 0.3},
    }
    return [{f"{stage}.json": json.dumps(part).encode()} for stage, part in stages.items()]


def read_settings() -> None:
    """The `--settings` argument of every stage that has one."""
    from spkdistill.backend.settings import PldaSettings
    from spkdistill.cli import parse_settings
    from spkdistill.features.cmn import CmnSettings
    from spkdistill.features.settings import FeatureSettings
    from spkdistill.features.vad import VadSettings
    from spkdistill.metrics.settings import MetricsSettings
    from spkdistill.settings import build
    from spkdistill.views import ViewSettings

    kinds = {"features": FeatureSettings, "cmn": CmnSettings, "vad": VadSettings, "views": ViewSettings}
    kinds |= {"metrics": MetricsSettings, "plda": PldaSettings}
    path = next(Path().iterdir())
    build(kinds[path.stem], parse_settings(path.read_text(errors="replace")), path.stem)


@functools.cache
def schema() -> dict:
    """The config's schema, parsed once."""
    import yaml

    return yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())


def resolve(config: dict) -> dict:
    """`spkdistill.config.resolve` with the schema parsed once, which takes most of its time."""
    from spkdistill import config as room

    with patch.object(room.yaml, "safe_load", return_value=schema()):
        return room.resolve(config, ROOT / "workflow/schemas/config.schema.yaml")


def resolved_config() -> dict:
    """The tiny config, complete."""
    import yaml

    return resolve(yaml.safe_load((ROOT / "workflow/configs/tiny.yaml").read_text()))


def configs() -> list[Files]:
    """The configs that come with the workflow."""
    return [{"config.yaml": path.read_bytes()} for path in sorted((ROOT / "workflow/configs").glob("*.yaml"))]


def read_config() -> None:
    """The Snakefile: Snakemake's loading, whose refusals are its own, and the check of what it loaded."""
    from snakemake.common.configfile import load_configfile

    try:
        config = load_configfile("config.yaml")
    except Exception as error:
        raise SpkdistillError(f"Snakemake: {type(error).__name__}") from None
    resolve(config)


MODEL = {"arch": "xvector", "channels": 4, "pooling_channels": 6, "embedding": 5}
HEAD = {"kind": "aam", "scale": 32.0, "margin": 0.2}


def models() -> list[Files]:
    """Networks with their config.json, and aggregators."""
    from spkdistill.models import store
    from spkdistill.models.aggregators import AggregatorSettings, build_aggregators
    from spkdistill.models.build import build_head, build_model

    fc8 = {"arch": "fc8", "channels": 4, "layers": 2, "embedding": 5}

    def write(settings: dict) -> None:
        config = {"model": settings, "feature_dim": 3, "head": HEAD, "speakers": ["a", "b"], "seed": 1}
        store.save(
            "model.safetensors", "config.json", build_model(settings, 3), build_head(HEAD, 5, 2), config
        )
        settings = {"embedding": 4, "components": 2}
        aggregators = build_aggregators(AggregatorSettings(**settings), [3, 4])
        store.save_aggregators(
            "aggregators.safetensors", "aggregators.json", aggregators, {"aggregators": settings}
        )

    return [written(functools.partial(write, settings)) for settings in (MODEL, fc8)]


def read_model() -> None:
    """`dump`, `embeddings`: a trained network and aggregators."""
    from spkdistill.models.store import load, load_aggregators

    load("model.safetensors", "config.json")
    load_aggregators("aggregators.safetensors", "aggregators.json", [3, 4])


def model_configs() -> list[Files]:
    """Networks' config.json alone."""
    return [{"config.json": files["config.json"]} for files in models()]


def read_model_cost() -> None:
    """`models --config`."""
    from spkdistill.models.cost import trained_cost

    trained_cost("config.json")


def foreign_models() -> list[Files]:
    """A small network in ONNX."""
    import onnx.parser

    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        net (float[B, T, 2] feats) => (float[B, 3] embs) <
            float[3, 2, 3] kernel = {1, -2, 3, 4, -5, 6, 7, 8, -9, 1, 2, 3, -4, 5, 6, 7, -8, 9},
            float[3] ones = {1, 1, 1}, float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
            columns = Transpose<perm = [0, 2, 1]>(feats)
            hidden = Conv<kernel_shape = [3]>(columns, kernel)
            normal = BatchNormalization(hidden, ones, ones, ones, ones)
            positive = Relu(normal)
            mean = ReduceMean<axes = [2], keepdims = 0>(positive)
            embs = Gemm(mean, w, ones)
        }""")
    return [{"model.onnx": model.SerializeToString()}]


def read_foreign_model() -> None:
    """`adopt` but for what it writes."""
    from spkdistill.models import adopt, foreign

    network = foreign.open_network("model.onnx", foreign.read("model.onnx"), output=None, trust=False)
    adopt.embedding_dim(network, dim=2)
    adopt.fewest_frames(network, dim=2)


def checkpoints() -> list[Files]:
    """Two checkpoints of a training."""
    import torch

    from spkdistill.training import checkpoint

    def write() -> None:
        for step in (1, 2):
            tensors = {
                "module/weight": torch.full((3, 2), float(step)),
                "optimizer/0/step": torch.tensor(step),
            }
            checkpoint.save(".", "same", step, {"epoch": [step, 0.5], "log": []}, tensors)

    return [written(write)]


def read_checkpoint() -> None:
    """`train` when it goes on."""
    from spkdistill.training import checkpoint

    checkpoint.load(".", "same")


def reseal(files: Files) -> Files:
    """Checkpoints whose hashes are right, whatever else is wrong with them."""
    from spkdistill.training.checkpoint import fingerprint, sealed

    right = dict(files)
    for name in files:
        tensors = files.get(name.replace(".json", ".safetensors"), b"")
        try:
            record = {**json.loads(files[name]), "tensors": fingerprint(tensors)}
            record.pop("seal", None)
            right[name] = sealed(record).encode()
        except (ValueError, TypeError, RecursionError):
            continue
    return right


def recordings() -> list[Files]:
    """Short recordings in the formats that corpora come in, alone and inside an archive."""
    kinds = [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
    ]
    kinds += [("AIFF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16"), ("CAF", "PCM_16")]
    kinds += [("NIST", "PCM_16"), ("MP3", None), ("OGG", "OPUS")]
    alone = [{"x.wav": sound(*kind)} for kind in kinds]
    return [*alone, {"x.ark": b"key " + sound("WAV")}, {"x.ark": b"key " + sound("FLAC")}]


def read_recording() -> None:
    """`prepare` and `features`: the header and the samples, whole and a segment."""
    from spkdistill import audio

    location = "x.wav" if Path("x.wav").exists() else "x.ark:4"
    rate, _, channels = audio.info(location)
    channel = 0 if channels > 1 else -1
    audio.read(location, None, rate, channel=channel)
    audio.read(location, (0.005, 0.2), rate, channel=channel)


TABLE = [
    Reader("ark", plain_arks, read_ark, weight=5),
    Reader("ark.gz", packed_arks, read_packed, weight=2),
    Reader("scp", archives, read_index, weight=5),
    Reader("ark check, diff, stat", archives, inspect_archives, weight=3),
    Reader("mean, transform, plda", backends, read_backend, weight=3),
    Reader("embeddings", embeddings, read_embeddings, weight=2),
    Reader("data directory", data_directories, read_data, weight=5),
    Reader("trials and scores", trial_lists, read_trial_lists, weight=3),
    Reader("metrics", metrics_inputs, measure, weight=1),
    Reader("views", view_files, read_view_files, weight=3),
    Reader("targets", target_files, read_targets, weight=2),
    Reader("logits", logit_files, read_logits, weight=2),
    Reader("fusion.json", fusions, read_fusion, weight=1),
    Reader("settings", settings, read_settings, weight=2),
    Reader("config", configs, read_config, weight=2),
    Reader("model", models, read_model, weight=3),
    Reader("model cost", model_configs, read_model_cost, weight=1),
    Reader("foreign model", foreign_models, read_foreign_model, weight=3),
    Reader("checkpoint", checkpoints, read_checkpoint, weight=3, reseal=reseal),
    Reader("recording", recordings, read_recording, weight=5),
]
READERS = {reader.name: reader for reader in TABLE}
