"""Regions of interest: polygons and masks of left ventricle and myocardium, and their files."""

from echoq_models.regions.files import load, save, sidecar
from echoq_models.regions.raster import Polygon, mask_polygons, polygon_mask, polygons_mask
from echoq_models.regions.regions import FrameRegions, Regions

__all__ = [
    "FrameRegions",
    "Polygon",
    "Regions",
    "load",
    "mask_polygons",
    "polygon_mask",
    "polygons_mask",
    "save",
    "sidecar",
]
