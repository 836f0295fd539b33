# SPDX-License-Identifier: GPL-3.0-or-later
"""Many machines: Locust's master and workers steer generators and show how it goes; the report is ours."""
