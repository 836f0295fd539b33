# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests; a package, since libraries install one of that name, too."""
