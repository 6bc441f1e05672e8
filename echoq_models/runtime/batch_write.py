"""One loop of a batch written: made under another name, known to the manifest, then given its name."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from echoq_models.errors import OutputError
from echoq_models.files import checksum, settle, stamp
from echoq_models.regions.files import to_data
from echoq_models.runtime.batch_figures import Gauge
from echoq_models.runtime.batch_item import Item
from echoq_models.runtime.batch_types import BatchOptions
from echoq_models.runtime.export import DICOM, export_loop
from echoq_models.runtime.manifest import Manifest, Recipe
from echoq_models.runtime.sidecar import sidecar_path


def write(item: Item, options: BatchOptions, recipe: Recipe, manifest: Manifest, parts: Path) -> None:
    """Write the frames that come through the item's channel into `parts`, and settle them as its target.

    Raises OutputError, OSError, BatchStopped, and what the denoiser's side failed with.
    """
    loop, channel = item.loop, item.channel
    assert loop is not None
    assert channel is not None
    gauge = Gauge(loop, item.regions)
    part = parts / f"{item.number:06d}{options.suffix}"
    export = options.export()
    if gauge.regions is not None and options.suffix == DICOM:
        export = replace(export, regions=to_data(gauge.regions))
    try:
        export_loop(loop, part, export, lambda name: gauge.watch(name, channel.stream(name)), facts=channel.facts)
    except OutputError as error:
        raise OutputError(str(error).replace(str(part), str(item.target))) from error
    result = {
        "output_sha256": checksum(part),
        "output_bytes": stamp(part).size,
        "frames": len(loop),
        "seconds": round(time.monotonic() - item.begun, 3),
    }
    item.target.parent.mkdir(parents=True, exist_ok=True)
    manifest.finishing(item.output, recipe, item.checksums, result, gauge.figures(), gauge.thumbnails())
    if options.suffix == DICOM:
        _settle_sidecar(part, item.target)
    settle(part, item.target)
    manifest.done(item.output, stamp(item.target))


def _settle_sidecar(part: Path, target: Path) -> None:
    """The JSON file beside a DICOM loop gets its name before the loop does; an old one does not stay."""
    if sidecar_path(part).is_file():
        settle(sidecar_path(part), sidecar_path(target))
    else:
        sidecar_path(target).unlink(missing_ok=True)
