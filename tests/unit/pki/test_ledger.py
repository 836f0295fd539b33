from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, Ledger, serial_text, take_serials

NOW = datetime(2026, 6, 1, tzinfo=UTC)
# What X509_NAME_oneline can write: printable ASCII.
SUBJECTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)
ENTRIES = st.builds(
    Entry,
    status=st.sampled_from("VRE"),
    expires=st.datetimes(datetime(1990, 1, 1), datetime(9999, 12, 31)).map(
        lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
    ),
    serial=st.integers(0, 2**160 - 1).map(serial_text),
    subject=SUBJECTS,
    revocation=st.sampled_from(["", "260101000000Z", "260101000000Z,keyCompromise"]),
)


def entry(name: str, serial: int, **changes: str) -> Entry:
    arguments = {"status": "V", "serial": serial_text(serial), "subject": f"/O=Example/CN={name}", **changes}
    return Entry(expires=datetime(2027, 1, 1, tzinfo=UTC), **arguments)


@given(ENTRIES)
def test_an_entry_survives_being_written_and_read(entry: Entry) -> None:
    assert Entry.parse(entry.line()) == entry


@given(st.integers(1, 2**160 - 1))
def test_a_serial_number_has_whole_octets(serial: int) -> None:
    text = serial_text(serial)
    assert len(text) % 2 == 0
    assert int(text, 16) == serial


def test_a_line_of_openssl_is_read() -> None:
    read = Entry.parse("R\t270101120000Z\t260203040506Z,superseded\t10AF\tunknown\t/O=Example/CN=dev-1")
    assert read.expires == datetime(2027, 1, 1, 12, tzinfo=UTC)
    assert (read.status, read.serial, read.common_name) == ("R", "10AF", "dev-1")
    assert read.state(NOW) == "revoked"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("V\t270101120000Z\t\t10AF\tunknown", "5 fields"),
        ("X\t270101120000Z\t\t10AF\tunknown\t/CN=a", "status 'X'"),
        ("V\tsoon\t\t10AF\tunknown\t/CN=a", "time 'soon'"),
        ("V\t270101120000Z\t\t10A\tunknown\t/CN=a", "serial number '10A'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "index.txt"
    path.write_text(f"{entry('dev-1', 1).line()}\n{line}\n")
    with pytest.raises(PkiError, match=f"line 2: .*{problem}.*restore"):
        Ledger(path)


def test_only_valid_entries_that_have_not_expired_are_live(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "index.txt")
    ledger.append([entry("dev-1", 1, status="R"), entry("dev-1", 2, status="E"), entry("dev-1", 3), entry("dev-2", 4)])
    assert [live.serial for live in ledger.live("dev-1", NOW)] == ["03"]
    assert ledger.live("dev-1", datetime(2027, 1, 1, tzinfo=UTC)) == []


def test_a_torn_last_line_is_dropped_by_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    path.write_text(f"{entry('dev-1', 1).line()}\nV\t270101120000Z\t\t10AF\tunk")
    ledger = Ledger(path)
    ledger.append([entry("dev-2", 2)])
    assert path.read_text() == f"{entry('dev-1', 1).line()}\n{entry('dev-2', 2).line()}\n"


@pytest.mark.defect("S3-21")
def test_serial_numbers_count_up_and_are_never_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    path.write_text("0FFE\n")
    assert list(take_serials(path, 3)) == [0xFFE, 0xFFF, 0x1000]
    assert list(take_serials(path, 1)) == [0x1001]
    assert path.read_text() == "1002\n"


def test_a_damaged_serial_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    path.write_text("next\n")
    with pytest.raises(PkiError, match="hexadecimal"):
        take_serials(path, 1)


def octets_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_adding_does_not_read_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    ledger = Ledger(path)
    ledger.append(entry(f"dev-{number}", number) for number in range(20_000))
    before = octets_read()
    ledger.append([entry("more", 20_000)])
    assert octets_read() - before < 50_000 < path.stat().st_size


@pytest.mark.parametrize("torn", ["", "V\t27", "x" * 10_000])
def test_the_end_is_found_behind_a_torn_line_of_any_length(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "index.txt"
    for whole in ("", f"{entry('dev-1', 1).line()}\n"):
        path.write_text(whole + torn)
        Ledger(path).append([entry("dev-2", 2)])
        assert path.read_text() == f"{whole}{entry('dev-2', 2).line()}\n"
