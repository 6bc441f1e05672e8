"""`echoq simulate-noise`: a loop with noise added, to try denoisers on what has a clean twin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from echoq_desktop.cli_options import Device, DeviceOption, DicomEncoding, is_batch
from echoq_desktop.terminal import complain, progress_line, stop
from echoq_models.errors import WeightsError


def simulate_noise(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A loop, or a folder of stills (one loop).")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=".dcm, .mp4, .avi, .gif or .npz; a folder of PNG.", show_default=False),
    ],
    global_: Annotated[
        float | None, typer.Option("--global", help="Noise over the whole sector, in standard deviations.")
    ] = None,
    center_field: Annotated[
        float | None, typer.Option("--center-field", "--centre-field", help="Noise in the middle of the sector.")
    ] = None,
    near_field: Annotated[float | None, typer.Option("--near-field", help="Noise near the probe.")] = None,
    generator: Annotated[
        str, typer.Option(help="Name of the generator's weights; the one that ships if not given.")
    ] = "",
    channels: Annotated[
        Path | None, typer.Option(help="Noise channels saved from the Noise dock, in place of the generator's own.")
    ] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Fit each frame better first: seconds a frame.")] = False,
    device: DeviceOption = Device.auto,
    lossless: Annotated[bool, typer.Option("--lossless", help="Lossless video, for metrics.")] = False,
    dicom_encoding: Annotated[
        DicomEncoding, typer.Option("--dicom-encoding", help="Of .dcm; each keeps every grey level.")
    ] = DicomEncoding.rle,
) -> None:
    """Add simulated noise to INPUT and write OUTPUT. Progress goes to stderr. Research use only."""
    from echoq_models.cine.writer import SUFFIXES
    from echoq_models.generative import editor
    from echoq_models.generative.noise_channels import COMPONENTS
    from echoq_models.runtime import noise

    given = zip(COMPONENTS, (global_, center_field, near_field), strict=True)
    strengths = {name: strength for name, strength in given if strength is not None}
    if not strengths:
        raise typer.BadParameter("say how much noise", param_hint="--global, --center-field or --near-field")
    films = [suffix for suffix in SUFFIXES if suffix]
    if output.suffix.lower() not in ("", *films) and not output.is_dir():
        raise typer.BadParameter(
            f"{output.suffix} is no format that EchoQ writes ({', '.join(films)} or a folder)", param_hint="-o"
        )
    if is_batch(source):
        raise typer.BadParameter(f"{source} is a folder of loops: name one loop", param_hint="INPUT")
    if missing := editor.available(generator):
        raise WeightsError(missing)
    options = noise.NoiseOptions(strengths, generator, channels, refine, device.value, lossless, dicom_encoding.value)
    with progress_line() as progress:
        done = noise.simulate_file(source, output, options, progress, stop)
    _tell(done)


def _tell(done: dict[str, Any]) -> None:
    """What was written on stdout, what to know on stderr."""
    for warning in done["warnings"]:
        complain(f"warning: {warning}")
    near = done["likeness"]
    print(f"{done['output']}: {done['frames']} frames with simulated noise in {done['seconds']:.1f} s")
    print(f"reconstruction: PSNR {near['psnr']:.1f} dB, SSIM {near['ssim']:.2f} (medians, without speckle)")
