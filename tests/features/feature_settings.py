"""Settings for the tests of this room: the MFCC of the speaker recipes."""

from dataclasses import replace

from spkdistill.features.cmn import CmnSettings
from spkdistill.features.settings import FeatureSettings
from spkdistill.features.vad import VadSettings

MFCC = FeatureSettings(
    kind="mfcc",
    sample_rate=16000,
    channel=-1,
    frame_length=25.0,
    frame_shift=10.0,
    num_mel_bins=30,
    low_freq=20.0,
    high_freq=7600.0,
    snip_edges=False,
    window_type="povey",
    preemphasis=0.97,
    remove_dc_offset=True,
    round_to_power_of_two=True,
    use_energy=True,
    raw_energy=True,
    energy_floor=0.0,
    htk_compat=False,
    subtract_mean=False,
    vtln_warp=1.0,
    vtln_low=100.0,
    vtln_high=-500.0,
    num_ceps=30,
    cepstral_lifter=22.0,
    use_log_fbank=True,
    use_power=True,
    delta_order=0,
    delta_window=2,
    dither=0.0,
    allow_downsample=False,
    allow_upsample=False,
    compression="none",
)
VAD = VadSettings(energy_threshold=5.5, energy_mean_scale=0.5, frames_context=2, proportion_threshold=0.12)
CMN = CmnSettings(kind="sliding", window=300, min_window=100, center=True, norm_vars=False, min_frames=50)


def mfcc(**changes: object) -> FeatureSettings:
    """The settings of the recipes with some changed."""
    return replace(MFCC, **changes)
