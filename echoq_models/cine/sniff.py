"""What a file is, by its first bytes. The name says nothing: an AVI named .mp4 is an AVI."""

from __future__ import annotations

from pathlib import Path

from echoq_models.cine.dicom import looks_like_dicom

# ffmpeg's demuxer for each kind of film; naming it keeps ffmpeg from guessing playlists and scripts
FILMS = {
    "AVI": "avi",
    "MP4": "mov",
    "MOV": "mov",
    "MKV": "matroska",
    "MPEG": "mpeg",
    "MPEG-TS": "mpegts",
    "WMV": "asf",
}
STILLS = ("PNG", "JPEG", "BMP", "TIFF", "WebP")
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_STARTS = {
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\x1a\x45\xdf\xa3": "MKV",
    b"PK\x03\x04": "npz",
    b"\0\0\x01\xba": "MPEG",
    b"\x30\x26\xb2\x75": "WMV",
}


def kind_of(path: Path) -> str:
    """ "DICOM", "GIF", "npz", one of FILMS or STILLS, or "" when the file is no loop. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(600)
    if start[128:132] == b"DICM":
        return "DICOM"
    for magic, kind in _STARTS.items():
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF":
        return {b"AVI ": "AVI", b"AVIX": "AVI", b"WEBP": "WebP"}.get(start[8:12], "")
    if start[4:8] == b"ftyp":
        return "MOV" if start[8:12] == b"qt  " else "MP4"
    if start[4:8] in _QUICKTIME_ATOMS:
        return "MOV"
    if start[:2] == b"BM" and len(start) > 26 and start[14:18] in (b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return "BMP"
    if start[:1] == b"G" and start[188:189] == b"G" and start[376:377] == b"G":
        return "MPEG-TS"
    return "DICOM" if looks_like_dicom(path) else ""
