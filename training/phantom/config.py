"""Every knob of the phantom. Ranges are (low, high) of a uniform draw, once for each frame."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class GridConfig:
    """The polar grid: `samples` along the beam, `beams` across, and a margin that keeps the FFT from wrapping."""

    samples: int = 400
    beams: int = 200
    margin: int = 20
    depth_mm: Range = (110.0, 200.0)
    half_angle_deg: Range = (30.0, 47.0)


@dataclass(frozen=True)
class AnatomyConfig:
    """Lengths in mm, angles in degrees. Sources: Rabben 2003 (shape), Lang 2015 (chamber sizes)."""

    width_ed_mm: Range = (39.0, 59.0)
    length_ed_mm: Range = (75.0, 95.0)
    wall_mm: Range = (6.0, 10.0)
    ejection_fraction: Range = (0.20, 0.75)
    shortening: Range = (0.10, 0.20)
    foreshortening: Range = (0.0, 0.22)
    apex_depth_mm: Range = (12.0, 34.0)
    apex_offset_mm: Range = (-12.0, 12.0)
    tilt_deg: Range = (-20.0, 20.0)
    contour_mm: Range = (1.5, 4.0)  # random perturbation of every contour, in three octaves
    mirrored: float = 0.25  # share of frames
    # What is not a textbook A4C: shares of frames
    empty: float = 0.12  # no chamber at all: tissue, streaks, nothing
    level_sets: float = 0.10  # chambers of random shape
    single_chamber: float = 0.06
    two_chamber: float = 0.08  # LV and LA only, as in other apical views
    missing_wall: float = 0.25  # a wall that fades into nothing over part of its length


@dataclass(frozen=True)
class MotionConfig:
    """A beat, and how speckle changes from one frame to the next (correlation of the scatterers, per frame)."""

    heart_rate: Range = (50.0, 110.0)  # per minute
    systole_ms: Range = (270.0, 340.0)
    rv_inward_mm: Range = (2.0, 7.0)
    hypokinesia: float = 0.25  # share of hearts with a region that moves less
    tissue_rho: Range = (0.90, 0.99)
    blood_rho: Range = (0.0, 0.5)
    haze_rho: Range = (0.99, 0.999)


@dataclass(frozen=True)
class EchoConfig:
    """Backscatter in dB re myocardium, point spread, propagation."""

    blood_db: Range = (-45.0, -20.0)
    surroundings_db: Range = (-34.0, 0.0)
    surroundings_texture_db: Range = (1.5, 8.0)
    arcs_db: Range = (0.0, 4.0)
    myocardium_texture_db: Range = (1.5, 4.0)
    bright_db: Range = (6.0, 15.0)  # pericardium, valves
    lateral_wall_db: Range = (-8.0, 1.5)
    septum_db: Range = (-2.0, 4.0)
    along_beam_db: Range = (0.0, 6.0)  # what the lateral wall loses where it runs along the beam
    axial_fwhm_mm: Range = (0.8, 3.0)
    angular_fwhm_deg: Range = (1.1, 4.0)
    residual_tgc_db: Range = (0.0, 6.0)
    dropout_db: Range = (0.0, 16.0)
    shadow_db: Range = (10.0, 40.0)
    shadow: float = 0.25  # share of frames with a rib shadow
    noise_db: Range = (-62.0, -32.0)  # thermal noise at full depth re myocardium
    noise_growth_db: Range = (6.0, 24.0)  # how much weaker it is at the probe
    constant_grain: float = 0.5  # of structureless batches: grain of one size in mm, not in degrees


@dataclass(frozen=True)
class HazeConfig:
    """Three separable components and two smaller artefacts, added coherently before the envelope.

    level_db: total haze power in the LV region re clean power in the myocardium region.
    """

    level_db: Range = (-25.0, 5.0)
    off: float = 0.3  # share of frames in which a component is off (all three: a clean frame)
    clean: float = 0.08  # share of frames with no haze at all, besides
    balance_db: Range = (-7.0, 7.0)  # of the components against each other
    near_length_mm: Range = (15.0, 60.0)
    band_depth: Range = (0.35, 0.75)  # centre of the mid-field band, as a fraction of the depth
    band_width: Range = (0.08, 0.25)
    texture_db: Range = (1.0, 8.0)
    widen_lateral: Range = (1.0, 4.0)  # its point spread re the tissue's
    widen_axial: Range = (0.9, 2.0)
    drowned: float = 0.12  # share of frames whose near field is buried besides, where nothing can be known
    drowned_db: Range = (3.0, 14.0)  # how far above the myocardium at the probe
    drowned_length_mm: Range = (15.0, 50.0)
    peak_db: float = 14.0  # no component exceeds this anywhere, re myocardium
    reverberation_db: Range = (-45.0, -22.0)
    reverberation_mm: float = 5.0
    side_lobe_db: Range = (-45.0, -25.0)
    side_lobe_deg: Range = (5.0, 18.0)


@dataclass(frozen=True)
class DisplayConfig:
    """The scanner's display chain."""

    dynamic_range_db: Range = (45.0, 75.0)
    gamma: Range = (0.8, 1.25)
    tissue_grey: Range = (0.25, 0.74)  # where the myocardium's mean level lands on the grey scale
    smoothing: float = 0.7  # share of frames with speckle reduction: light smoothing after the log
    smoothing_width: Range = (0.5, 1.6)  # its width re the point spread, which is made finer in exchange
    native_px: tuple[int, ...] = (112, 192, 256, 256, 400, 512, 512, 600)  # side of the square that is rendered
    jpeg: float = 0.4
    jpeg_quality: Range = (60.0, 97.0)
    zoom: Range = (0.94, 1.06)
    cropped: float = 0.5  # share of frames whose square cuts the sector's sides off
    stretch: Range = (0.9, 1.12)  # width re height, since not every export keeps square pixels
    top: Range = (-0.05, 0.05)  # where the probe's centre lies below the square's upper edge, re depth
    dead_zone_mm: Range = (-4.0, 7.0)  # nothing is shown nearer than this


@dataclass(frozen=True)
class OracleConfig:
    """The gain that a denoiser should learn (see oracle.py)."""

    floor_db: float = -25.0
    buried_db: float = 6.0  # haze this much above the tissue that could be there: nothing can be known
    visible_db: float = 0.0
    smooth_axial_mm: float = 2.0
    smooth_angular_deg: float = 1.5


@dataclass(frozen=True)
class PhantomConfig:
    grid: GridConfig = GridConfig()
    anatomy: AnatomyConfig = AnatomyConfig()
    motion: MotionConfig = MotionConfig()
    echo: EchoConfig = EchoConfig()
    haze: HazeConfig = HazeConfig()
    display: DisplayConfig = DisplayConfig()
    oracle: OracleConfig = OracleConfig()


# The default "noisy" set of textbook A4C frames, for evaluation: its median gCNR is that of the paper's noisy sets.
# The level counts the whole LV, and near-field haze sits in its apex, which the measured region leaves out.
NOISY_LEVEL_DB: Range = (-11.5, -4.5)
