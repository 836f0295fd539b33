# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of ``benchmarks/replication.py``: a fleet of any size, our check of it, and the way of a tool of AWS's."""
