# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from iotops.sandbox.iot_paging import cut_page, strip_token


def whole(count, member="things", **more):
    return 200, {}, json.dumps({member: list(range(count)), **more}).encode()


def walk(path, size_name, token_name, token_out, member, count, size):
    pages, query = [], {size_name: [str(size)]}
    while True:
        page = json.loads(cut_page(path, query, whole(count, member))[2])
        pages.append(page[member])
        if token_out not in page:
            return pages
        query = {size_name: [str(size)], token_name: [page[token_out]]}


@pytest.mark.parametrize(
    ("path", "size_name", "token_name", "token_out", "member"),
    [
        ("/things", "maxResults", "nextToken", "nextToken", "things"),
        ("/certificates", "pageSize", "marker", "nextMarker", "certificates"),
        ("/policies", "pageSize", "marker", "nextMarker", "policies"),
        ("/things/a/principals", "maxResults", "nextToken", "nextToken", "principals"),
    ],
)
def test_pages_are_of_the_size_asked_for_and_complete(path, size_name, token_name, token_out, member):
    pages = walk(path, size_name, token_name, token_out, member, count=7, size=3)
    assert pages == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_list_that_fits_has_no_token():
    assert json.loads(cut_page("/things", {"maxResults": ["7"]}, whole(7))[2]) == {"things": list(range(7))}


def test_what_the_base_has_paged_itself_is_left_alone():
    answer = whole(50, nextToken="its-own")
    assert cut_page("/things", {"maxResults": ["10"]}, answer) == answer
    assert cut_page("/endpoint", {}, answer) == answer


def test_our_token_is_hidden_from_the_base_and_its_own_is_not():
    ours = {"maxResults": ["3"], "nextToken": ["sandbox-3"], "thingTypeName": ["t"]}
    assert strip_token("GET", "/things", ours) == {"thingTypeName": ["t"]}
    its = {"maxResults": ["3"], "nextToken": ["its-own"]}
    assert strip_token("GET", "/things", its) == its
