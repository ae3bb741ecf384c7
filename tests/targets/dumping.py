"""A small teacher's settings, and its cache as the workflow makes it."""

from spkdistill.arks import merge
from spkdistill.distill.parts import PARTS, file_name
from spkdistill.distill.targets import PartFiles, TeacherFiles, Top, dump_shard

MODEL = {"arch": "xvector", "channels": 8, "pooling_channels": 12, "embedding": 6}
HEAD = {"kind": "aam", "scale": 32.0, "margin": 0.2}
AGGREGATORS = {"embedding": 7, "components": 3}


def dump(
    folder,
    teacher: TeacherFiles,
    corpus: tuple,
    jobs: int,
    parts=PARTS,
    targets_of="view",
    storage="float32",
    top: Top | None = None,
) -> dict[str, str]:
    """Dump in `jobs` shards and merge: {part: scp}."""
    views, views_path, features, *_ = corpus
    stems = {part: folder / file_name(part) for part in parts}
    for job in range(1, jobs + 1):
        outputs = {
            part: PartFiles(*(f"{stem}.{job}.{kind}" for kind in ("ark", "scp", "json")))
            for part, stem in stems.items()
        }
        dump_shard(teacher, views_path, features, targets_of, storage, job, jobs, outputs, 1, top=top)
    keys = views.ids if targets_of == "view" else sorted(set(views.utterances))
    for stem in stems.values():
        merge([f"{stem}.{job}.scp" for job in range(1, jobs + 1)], f"{stem}.scp", keys, set())
    return {part: f"{stem}.scp" for part, stem in stems.items()}
