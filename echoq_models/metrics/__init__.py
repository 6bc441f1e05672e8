"""Picture quality figures: gCNR, contrast, fidelity, flicker. numpy and OpenCV only."""

from echoq_models.metrics.contrast import cnr, contrast
from echoq_models.metrics.fidelity import psnr, ssim
from echoq_models.metrics.flicker import Flicker, flicker
from echoq_models.metrics.gcnr import (
    SMALL_REGION_PIXELS,
    MedianCI,
    gcnr,
    histograms,
    loop_gcnr,
    median_ci,
    null_gcnr,
)

__all__ = [
    "SMALL_REGION_PIXELS",
    "Flicker",
    "MedianCI",
    "cnr",
    "contrast",
    "flicker",
    "gcnr",
    "histograms",
    "loop_gcnr",
    "median_ci",
    "null_gcnr",
    "psnr",
    "ssim",
]
