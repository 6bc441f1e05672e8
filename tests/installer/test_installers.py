"""The Debian package, the archive, and the files for systems that are not here."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from PIL import Image

from echoq_models import __version__
from tests.shared import ROOT

Script = Callable[[str], ModuleType]
INSTALLER = ROOT / "installer"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What PyInstaller would make, in small."""
    folder = tmp_path / "echoq"
    (folder / "_internal").mkdir(parents=True)
    (folder / "echoq").write_text("#!/bin/sh\necho echoq\n", encoding="utf-8")
    (folder / "echoq").chmod(0o700)
    (folder / "_internal" / "data").write_bytes(bytes(3000))
    (folder / "_internal" / "data").chmod(0o600)
    (folder / "_internal" / "link").symlink_to("data")
    return folder


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb here")
def test_the_debian_package(program: Path, tmp_path: Path, script: Script) -> None:
    system_libs = script("system_libs")
    made = script("packages").debian(program, tmp_path, tmp_path / "staging")
    assert made.name.startswith(f"echoq_{__version__}_")

    def ask(*arguments: str) -> str:
        return subprocess.run(["dpkg-deb", *arguments], capture_output=True, text=True, check=True).stdout

    assert ask("--field", str(made), "Version").strip() == __version__
    depends = {each.split()[0] for each in ask("--field", str(made), "Depends").split(",")}
    assert depends == {*system_libs.PACKAGES.values(), system_libs.FONTS, "libc6", "libstdc++6", "libgcc-s1"}
    assert sorted(ask("--ctrl-tarfile", str(made)) and _control_files(made)) == ["control", "md5sums"]
    lines = ask("--contents", str(made)).splitlines()
    assert all(" root/root " in line for line in lines)
    modes = {line.split()[5]: line.split()[0] for line in lines}
    assert modes["./opt/echoq/echoq"] == "-rwxr-xr-x"
    assert modes["./opt/echoq/_internal/data"] == "-rw-r--r--"
    assert modes["./usr/bin/echoq"].startswith("l")
    assert any(line.endswith("./usr/bin/echoq -> /opt/echoq/echoq") for line in lines)
    assert any(line.endswith("./opt/echoq/_internal/link -> data") for line in lines)
    assert {"./usr/share/applications/echoq.desktop", "./usr/share/doc/echoq/copyright"} <= modes.keys()
    assert {f"./usr/share/icons/hicolor/{n}x{n}/apps/echoq.png" for n in (16, 32, 48, 64, 128, 256)} <= modes.keys()
    assert not (tmp_path / "staging").exists()
    assert program.joinpath("_internal/data").stat().st_size == 3000


def _control_files(package: Path) -> list[str]:
    folder = package.parent / "control"
    subprocess.run(["dpkg-deb", "--control", str(package), str(folder)], check=True)
    return [path.name for path in folder.iterdir()]


def test_the_portable_archive(program: Path, tmp_path: Path, script: Script) -> None:
    made = script("packages").archive(program, tmp_path)
    with tarfile.open(made) as archive:
        entries = {entry.name: entry for entry in archive}
        (home,) = {name.split("/")[0] for name in entries}
        readme = archive.extractfile(f"{home}/README.txt")
        assert readme is not None
        text = readme.read().decode()
    assert home.startswith(f"echoq-{__version__}-linux-")
    assert made.name == f"{home}.tar.gz"
    assert entries[f"{home}/echoq"].mode & 0o100
    assert {(entry.uid, entry.uname) for entry in entries.values()} == {(0, "root")}
    assert "research use only" in text and "libxcb-cursor0" in text
    assert not (program / "README.txt").exists()


def test_the_menu_entry_opens_dicom_avi_and_mp4() -> None:
    text = (INSTALLER / "linux" / "echoq.desktop").read_text(encoding="utf-8")
    entry = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert entry["Exec"] == "echoq open %F"
    assert {"application/dicom", "video/x-msvideo", "video/mp4"} <= set(entry["MimeType"].split(";"))
    if shutil.which("desktop-file-validate"):
        subprocess.run(["desktop-file-validate", INSTALLER / "linux" / "echoq.desktop"], check=True)


@pytest.mark.parametrize("name", ["linux/try_deb.sh", "macos/make_dmg.sh"])
def test_shell_scripts_are_sound(name: str) -> None:
    subprocess.run(["sh", "-n", INSTALLER / name], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", INSTALLER / name], check=True)
    assert (INSTALLER / name).stat().st_mode & 0o100


def test_the_windows_script_names_what_is_there() -> None:
    """It cannot be compiled here: its sections, files, programs and file types are looked at."""
    text = (INSTALLER / "windows" / "echoq.iss").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith((";", "#", " "))]
    sections = [line for line in lines if line.startswith("[")]
    assert sections == [
        *("[Setup]", "[Languages]", "[Tasks]", "[InstallDelete]", "[Files]", "[Icons]", "[Registry]", "[Run]")
    ]
    for key in ("LicenseFile", "InfoBeforeFile", "SetupIconFile"):
        (place,) = re.findall(rf"^{key}=(.+)$", text, flags=re.MULTILINE)
        assert (INSTALLER / "windows" / place.replace("\\", "/")).resolve().is_file()
    assert "AppVersion={#Version}" in lines
    for suffix in (".dcm", ".avi", ".mp4"):
        assert f"\\{suffix}\\OpenWithProgids" in text
    spec = (INSTALLER / "echoq.spec").read_text(encoding="utf-8")
    for program in set(re.findall(r"\{app\}\\([\w-]+)\.exe", text)):
        assert f'name="{program}"' in spec
    for line in lines[lines.index("[Registry]") + 1 : lines.index("[Run]")]:
        assert line.startswith('Root: HKA; Subkey: "Software\\Classes\\')
        assert line.count('"') % 2 == 0


def test_the_workflow_tests_and_builds_on_three_systems() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    job = workflow["jobs"]["build"]
    runners = [each["runner"].split("-")[0] for each in job["strategy"]["matrix"]["include"]]
    assert runners == ["ubuntu", "windows", "macos"]
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    for command in ("python -m pytest", "python installer/build.py", "--selftest", "lint-imports", "mypy"):
        assert command in commands
    (pinned,) = re.findall(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert f" {pinned}\n" in commands
    assert {each["name"] for each in job["strategy"]["matrix"]["include"]} == {"Linux", "Windows", "macOS"}


def test_the_icon_comes_in_the_sizes_that_systems_want() -> None:
    folder = ROOT / "resources" / "icons"
    for size in (16, 32, 48, 64, 128, 256):
        with Image.open(folder / f"echoq-{size}.png") as picture:
            assert (picture.size, picture.mode) == ((size, size), "RGBA")
            assert picture.getpixel((0, 0))[3] == 0 < picture.getpixel((size // 2, size // 2))[3]  # type: ignore[index]
    with Image.open(folder / "echoq.ico") as icon:
        assert {(16, 16), (32, 32), (256, 256)} <= icon.info["sizes"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
