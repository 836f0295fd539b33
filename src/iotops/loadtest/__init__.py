# SPDX-License-Identifier: GPL-3.0-or-later
"""Load tests: thousands of devices in a process, each with its own certificate."""
