# SPDX-License-Identifier: GPL-3.0-or-later
"""Several AWS regions in one process on loopback: the pinned base plus one small file per gap closed."""
