#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# One clear line for whatever the first command needs and this machine lacks.
set -euo pipefail
python=${1:-python3}

missing() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

command -v "$python" >/dev/null ||
  missing "'$python' is not installed: install Python 3.11 or later, or name one with 'make site PYTHON=/path/to/python3'"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  missing "'$python' is $("$python" -V 2>&1): 3.11 or later is needed; name one with 'make site PYTHON=/path/to/python3'"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  missing "'$python' has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"
command -v git >/dev/null || missing "git is not installed: install it (Debian, Ubuntu: apt-get install git)"
command -v openssl >/dev/null || missing "openssl is not installed: install it (Debian, Ubuntu: apt-get install openssl)"
