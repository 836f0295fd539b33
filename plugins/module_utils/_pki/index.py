# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in a file the lines of a name or number begin, in a fraction of the memory that a dictionary takes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

# A slot holds a place and one, below some bits of its key's hash; 0 when free. Files have less than a tebibyte.
_PLACE_BITS = 40
_PLACE = (1 << _PLACE_BITS) - 1
_TAG = (1 << 64) - 1 - _PLACE


class Index:
    """Finds candidates: a few places found are those of other keys, so that whoever asks looks there.

    A table with open addressing for up to `size` places, 12 to 24 octets each.
    """

    def __init__(self, size: int) -> None:
        self._mask = (1 << (size * 3 // 2).bit_length()) - 1
        self._slots = array("Q", bytes(8 * (self._mask + 1)))

    def add(self, key: bytes, place: int) -> None:
        """Remember that a line of `key` begins at `place`."""
        code, slots, mask = hash(key), self._slots, self._mask
        slot = code & mask
        while slots[slot]:
            slot = slot + 1 & mask
        slots[slot] = code & _TAG | place + 1

    def places(self, key: bytes) -> Iterator[int]:
        """Yield where lines of `key` may begin, in the order in which they were added."""
        code, slots, mask = hash(key), self._slots, self._mask
        slot, tag = code & mask, code & _TAG
        while found := slots[slot]:
            if found & _TAG == tag:
                yield (found & _PLACE) - 1
            slot = slot + 1 & mask


__all__ = ["Index"]
