# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of fault of a device as a query over the store. Nothing else decides what a fault is.

A device that is being worked on is in motion and cannot be judged: its row was written or applied lately, or somebody
holds its lease. A row is live when its device is ACTIVE or SUSPENDED: a REVOKED one may have a thing or none, and its
certificates are kept.
"""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store

__all__ = ["compare"]

ROWS = {
    "failed": """
        SELECT thing, 'failed', '', status.error FROM row JOIN status USING (thing) WHERE status.error != ''""",
    "not_applied": """
        SELECT thing, 'not_applied', '', iif(status.write_id IS NULL, 'nothing was', 'another version was')
        FROM row LEFT JOIN status USING (thing)
        WHERE coalesce(status.write_id, '') != row.write_id AND coalesce(status.error, '') = ''""",
}

REGISTRY = {
    "thing_missing": """
        SELECT thing, 'thing_missing', '', '' FROM row LEFT JOIN thing USING (thing)
        WHERE row.live AND thing.type IS NULL""",
    "thing_unwanted": """
        SELECT thing, 'thing_unwanted', '', '' FROM row JOIN thing USING (thing) WHERE row.state = 'DELETED'""",
    "type": """
        SELECT thing, 'type', '', iif(thing.type = '', 'none', thing.type) || ' instead of ' || row.type
        FROM row JOIN thing USING (thing) WHERE row.live AND thing.type != row.type""",
    "attributes": """
        SELECT thing, 'attributes', '', thing.attributes || ' instead of ' || row.attributes
        FROM row JOIN thing USING (thing) WHERE row.live AND thing.attributes != row.attributes""",
    "groups": """
        SELECT thing, 'groups', '', 'not in ' || grp FROM row JOIN row_group USING (thing)
        WHERE row.live AND NOT EXISTS
          (SELECT 1 FROM member WHERE member.thing = row.thing AND member.grp = row_group.grp)
        UNION ALL
        SELECT thing, 'groups', '', 'in ' || grp FROM row JOIN member USING (thing)
        WHERE row.live AND NOT EXISTS
          (SELECT 1 FROM row_group WHERE row_group.thing = row.thing AND row_group.grp = member.grp)""",
    # An expired one is registered nowhere anew, and nobody makes anything of its status.
    "certificate_missing": """
        SELECT thing, 'certificate_missing', wanted.id, 'to be ' || wanted.status
        FROM row JOIN row_certificate AS wanted USING (thing) LEFT JOIN certificate USING (id)
        WHERE certificate.status IS NULL AND NOT wanted.expired AND NOT (wanted.of_aws AND row.state = 'DELETED')""",
    "certificate_status": """
        SELECT thing, 'certificate_status', wanted.id, certificate.status || ' instead of ' || wanted.status
        FROM row JOIN row_certificate AS wanted USING (thing) JOIN certificate USING (id)
        WHERE certificate.status NOT IN (wanted.status, wanted.status_before) AND NOT wanted.expired""",
    "policy_missing": """
        SELECT thing, 'policy_missing', wanted.id, policy
        FROM row JOIN row_certificate AS wanted USING (thing) JOIN certificate USING (id) JOIN row_policy USING (thing)
        WHERE row.live AND wanted.status != 'REVOKED' AND NOT wanted.expired AND NOT EXISTS
          (SELECT 1 FROM target WHERE target.id = wanted.id AND target.policy = row_policy.policy)""",
    "policy_unwanted": """
        SELECT thing, 'policy_unwanted', wanted.id, target.policy
        FROM row JOIN row_certificate AS wanted USING (thing) JOIN target USING (id)
        WHERE row.state != 'REVOKED' AND wanted.status != 'REVOKED' AND NOT EXISTS
          (SELECT 1 FROM row_policy WHERE row_policy.thing = row.thing AND row_policy.policy = target.policy)""",
    "orphan_thing": """
        SELECT thing, 'orphan_thing', '', thing.type FROM thing LEFT JOIN row USING (thing)
        WHERE row.write_id IS NULL""",
    # Whose it is, only a look at a thing tells: then it is certificate_unwanted.
    "orphan_certificate": """
        SELECT '', 'orphan_certificate', certificate.id, group_concat(target.policy, ', ')
        FROM certificate JOIN target USING (id)
        WHERE certificate.status = 'ACTIVE'
          AND target.policy IN (SELECT policy FROM row_policy UNION SELECT value FROM scope WHERE name = 'policy')
          AND NOT EXISTS (SELECT 1 FROM row_certificate WHERE row_certificate.id = certificate.id)
          AND certificate.id NOT IN (SELECT principal.id FROM principal JOIN row USING (thing))
        GROUP BY certificate.id""",
}

FULL = {
    "unattached": """
        SELECT thing, 'unattached', wanted.id, ''
        FROM row JOIN looked USING (thing) JOIN row_certificate AS wanted USING (thing) JOIN certificate USING (id)
        WHERE row.live AND wanted.status != 'REVOKED' AND NOT wanted.expired AND NOT EXISTS
          (SELECT 1 FROM principal WHERE principal.thing = row.thing AND principal.id = wanted.id)""",
    "certificate_unwanted": """
        SELECT thing, 'certificate_unwanted', principal.id, coalesce(certificate.status, '')
        FROM row JOIN principal USING (thing) LEFT JOIN certificate USING (id)
        WHERE NOT EXISTS
          (SELECT 1 FROM row_certificate AS known WHERE known.id = principal.id AND known.thing = row.thing)""",
    "shadow": "SELECT thing, 'shadow', '', shadow.name || ': ' || differs FROM row JOIN shadow USING (thing)",
}

MOVING = """
    INSERT OR IGNORE INTO moving SELECT row.thing FROM row LEFT JOIN status USING (thing)
    WHERE row.updated_at >= :lately OR status.applied_at >= :lately OR status.lease_until >= :began"""

# A device that AWS IoT itself provisioned has its row from ingestion, some seconds later.
YOUNG = """
    DELETE FROM fault WHERE name = 'orphan_certificate' AND id IN
      (SELECT id FROM certificate WHERE registered_at > :lately)"""


def compare(store: Store, *, depth: str, began: int, lately: int) -> None:
    """Write the faults of the devices, and which devices are in motion and have none.

    ``began``: epoch seconds at which the first table was read; ``lately``: who changed since then is in motion.
    """
    registry, full = depth != "rows", depth == "full"
    store.run("DELETE FROM fault WHERE thing != '' OR name = 'orphan_certificate'")
    for query in [*ROWS.values(), *(REGISTRY.values() if registry else ()), *(FULL.values() if full else ())]:
        store.run(f"INSERT OR REPLACE INTO fault {query}")
    store.run(YOUNG, {"lately": lately})
    store.run(MOVING, {"began": began, "lately": lately})
    store.run("DELETE FROM fault WHERE thing IN (SELECT thing FROM moving)")
