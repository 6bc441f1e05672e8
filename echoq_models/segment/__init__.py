"""The left ventricle in a loop: `segment` finds it, `available` says what is missing, `networks` what there is."""

from echoq_models.segment.base import Segmentation
from echoq_models.segment.segmenter import available, networks, segment

__all__ = ["Segmentation", "available", "networks", "segment"]
