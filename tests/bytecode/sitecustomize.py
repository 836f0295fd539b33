# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that Ansible sends, archives of sources, are compiled once per source and not twice at each start.

Every Python that has this folder on its PYTHONPATH loads it (Makefile). The same sources run: what is remembered is
their code, as Python does by itself for sources that lie in folders; for archives zipimport remembers nothing.
"""

import _imp
import contextlib
import gc
import importlib.util
import marshal
import os
import sys
import types
import zipimport

ROOT = os.environ.get("IOTOPS_BYTECODE") or os.path.join(os.path.dirname(__file__), "../../.build/bytecode")
KEPT = os.path.join(ROOT, str(sys.implementation.cache_tag))
compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def _remember(kept: str, code: types.CodeType) -> None:
    os.makedirs(KEPT, exist_ok=True)
    unfinished = f"{kept}.{os.getpid()}"
    with open(unfinished, "wb") as file:
        marshal.dump(code, file)
    os.replace(unfinished, kept)


def remembered(path: str, source: bytes) -> types.CodeType:
    """The code of ``source``, which was read from ``path``."""
    gc.set_threshold(50_000)  # imports leave nothing to collect
    kept = os.path.join(KEPT, importlib.util.source_hash(source).hex())
    try:
        with open(kept, "rb") as file:
            code: types.CodeType = marshal.load(file)  # noqa: S302 - written below
    except OSError:
        code = compile_source(path, source)
        with contextlib.suppress(OSError):  # a user who may not write there
            _remember(kept, code)
    _imp._fix_co_filename(code, path)
    return code


zipimport._compile_source = remembered  # type: ignore[attr-defined]
