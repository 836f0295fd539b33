# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's prices and default quotas, and how long calls are assumed to take there.

Sources: the price pages of the services for us-east-1 (eu-west-1 differs in DynamoDB only, about 13 % more);
"AWS IoT Core endpoints and quotas" of the AWS General Reference.
"""

from __future__ import annotations

# USD per million units.
PRICES = {
    "iot message": 1.00,  # steps of 5 KB; CONNECT counts, refused or not
    "rule": 0.15,  # triggered
    "action": 0.15,
    "registry operation": 1.25,  # steps of 1 KB
    "transition": 25.0,  # of a STANDARD state machine
    "express request": 1.00,
    "express GB-s": 16.67,
    "lambda request": 0.20,
    "lambda GB-s": 16.6667,
    "write unit": 0.625,  # DynamoDB on demand, 1 KB; in each replica
    "read unit": 0.125,  # 4 KB, strongly consistent; half of one when eventually consistent
    "stream read": 0.20,  # GetRecords of a DynamoDB stream
    "custom event": 1.00,
    "pipe request": 0.40,  # after the filter
    "queue request": 0.40,
    "log byte": 0.50 / 1e9 * 1e6,
}
# Registry operations that are charged; those on certificates and policies are not.
REGISTRY = {
    "AddThingToThingGroup", "AttachThingPrincipal", "CreateThing", "DeleteThing", "DescribeThing",
    "DetachThingPrincipal", "ListPrincipalThings", "ListPrincipalThingsV2", "ListThingGroupsForThing",
    "ListThingPrincipals", "ListThingPrincipalsV2", "ListThings", "RemoveThingFromThingGroup", "UpdateThing",
}  # fmt: skip
S1_STANDARD = 566.0  # USD per million devices of the tutorial, of which 550 are 22 transitions a device

# Calls a second in each region.
QUOTAS = {
    "AddThingToThingGroup": 100,
    "AttachPolicy": 15,
    "AttachThingPrincipal": 100,
    "CreateThing": 100,
    "DescribeCertificate": 10,
    "DescribeThing": 350,
    "DetachThingPrincipal": 100,
    "ListAttachedPolicies": 15,
    "ListThingPrincipals": 20,
    "ListThingPrincipalsV2": 20,
    "RegisterCertificate": 10,
    "RegisterCertificateWithoutCA": 10,
    "RegisterThing": 10,
    "UpdateCertificate": 10,
    "UpdateThing": 100,
}
FIRST_CONTACT = "just-in-time registrations"
FIRST_CONTACTS = 15  # certificates a second that just-in-time registration takes, in each region

# Assumed for AWS: the sandbox's own times say nothing about it. Seconds of one call from a state machine.
CALL_SECONDS = {"dynamodb": 0.010, "iot": 0.100, "lambda": 0.030, "sfn": 0.030, "sqs": 0.020}
STATE_SECONDS = 0.010  # entering and leaving any state
FUNCTION_SECONDS = 0.050  # a warm function
EXPRESS_STEP, EXPRESS_GB = 0.1, 64 / 1024  # billed in such steps of time and of memory
