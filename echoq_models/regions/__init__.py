"""Regions of interest: contours and masks of left ventricle and myocardium, how they are made, and their files."""

from echoq_models.regions.axis import long_axis
from echoq_models.regions.beat import areas, find_marks, mask_areas
from echoq_models.regions.contour import Contour
from echoq_models.regions.files import from_data, load, save, sidecar, to_data
from echoq_models.regions.matching import interpolate
from echoq_models.regions.propagate import copy_to, edit, follow, generated, leave_out, set_frame, taken_in
from echoq_models.regions.raster import Polygon, mask_polygons, polygon_mask, polygons_mask
from echoq_models.regions.recipe import RecipeSettings, frame_regions, regions_from_lv, whole_contour
from echoq_models.regions.regions import FrameRegions, Regions
from echoq_models.regions.review import Findings, Marks, Review

__all__ = [
    "Contour",
    "Findings",
    "FrameRegions",
    "Marks",
    "Polygon",
    "RecipeSettings",
    "Regions",
    "Review",
    "areas",
    "copy_to",
    "edit",
    "find_marks",
    "follow",
    "frame_regions",
    "from_data",
    "generated",
    "interpolate",
    "leave_out",
    "load",
    "long_axis",
    "mask_areas",
    "mask_polygons",
    "polygon_mask",
    "polygons_mask",
    "regions_from_lv",
    "save",
    "set_frame",
    "sidecar",
    "taken_in",
    "to_data",
    "whole_contour",
]
