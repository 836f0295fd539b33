# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of benchmarks/loadtest.py: the load generators that are compared, and what they cost."""
