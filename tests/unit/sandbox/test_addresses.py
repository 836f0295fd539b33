# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import errno
import socket

import pytest

from iotops.sandbox import addresses


def test_every_region_has_an_address_of_its_own_on_loopback():
    found = [addresses.loopback_address(region) for region in addresses.iot_regions()]
    assert len(set(found)) == len(found) > 20
    assert all(address.startswith("127.0.10.") for address in found)


@pytest.fixture
def world(monkeypatch):
    """Addresses that are taken or missing; what was bound is recorded and never really bound."""
    taken, missing, bound = set(), set(), []

    def bind(host, port):
        if host in missing:
            raise OSError(errno.EADDRNOTAVAIL, "not here")
        if (host, port) in taken:
            raise OSError(errno.EADDRINUSE, "taken")
        bound.append((host, port))
        return "socket"

    monkeypatch.setattr(addresses, "bind", bind)
    return taken, missing, bound


def test_a_region_gets_the_port_of_aws_while_it_is_free(world):
    addresses.bind_region("eu-west-1")
    assert world[2] == [(addresses.loopback_address("eu-west-1"), 8883)]


def test_a_region_keeps_the_port_of_its_last_run_also_when_that_of_aws_is_free_again(world):
    own = addresses.loopback_address("eu-west-1")
    addresses.bind_region("eu-west-1", {"eu-west-1": f"{own}:20001"})
    assert world[2] == [(own, 20001)]


def test_a_taken_port_falls_back_to_that_of_aws_and_then_to_a_free_one(world):
    taken, _missing, bound = world
    own = addresses.loopback_address("eu-west-1")
    taken.add((own, 20001))
    addresses.bind_region("eu-west-1", {"eu-west-1": f"{own}:20001"})
    taken.add((own, 8883))
    addresses.bind_region("eu-west-1", {"eu-west-1": f"{own}:20001"})
    assert bound == [(own, 8883), (own, 0)]


def test_without_further_loopback_addresses_regions_get_ports(world):
    _taken, missing, bound = world
    missing |= {addresses.loopback_address(region) for region in addresses.iot_regions()}
    for region in addresses.iot_regions():
        addresses.bind_region(region)
    assert {host for host, _port in bound} == {"127.0.0.1"}
    assert len({port for _host, port in bound}) == len(addresses.iot_regions())


def test_another_error_is_not_swallowed(monkeypatch):
    def bind(_host, _port):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(addresses, "bind", bind)
    with pytest.raises(OSError, match="too many"):
        addresses.bind_region("eu-west-1")


def test_a_bound_socket_knows_its_endpoint():
    with contextlib.closing(addresses.bind("127.0.0.1", 0)) as bound:
        host, port = addresses.endpoint_of(bound).split(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)
        bound.listen()
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind((host, int(port)))
