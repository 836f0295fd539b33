# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests. A package, because gmqtt installs one of the same name, which would be found instead of a mere folder."""
