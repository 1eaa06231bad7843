# SPDX-License-Identifier: Apache-2.0
"""What podpass refuses to plan, because no flag could make it right.

None of these rules asks the network. What podpass does and warns about is in `cautions`, what it does when the operator said so is in
`allowances`.

1. what Google would refuse of the provider: a condition over 4096 characters, a mapping or an expression that does not hold;
2. a `google.subject` over 127 bytes;
3. a pool in which another provider's tokens become the same principals, or may be given a namespace's name (`other_providers`);
4. Google's audience among the API server's audiences;
5. a receipt of another federation, project or cluster (`foreign_receipt`);
6. an API that is off, a permission that the operator lacks, a namespace that is not there.

(One account declared twice, and keys in a bucket that is not the issuer, are refused with the file, by `config`.)
"""

from collections.abc import Iterable, Iterator

from podpass.config.federation import GENERATED, Federation
from podpass.federate.desired import condition, principals
from podpass.federate.desired.desired import declared_issuer, provider_name
from podpass.federate.model.objection import Objection
from podpass.federate.ownership import foreign_receipt
from podpass.federate.records.receipt import NAMESPACE, config_map_name
from podpass.federate.safety import other_providers
from podpass.federate.safety.situation import Situation
from podpass.wif.limits import CONDITION_LIMIT_CHARS, SUBJECT_LIMIT_BYTES, check_provider

_OF_PLAN = "config.condition-too-long"


def split(found: Iterable[Objection]) -> tuple[tuple[Objection, ...], tuple[Objection, ...]]:
    """Return the objections to everything, and those to the plan alone.

    The second come of how many accounts a selector finds, and whoever may label accounts must not be able to stop the bringing of keys.
    """
    known = tuple(found)
    of_plan = tuple(one for one in known if one.code == _OF_PLAN)
    return tuple(one for one in known if one not in of_plan), of_plan


def objections(situation: Situation) -> Iterator[Objection]:
    """Return every reason to refuse, in the order of the list above."""
    yield from _provider_limits(situation)
    yield from _long_subjects(situation)
    yield from other_providers.objections(situation)
    yield from _api_audience(situation)
    yield from _foreign_receipt(situation)
    yield from situation.obstacles


def _provider_limits(situation: Situation) -> Iterator[Objection]:
    federation = situation.federation
    google = federation.google
    text = condition.of(federation)
    address = f"provider/{google.provider.id}"
    if len(text) > CONDITION_LIMIT_CHARS:
        names = google.attribute_condition is GENERATED
        yield Objection(
            "config.condition-too-long",
            f"The attribute condition of {address} would have {len(text)} characters; Google accepts {CONDITION_LIMIT_CHARS}.",
            f"It is generated and names each of the {len(federation.workloads)} workloads." if names else "",
            f'Write attributeCondition yourself, for instance by namespace: "{_by_namespace(federation)}". '
            "Every account of these namespaces may then enter the pool; what it may do there is said by the workloads.",
        )
        return
    issuer = declared_issuer(federation, situation.facts).url
    for violation in check_provider(issuer_uri=issuer, attribute_mapping=google.attribute_mapping, attribute_condition=text or None):
        where = federation.source.where(f"spec.google.{violation.field}")
        yield Objection("config.provider", f"Google would refuse {address}.", violation.message, f"Correct it at {where}.")


def _by_namespace(federation: Federation) -> str:
    namespaces = sorted({workload.service_account.namespace for workload in federation.workloads})
    return f"{condition.NAMESPACE} in [{', '.join(repr(namespace) for namespace in namespaces)}]"


def _long_subjects(situation: Situation) -> Iterator[Objection]:
    mapping = situation.federation.google.attribute_mapping
    for workload in situation.federation.workloads:
        if workload.is_namespace:
            continue
        subject = principals.value(mapping, "google.subject", principals.claims_of(workload.service_account, situation.facts))
        size = len((subject or "").encode())
        if size > SUBJECT_LIMIT_BYTES:
            yield Objection(
                "config.subject-too-long",
                f"google.subject would be {size} bytes for {workload.service_account}; Google accepts {SUBJECT_LIMIT_BYTES}.",
                f"The mapping is {mapping['google.subject']}.",
                "Map a shorter claim, such as assertion['kubernetes.io'].serviceaccount.uid, and grant by an attribute instead.",
            )


def _api_audience(situation: Situation) -> Iterator[Objection]:
    audience = provider_name(situation.federation, situation.facts).audience
    both = {audience, f"https:{audience}", audience.removeprefix("//iam.googleapis.com/")} & (situation.facts.api_audiences or frozenset())
    if both:
        yield Objection(
            "plan.audience-confusion",
            f"The API server itself accepts tokens for Google's audience {min(both)!r}.",
            "Whoever gets hold of a token that a workload sends to Google could then use it against the cluster.",
            "Remove it from the API server's --api-audiences; Google never looks there.",
        )


def _foreign_receipt(situation: Situation) -> Iterator[Objection]:
    receipt, facts = situation.receipt, situation.facts
    name = f"{NAMESPACE}/{config_map_name(situation.federation.name)}"
    cure = f"delete the config map {name} and apply with --adopt ADDRESS for each thing that the plan lists"
    found = tuple(foreign_receipt.objections(receipt, situation.federation.name, facts.cluster, cure))
    yield from found or foreign_receipt.of_another_project(receipt, facts.project)
