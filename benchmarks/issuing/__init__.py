# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of ``benchmarks/issue.py``: our module, what bounds it, and who else does the same."""
