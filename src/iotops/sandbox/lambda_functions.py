# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda functions in local processes.

A bound on how many run at once, the exception's class as ``errorType``, and packages whose compiled wheels are for
another interpreter or processor.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from iotops.sandbox.patching import BaseChangedError, replace

# More processes than processors make every one of them slower; the rest wait, and a function that waits for another
# one goes ahead after a while rather than never.
PROCESSES = 2 * (os.cpu_count() or 1)
PATIENCE = 20.0  # seconds
_SEPARATOR = "\x1f"
_slots = threading.BoundedSemaphore(PROCESSES)

# The deployed package comes first on the path. When it cannot be imported here (its wheels are for the declared runtime
# and architecture), it goes last, so that the sandbox's own packages are found before it.
_IMPORT = "mod = importlib.import_module(module_name)"
_IMPORT_ANYWHERE = """_loaded = set(sys.modules)
        try:
            mod = importlib.import_module(module_name)
        except ImportError:
            for _name in set(sys.modules) - _loaded:
                del sys.modules[_name]
            sys.path.remove(code_dir)
            sys.path.append(code_dir)
            importlib.invalidate_caches()
            mod = importlib.import_module(module_name)"""
_ERROR = '"status": "error", "error": str(e), "trace"'
_ERROR_WITH_CLASS = '"status": "error", "error": type(e).__name__ + chr(31) + str(e), "trace"'


def _bounded(original: Any) -> Any:
    def execute_function_with_config_scope(func: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        taken = _slots.acquire(timeout=PATIENCE)
        try:
            result: dict[str, Any] = original(func, event)
        finally:
            if taken:
                _slots.release()
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and _SEPARATOR in str(body.get("errorMessage")):
            body["errorType"], body["errorMessage"] = body["errorMessage"].split(_SEPARATOR, 1)
        return result

    return execute_function_with_config_scope


def install() -> None:
    """Bound the processes and edit the worker's script.

    Raises:
        BaseChangedError: the script is not the one we know.

    """
    replace(lambda_svc, "_execute_function_with_config_scope", "func, event", _bounded)
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    for old, new in ((_IMPORT, _IMPORT_ANYWHERE), (_ERROR, _ERROR_WITH_CLASS)):
        if script.count(old) != 1:
            raise BaseChangedError(
                f"the base's Lambda worker lacks {old!r}: install the version pinned in pyproject.toml"
            )
        script = script.replace(old, new)
    lambda_runtime._PYTHON_WORKER_SCRIPT = script
