# SPDX-License-Identifier: Apache-2.0
"""A plan: the changes as data, to show, to keep in a file, to compare with the world of later.

The JSON shape is versioned and documented in `docs/reference/plan-json.md`; `Plan.from_text` reads what `to_text` wrote and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from podpass.errors import ConfigError, DriftSincePlanError
from podpass.federate.model.change import Action, Change
from podpass.federate.model.resource import JSON, Resource

API_VERSION: Final = "podpass.dev/v1alpha1"
KIND: Final = "Plan"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Caution:
    """Something allowed that a reader should know; `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Which cluster and which project a plan is for.

    Attributes:
        federation: The federation's name.
        cluster: The cluster's identity.
        project: The project's id.
        project_number: Its number.
        issuer: The issuer that Google is told.
        audience: What a subject token must be meant for.
        file: The federation file, absolute; a kept plan is compared with it again.
    """

    federation: str
    cluster: str
    project: str
    project_number: str
    issuer: str
    audience: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What apply would do.

    Attributes:
        subject: For which cluster and project.
        desired: The resources that are asked for, in the order of making.
        changes: What is to be done; empty: nothing.
        warnings: What a reader should know.
    """

    subject: Subject
    desired: tuple[Resource, ...]
    changes: tuple[Change, ...]
    warnings: tuple[Caution, ...] = ()

    def counts(self) -> dict[Action, int]:
        """Return how many changes there are of each action, those with none left out."""
        return {action: count for action in Action if (count := sum(change.action is action for change in self.changes))}

    def as_json(self) -> dict[str, JSON]:
        """Return the documented shape."""
        subject = self.subject
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "federation": subject.federation,
            "cluster": subject.cluster,
            "project": {"id": subject.project, "number": subject.project_number},
            "issuer": subject.issuer,
            "audience": subject.audience,
            "file": subject.file,
            "changes": [change.as_json() for change in self.changes],
            "warnings": [{"code": warning.code, "message": warning.message} for warning in self.warnings],
            "desired": [resource.as_json() for resource in self.desired],
        }

    def to_text(self) -> str:
        """Write it as a plan file."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    @classmethod
    def from_text(cls, text: str, *, origin: str) -> "Plan":
        """Read a plan file.

        Args:
            text: What `to_text` wrote.
            origin: The file's name, for the error.

        Raises:
            ConfigError: It is no plan, or one of another version.
        """
        try:
            return _plan(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{origin} is not a plan that this podpass can read.",
                f"A plan is JSON with apiVersion {API_VERSION} and kind {KIND}, as `podpass plan -o FILE` writes it.",
                "Make the plan again with this podpass.",
                code="config.plan-file",
            ) from error


def _plan(value: Mapping[str, JSON]) -> Plan:
    if (value["apiVersion"], value["kind"]) != (API_VERSION, KIND):
        raise ValueError(value["apiVersion"])
    project = value["project"]
    names = (value["federation"], value["cluster"], project["id"], project["number"], value["issuer"], value["audience"], value["file"])
    return Plan(
        Subject(*(str(name) for name in names)),
        tuple(Resource.from_json(one) for one in value["desired"]),
        tuple(Change.from_json(one) for one in value["changes"]),
        tuple(Caution(str(one["code"]), str(one["message"])) for one in value["warnings"]),
    )


def check_no_drift(planned: Plan, now: Plan) -> None:
    """Refuse a kept plan when the world has moved on since it was made.

    What is as wished by now needs no change and is none: an earlier run of this plan, stopped half way, is continued.

    Raises:
        DriftSincePlanError: Another cluster or project, other wishes, or a change that is not in the plan as it would be made now.
    """
    if planned.subject != now.subject:
        raise DriftSincePlanError(
            "Nothing was changed: the plan is for another cluster or project.",
            f"It was made for {_where(planned.subject)}; this is {_where(now.subject)}.",
            "Make the plan again for this one, or switch to the cluster and project that it was made for.",
        )
    if [one.as_json() for one in planned.desired] != [one.as_json() for one in now.desired]:
        raise DriftSincePlanError(
            "Nothing was changed: other things would be asked for now than when the plan was made.",
            f"{planned.subject.file or 'The federation file'} or the cluster's keys have changed since, or its selectors find "
            "other accounts.",
            "Make the plan again and read it.",
        )
    then = {change.address: _agreed_to(change) for change in planned.changes}
    moved = sorted(change.address for change in now.changes if then.get(change.address) != _agreed_to(change))
    if moved:
        shown = ", ".join(moved[:_SHOWN]) + ", …" * (len(moved) > _SHOWN)
        raise DriftSincePlanError(
            f"Nothing was changed: {len(moved)} of the changes would not be those of the plan now: {shown}.",
            "Somebody, or another run, has changed Google or the cluster since the plan was made.",
            "Make the plan again and read it.",
        )


def _agreed_to(change: Change) -> dict[str, JSON]:
    """Return what a reader of the plan agreed to. That the receipt knows of a creation says only that a run of it was begun."""
    return change.as_json() | ({"known": False} if change.action is Action.CREATE else {})


def _where(subject: Subject) -> str:
    return f"federation {subject.federation} of cluster {subject.cluster} in project {subject.project}, issuer {subject.issuer}"
