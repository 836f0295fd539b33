# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented of every module that signs for devices that rotate."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that say with which CA, and what it makes."""

    DOCUMENTATION = r"""
options:
  authority:
    description: Directory of the issuing CA on the controller.
    type: path
  passphrase:
    description: Passphrase of the CA's private key.
    type: str
  days:
    description: Lifetime of a new certificate in days. It ends no later than the CA.
    type: int
    default: 365
  present_within:
    description: Seconds within which a device has to show up with a new certificate, or it is revoked.
    type: int
    default: 86400
"""
