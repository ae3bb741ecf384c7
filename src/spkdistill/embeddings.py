"""Embeddings of whole utterances."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import DataError
from spkdistill.models.device import prepare
from spkdistill.models.store import load
from spkdistill.progress import progress


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
            shape = reader.shape(utterance)
            if len(shape) != 2 or shape[0] == 0 or shape[1] != model.feature_dim:
                expected = f"(frames, {model.feature_dim}), as {config_path} says"
                raise DataError(f"{features_scp}:{utterance}: features are {shape}, expected {expected}")
            writer.write(utterance, embed(model, reader.rows(utterance, 0, shape[0]), device))


def embed(model: nn.Module, features: np.ndarray, device: torch.device) -> np.ndarray:
    """The embedding of one utterance: (frames, dim) -> (embedding_dim,) in float32.

    An utterance shorter than the receptive field is repeated.
    """
    frames = max(len(features), model.receptive_field)
    repeated = np.resize(features, (frames, features.shape[1]))
    with torch.inference_mode():
        return model(torch.from_numpy(repeated).to(device).unsqueeze(0))[0].cpu().numpy()
