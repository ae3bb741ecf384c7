"""Embeddings of whole utterances."""

from pathlib import Path

import torch

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.models.device import prepare
from spkdistill.models.store import load
from spkdistill.progress import progress
from spkdistill.views import whole_utterance


def extract_shard(
    model_path: str | Path,
    config_path: str | Path,
    features_scp: str | Path,
    ark: str | Path,
    scp: str | Path,
    threads: int,
) -> None:
    """Write the embedding, a float32 vector, of each utterance in `features_scp` of voiced frames.

    Utterances go through the network one by one: an embedding does not depend on what else the shard holds.
    """
    device = prepare(threads)
    model, _, _ = load(model_path, config_path)
    model.to(device)
    with ArkReader(features_scp) as reader, ArkWriter(ark, scp) as writer:
        for utterance in progress(sorted(reader.keys()), len(reader), "embed", "utterances"):
            features = whole_utterance(reader, utterance, model.feature_dim, model.receptive_field)
            with torch.inference_mode():
                embedding = model(torch.from_numpy(features).to(device).unsqueeze(0))[0]
            writer.write(utterance, embedding.cpu().numpy())
