# SPDX-License-Identifier: GPL-3.0-or-later
"""What may happen to a fleet in any order, one rule for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted
from tests import invariants
from tests.faults.interleaving_stage import ENDED, PATIENCE, REGIONS, Stage, image, lost
from tests.integration.deployment import eventually
from tests.integration.sandbox.mqtt import Issued

# At most, in one example: a convergence looks at every certificate of its device.
DEVICES, CERTIFICATES = 4, 3
NUMBERS = st.integers(0, 11)  # which of those that there are, counted round
PLACES = st.sampled_from(REGIONS)
# What ends a device is rare, or most changes would be refused.
CHANGES = st.sampled_from(
    ["move", "SUSPENDED", "ACTIVE", "clear", "stop a certificate", "move", "revoke a certificate", "DELETED", "REVOKED"]
)
# What must not be lost when somebody else writes at once.
SERIOUS = st.sampled_from(["stop a certificate", "SUSPENDED", "revoke a certificate", "DELETED", "REVOKED"])


@dataclass
class Count:
    """What was done in all examples together, and the stories of those that ended badly."""

    steps: int = 0
    examples: int = 0
    lost: int = 0  # writes that a replica saw overwritten by one that did not know them
    rest: float = 0.0  # seconds
    violations: list[str] = field(default_factory=list)


@dataclass
class Known:
    """One device, and what is certain of it: what somebody was told had been done."""

    name: str
    certificates: list[Issued]
    admitted: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)  # certificates
    has_ended: bool = False  # REVOKED or DELETED


class Interleaving(RuleBasedStateMachine):
    """One example: some devices, many actions, then rest and judgement."""

    def __init__(self, stage: Stage, count: Count) -> None:
        super().__init__()
        self.stage, self.count = stage, count
        count.examples += 1
        self.example, self.began = count.examples, time.monotonic()
        self.devices: list[Known] = []
        self.records: dict[str, list[dict[str, Any]]] = {region: [] for region in REGIONS}
        self.held: list[tuple[str, Callable[[], None]]] = []
        self.story: list[str] = []

    # --- devices ---------------------------------------------------------------------------------------------------

    @initialize(
        region=PLACES,
        everywhere=st.booleans(),
        delay=st.sampled_from([0.05, 0.15, 0.3]),
        reorder=st.sampled_from([0.0, 0.3]),
    )
    def a_fleet_of_one(self, region: str, everywhere: bool, delay: float, reorder: float) -> None:
        self.stage.sandbox.replication(delay=delay, jitter=delay, reorder=reorder)
        self.note(f"replication: {delay} to {2 * delay} s, {reorder:.0%} overtaken")
        self.knock(*self.another(0), region, "is new")
        for place in REGIONS if everywhere else [region]:
            eventually(lambda place=place: self.stage.deployment.row(place, self.devices[0].name))

    @rule(number=NUMBERS, which=NUMBERS, region=PLACES)
    def device_knocks(self, number: int, which: int, region: str) -> None:
        known, device = self.pick(number, which)
        self.knock(known, device, region, "knocks")

    @rule(number=NUMBERS, region=PLACES)
    def new_device_or_certificate(self, number: int, region: str) -> None:
        self.knock(*self.another(number), region, "is new")

    @rule()
    def new_device_or_certificate_everywhere_at_once(self) -> None:
        known, device = self.another(len(self.devices) + self.count.steps)
        with ThreadPoolExecutor(len(REGIONS)) as pool:
            list(pool.map(lambda region: self.stage.deployment.knock(device, region), REGIONS))
        self.step(f"{known.name} is new: {device.id[:8]} everywhere at once")

    def another(self, number: int) -> tuple[Known, Issued]:
        """A new device, a new certificate of a known one, or what there is when there are enough."""
        if not self.devices or (number % 2 and len(self.devices) < DEVICES):
            known = Known(f"thing-{self.example}-{len(self.devices) + 1}", [])
            self.devices.append(known)
        else:
            known, _ = self.pick(number)
        if len(known.certificates) < CERTIFICATES:
            known.certificates.append(self.stage.deployment.issue(known.name))
        return known, known.certificates[-1]

    def knock(self, known: Known, device: Issued, region: str, why: str) -> None:
        let_in = self.stage.deployment.knock(device, region)
        if let_in:
            known.admitted.add(device.id)
        self.step(f"{known.name} {why}: {device.id[:8]} in {region}, {'let in' if let_in else 'refused'}")

    # --- operators -------------------------------------------------------------------------------------------------

    @rule(number=NUMBERS, region=PLACES, wanted=CHANGES, which=NUMBERS)
    def operator(self, number: int, region: str, wanted: str, which: int) -> None:
        known, device = self.pick(number, which)
        place = self.stage.reachable(region)
        told = self.change(known, place, wanted, device)
        self.step(f"operator in {place}: {known.name} {wanted}: {told[:60] or 'done'}")

    @rule(
        number=NUMBERS,
        regions=st.permutations(REGIONS),
        serious=SERIOUS,
        other=CHANGES,
        which=NUMBERS,
        later=st.sampled_from([0.03, 0.0]),
    )
    def changes_at_once_in_two_regions(
        self, number: int, regions: list[str], serious: str, other: str, which: int, later: float
    ) -> None:
        """One that must not be lost and any other, the latter perhaps later by less than a replication takes."""
        known, device = self.pick(number, which)
        places = [region for region in regions if region not in self.stage.cut_off]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(self.change, known, places[0], serious, device)
            time.sleep(later)
            second = pool.submit(self.change, known, places[1], other, device)
        told = [f"{serious} in {places[0]}: {first.result()[:60] or 'done'}"]
        told.append(f"{other} in {places[1]}: {second.result()[:60] or 'done'}")
        self.step(f"at once: {known.name} {', '.join(told)}")

    def change(self, known: Known, region: str, wanted: str, device: Issued) -> str:
        told = self.stage.change(region, known.name, _wanted(wanted, device.id, f"{region}.{self.count.steps}"))
        if not told and wanted == "revoke a certificate":
            known.revoked.add(device.id)
        if not told and wanted in ("REVOKED", "DELETED"):
            known.has_ended = True
        return told

    # --- events ----------------------------------------------------------------------------------------------------

    @rule(region=PLACES, number=NUMBERS, late=st.booleans())
    def row_event_again(self, region: str, number: int, late: bool) -> None:
        place = self.stage.reachable(region)
        heard = [record for record in self.hear(place) if image(record).get("UpdatedRegion") != place]
        if not heard:
            self.step(f"no event in {place} yet")
            return
        record = heard[number % len(heard)]
        new, old = image(record), image(record, "OldImage")
        what = f"event of {new['ThingName']} in {place}, version {old.get('Version', 0)} to {new['Version']}"
        self.again(what, lambda: self.stage.publish(place, record), late)

    @rule(number=NUMBERS, which=NUMBERS, region=PLACES, late=st.booleans())
    def registration_event_again(self, number: int, which: int, region: str, late: bool) -> None:
        (known, device), place = self.pick(number, which), self.stage.reachable(region)
        what = f"registration of {device.id[:8]} of {known.name} in {place}"
        self.again(what, lambda: self.stage.registered(place, device), late)

    @rule(number=NUMBERS, which=NUMBERS, region=PLACES, waits=st.booleans(), late=st.booleans())
    def convergence_again(self, number: int, which: int, region: str, waits: bool, late: bool) -> None:
        (known, device), place = self.pick(number, which), self.stage.reachable(region)
        event = {"ThingName": known.name}
        # As register-device starts it: a certificate that is registered here and stands in the row.
        if waits and self.stage.has(place, known.name, device):
            event["CertificateId"] = device.id
        what = f"converge-device of {known.name} {event.get('CertificateId', '')[:8]} in {place}"
        self.again(what, lambda: self.stage.deployment.start(place, "converge-device", event), late)

    def again(self, what: str, deliver: Callable[[], None], late: bool) -> None:
        if late:
            self.held.append((what, deliver))
        else:
            deliver()
        self.step(f"{what}, {'held back' if late else 'once more'}")

    # --- regions and time ------------------------------------------------------------------------------------------

    @rule(region=PLACES)
    def region_is_cut_off_or_comes_back(self, region: str) -> None:
        if self.stage.cut_off:
            back = ", ".join(self.stage.cut_off)
            self.stage.restore()
            self.step(f"{back} is back")
        else:
            self.stage.cut(region)
            self.step(f"{region} is cut off")

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6]))
    def time_passes(self, seconds: float) -> None:
        time.sleep(seconds)
        self.step(f"{seconds} s pass")

    @rule(region=PLACES, what=st.sampled_from(["sweep", "redrive", "leases of certificates"]))
    def on_duty(self, region: str, what: str) -> None:
        place = self.stage.reachable(region)
        found = {
            "sweep": lambda: self.stage.sweep(place, self.names()),
            "redrive": lambda: self.stage.redrive(place),
            "leases of certificates": lambda: self.stage.leases_run_out(place, self.certificate_keys()),
        }[what]()
        self.step(f"{what} in {place}: {found}")

    # --- rest and judgement ----------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not self.devices:
            return
        began = time.monotonic()
        self.note("everything comes to rest")
        found = self.come_to_rest()
        self.count.rest += time.monotonic() - began
        records = [record for region in REGIONS for record in self.hear(region)]
        self.count.lost += sum(not rows.descends(image(each), image(each, "OldImage")) for each in records)
        if found:
            self.count.violations.append("\n".join([f"example {self.example}:", *self.story, *found]))

    def come_to_rest(self) -> list[str]:
        """Heal, then wait until nothing is wrong any more; what still is."""
        until = time.monotonic() + PATIENCE
        self.stage.restore()
        self.stage.sandbox.replication(delay=0.05, jitter=0.02, reorder=0)
        for what, deliver in reversed(self.held):
            deliver()
            self.note(f"{what}, at last")
        found = ["it does not come to rest"]
        while found and time.monotonic() < until:
            self.stage.until_quiet(until)
            if not self.tend():
                found = list(self.judge())
        return found

    def tend(self) -> int:
        """What devices, the sweep and whoever is on duty do; how much there was to do."""
        done = 0
        for region in REGIONS:
            done += self.stage.redrive(region)
            # Nothing runs any more: what holds a lease was ended by a cut, and in time its lease runs out.
            self.stage.leases_run_out(region, [*self.names(), *self.certificate_keys()])
            done += self.stage.sweep(region, self.names())
            for known in self.devices:
                for device in known.certificates:
                    if self.stage.deployment.certificate(region, device) == "PENDING_ACTIVATION":
                        done += 1
                        if self.stage.deployment.knock(device, region):
                            known.admitted.add(device.id)
        return done

    def judge(self) -> Iterator[str]:
        """Everything that is wrong."""
        issued = [device for known in self.devices for device in known.certificates]
        regions = [self.stage.look(region, self.names(), issued) for region in REGIONS]
        yield from invariants.violations(regions)
        written = [image(record) for region in REGIONS for record in self.hear(region)]
        for known in self.devices:
            mine = [row for row in written if row["ThingName"] == known.name]
            for region in regions:
                row = region.rows.get(known.name)
                if row:
                    yield from (f"{known.name} in {region.name}: {line}" for line in _losses(known, mine, row))
                    yield from _strange_attributes(region, row)
                elif mine or known.admitted:
                    yield f"{known.name}: no row in {region.name}"
            yield from self.judge_door(known, regions[self.example % len(regions)])

    def judge_door(self, known: Known, region: invariants.Region) -> Iterator[str]:
        """Whether a device is let in where its certificate is ACTIVE, and only there."""
        device = known.certificates[-1]
        status = region.certificates.get(device.id)
        if status and self.stage.deployment.knock(device, region.name) != (status == "ACTIVE"):
            yield f"{known.name}: {device.id[:8]} is {status} in {region.name}, and the door says otherwise"

    # --- helpers ---------------------------------------------------------------------------------------------------

    def pick(self, number: int, which: int = 0) -> tuple[Known, Issued]:
        """One of the devices, rather one that has not ended, and one of its certificates."""
        living = [known for known in self.devices if not known.has_ended]
        devices = living if living and number % 4 else self.devices
        known = devices[number % len(devices)]
        return known, known.certificates[which % len(known.certificates)]

    def names(self) -> list[str]:
        return [known.name for known in self.devices]

    def certificate_keys(self) -> list[str]:
        return [f"certificate/{device.id}" for known in self.devices for device in known.certificates]

    def hear(self, region: str) -> list[dict[str, Any]]:
        """Every record of the region's stream that is about this example's devices."""
        mine = set(self.names())
        self.records[region] += [each for each in self.stage.news(region) if image(each).get("ThingName") in mine]
        return self.records[region]

    def step(self, line: str) -> None:
        self.count.steps += 1
        self.note(line)

    def note(self, line: str) -> None:
        self.story.append(f"{time.monotonic() - self.began:7.2f}  {line}")


def _wanted(change: str, certificate_id: str, room: str) -> Wanted:
    if change in ("revoke a certificate", "stop a certificate"):
        return Wanted(certificates={certificate_id: "REVOKED" if change.startswith("revoke") else "INACTIVE"})
    if change in ("move", "clear"):
        return Wanted(
            attributes={"room": room} if change == "move" else {"cleared": "yes"}, purge_attributes=change == "clear"
        )
    return Wanted(state=change)


def _losses(known: Known, written: list[rows.Row], row: rows.Row) -> list[str]:
    """What must not be lost and is missing in ``row``: of what was ever ``written``, and of what somebody was told."""
    missing = {line for each in written for line in lost(each, row, written)}
    for key in known.admitted - row["Certificates"].keys():
        missing.add(f"certificate {key[:8]} was let in and is lost")
    for key in known.revoked:
        if row["Certificates"].get(key, {}).get("Status") != "REVOKED":
            missing.add(f"certificate {key[:8]} was revoked by an operator and is not")
    if known.has_ended and row["State"] not in ENDED:
        missing.add(f"an operator ended it and it is {row['State']}")
    return sorted(missing)


def _strange_attributes(region: invariants.Region, row: rows.Row) -> Iterator[str]:
    name = row["ThingName"]
    attributes = region.things.get(name, {}).get("attributes", {}).keys() - rows.OWN_ATTRIBUTES
    strange = attributes - row["Attributes"].keys()
    if strange and row["State"] in ("ACTIVE", "SUSPENDED"):
        yield f"{name}: {sorted(strange)} in {region.name} are not in its row"
