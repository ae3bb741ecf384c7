"""The extended TDNN (Snyder et al., ICASSP 2019): a frame-wise layer after each that looks across frames."""

from spkdistill.models.xvector import Xvector


class Etdnn(Xvector):
    """Ten TDNN layers, the last of them wide, then as the x-vector network: its settings too."""

    CONTEXTS = ((5, 1), (1, 1), (3, 2), (1, 1), (3, 3), (1, 1), (3, 4), (1, 1), (1, 1), (1, 1))
    NARROW_BN, WIDE_BN = 8, 9
