"""The layer that every frame-level network here is made of."""

from torch import nn

BATCH_NORM_EPSILON = 1e-3  # Kaldi's nnet3 BatchNormComponent


def frame_layer(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Affine-ReLU-BN over `kernel` frames `dilation` apart: (batch, channels, frames) in and out.

    No padding: the output has (kernel - 1) * dilation fewer frames. BN has no affine parameters, as in Kaldi.
    Of the layouts tried on a CPU, Conv1d trains a TDNN as quickly as any in bfloat16, almost twice as quickly
    in float32.
    """
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, dilation=dilation),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(outputs, eps=BATCH_NORM_EPSILON, affine=False),
    )
