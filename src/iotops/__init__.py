# SPDX-License-Identifier: GPL-3.0-or-later
"""Companion package of the Ansible collection iotops.fleet."""
