# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels of what this environment has installed, so that a test asks no package index."""

from __future__ import annotations

import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _files(found: Distribution) -> dict[str, Path]:
    """What it consists of by the path in its wheel; an editable one of ours is in the checkout."""
    files = {str(each): Path(str(each.locate())) for each in found.files or ()}
    if found.name == "iotops":
        files |= {str(each.relative_to(ROOT / "src")): each for each in (ROOT / "src/iotops").rglob("*")}
    left_out = ("..", "__editable__")
    return {name: path for name, path in files.items() if not name.startswith(left_out) and "__pycache__" not in name}


def wheel(name: str, directory: Path, *, packages: Path | None = None) -> Path:
    """Pack an installed distribution, here or in ``packages``, into a wheel in the directory; its path."""
    where = {"path": [str(packages)]} if packages else {}
    found = next(each for each in distributions(name=name, **where) if each.read_text("WHEEL"))
    tags = [line.split()[1] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")]
    project = found.name.replace("-", "_")
    # All of them in one name, as in "py2.py3-none-any".
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*(each.split("-") for each in tags), strict=True))
    path = directory / f"{project}-{found.version}-{tag}.whl"
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for each, source in sorted(_files(found).items()):
            if source.is_file():
                packed.write(source, each)
    return path
