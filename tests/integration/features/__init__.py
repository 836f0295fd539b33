# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks that a deployment may have besides: one module each, with ``deploy(deployment, region)``."""
