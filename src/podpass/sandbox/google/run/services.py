# SPDX-License-Identifier: Apache-2.0
"""Services of Cloud Run as they are kept and shown: the Knative objects of Admin API v1 (google-behaviour: run).

A service and its revisions are records. How its process does is a record too (`run.status`), written by `instances`.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self
from uuid import uuid4

from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.run.addresses import hosts_of
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import Json, Record

KIND, REVISION, STATUS = "run.service", "run.revision", "run.status"
AUDIENCES: Final = "run.googleapis.com/custom-audiences"
UNCHECKED: Final = "run.googleapis.com/invoker-iam-disabled"
_API: Final = "serving.knative.dev/v1"
# Conditions in the order in which they come about; gcloud shows each as a stage.
_CONDITIONS: Final = ("Ready", "ConfigurationsReady", "RoutesReady")
_STATES: Final = {"ready": "True", "failed": "False"}


@dataclass(frozen=True, slots=True)
class Place:
    """Which service: project id, region and name."""

    project: str
    region: str
    name: str

    @classmethod
    def of(cls, key: str) -> Self:
        """Read it back from a record's key."""
        return cls(*key.split("/"))

    @property
    def key(self) -> str:
        """The key of its record; those of its revisions begin alike."""
        return f"{self.project}/{self.region}/{self.name}"

    @property
    def resource(self) -> Resource:
        """What permissions are checked on."""
        name = f"//run.googleapis.com/projects/{self.project}/locations/{self.region}/services/{self.name}"
        return Resource(name, "run.googleapis.com/Service", project_resource(self.project))


def number_of(universe: Universe, project: str) -> str:
    """Return the number of a project."""
    return str((universe.project(project) or {}).get("projectNumber", ""))


def urls_of(universe: Universe, place: Place) -> tuple[str, str]:
    """Return both URLs of a service."""
    first, second = hosts_of(place.name, number_of(universe, place.project), place.region)
    return f"https://{first}", f"https://{second}"


def custom_audiences(value: Json) -> tuple[str, ...]:
    """Return what a service is called in `aud` beside its URLs."""
    return tuple(json.loads(value["metadata"]["annotations"].get(AUDIENCES, "[]")))


def write(universe: Universe, place: Place, asked: Json, author: str, before: Record | None) -> Record:
    """Keep a service as it is asked for, with the revision that runs it."""
    now = universe.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    generation = before.value["metadata"]["generation"] + 1 if before else 1
    metadata, spec = asked["metadata"], asked["spec"]
    kept = before.value["metadata"] if before else {"uid": str(uuid4()), "creationTimestamp": now, "author": author}
    value = {
        "metadata": {
            "uid": kept["uid"],
            "creationTimestamp": kept["creationTimestamp"],
            "author": kept["author"],
            "modifier": author,
            "generation": generation,
            "annotations": metadata["annotations"],
            "labels": metadata["labels"],
        },
        "spec": spec,
        "revision": before.value["revision"] if before and before.value["spec"]["template"] == spec["template"] else "",
    }
    if not value["revision"]:
        value["revision"] = _new_revision(universe, place, spec["template"], generation, now)
    return universe.store.put(KIND, place.key, value, expect=before.revision if before else 0)


def _new_revision(universe: Universe, place: Place, template: Json, generation: int, now: str) -> str:
    metadata = template["metadata"]
    suffix = hashlib.sha256(f"{place.key} {generation}".encode()).hexdigest()[:3]
    name = str(metadata.get("name") or f"{place.name}-{generation:05}-{suffix}")
    value = {"service": place.name, "creationTimestamp": now, "uid": str(uuid4()), "template": template}
    universe.store.put(REVISION, f"{place.project}/{place.region}/{name}", value, expect=0)
    return name


def shown(universe: Universe, record: Record) -> Json:
    """Return a service as the API shows it."""
    place, value = Place.of(record.key), record.value
    metadata, number, urls = value["metadata"], number_of(universe, place.project), urls_of(universe, place)
    return {
        "apiVersion": _API,
        "kind": "Service",
        "metadata": {
            "name": place.name,
            "namespace": number,
            "selfLink": f"/apis/{_API}/namespaces/{number}/services/{place.name}",
            "uid": metadata["uid"],
            "resourceVersion": str(record.revision),
            "generation": metadata["generation"],
            "creationTimestamp": metadata["creationTimestamp"],
            "labels": {**metadata["labels"], "cloud.googleapis.com/location": place.region},
            "annotations": {
                "run.googleapis.com/ingress": "all",
                **metadata["annotations"],
                "serving.knative.dev/creator": metadata["author"],
                "serving.knative.dev/lastModifier": metadata["modifier"],
                "run.googleapis.com/ingress-status": "all",
                "run.googleapis.com/urls": json.dumps(urls),
            },
        },
        "spec": value["spec"],
        "status": _status(universe, record, urls[1]),
    }


def _status(universe: Universe, record: Record, url: str) -> Json:
    value, found = record.value, universe.store.get(STATUS, record.key)
    told = found.value if found else {}
    serving = told.get("serving")
    current = told.get("revision") == value["revision"]
    status: Json = {
        "observedGeneration": value["metadata"]["generation"],
        "conditions": _conditions(told if current else {}, value["metadata"]["creationTimestamp"]),
        "latestCreatedRevisionName": value["revision"],
        "url": url,
        "address": {"url": url},
    }
    if serving:
        traffic = [{"revisionName": serving, "percent": 100, "latestRevision": True}]
        status |= {"latestReadyRevisionName": serving, "traffic": traffic}
    return status


def _conditions(told: Json, created: str) -> list[Json]:
    state, since = _STATES.get(told.get("state", ""), "Unknown"), told.get("since", created)
    words = {"reason": told["reason"], "message": told["message"]} if told.get("message") else {}
    return [{"type": name, "status": state, "lastTransitionTime": since, **words} for name in _CONDITIONS]


def shown_revision(universe: Universe, record: Record) -> Json:
    """Return a revision as the API shows it."""
    project, region, name = record.key.split("/")
    value, number = record.value, number_of(universe, project)
    template = value["template"]
    owned = {"serving.knative.dev/service": value["service"], "cloud.googleapis.com/location": region}
    found = universe.store.get(STATUS, f"{project}/{region}/{value['service']}")
    told = found.value if found and found.value["revision"] == name else {}
    return {
        "apiVersion": _API,
        "kind": "Revision",
        "metadata": {
            "name": name,
            "namespace": number,
            "selfLink": f"/apis/{_API}/namespaces/{number}/revisions/{name}",
            "uid": value["uid"],
            "generation": 1,
            "creationTimestamp": value["creationTimestamp"],
            "labels": {**template["metadata"].get("labels", {}), **owned},
            "annotations": template["metadata"].get("annotations", {}),
        },
        "spec": template["spec"],
        "status": {"observedGeneration": 1, "conditions": _conditions(told, value["creationTimestamp"])[:1]},
    }
