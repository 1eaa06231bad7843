# SPDX-License-Identifier: Apache-2.0
"""The verbs that write: create, update, patch, delete; server-side apply is a patch, too."""

from starlette.responses import Response

from podpass.sandbox.kubernetes import managed, schema
from podpass.sandbox.kubernetes.answers import answer, listed
from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.kinds import NAMESPACE, POD
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.options import Deletion, Write
from podpass.sandbox.kubernetes.patch import APPLY, patch_of
from podpass.sandbox.kubernetes.request import ApiRequest, is_true
from podpass.sandbox.kubernetes.schema import SchemaError
from podpass.sandbox.kubernetes.status import StatusError, invalid, invalid_value, required


class Writing:
    """Changes resources.

    Args:
        objects: The cluster.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def create(self, kind: Kind, request: ApiRequest) -> Response:
        """Make an object."""
        obj = self._objects.create(kind, request.home(kind), await request.body(), request.write())
        return answer(obj, 201)

    async def update(self, kind: Kind, request: ApiRequest, part: str = "") -> Response:
        """Replace an object, or the part of it that is a subresource."""
        body, write, action = await request.body(), request.write(), request.action
        return answer(self._objects.change(kind, request.home(kind), action.name, lambda _: body, write, part))

    async def patch(self, kind: Kind, request: ApiRequest, part: str = "") -> Response:
        """Change an object, or the part of it that is a subresource, as a patch says."""
        body, write, action = await request.raw(), request.write(), request.action
        home, name = request.home(kind), action.name
        if request.media_type == APPLY:
            return self._apply(kind, request, body, write, part)
        edit = patch_of(request.media_type, body)
        try:
            return answer(self._objects.change(kind, home, name, edit, write, part))
        except SchemaError as error:
            raise invalid("", "", "", [invalid_value("patch", body.decode(errors="replace"), str(error))]) from error

    def _apply(self, kind: Kind, request: ApiRequest, body: bytes, write: Write, part: str) -> Response:
        home, name, force = request.home(kind), request.action.name, is_true(request.query, "force")
        wanted = _applied(kind, request, body)

        def edit(live: Json) -> Json:
            return managed.apply(live, wanted, write.manager, part, self._objects.now, force=force)

        if self._objects.find(kind, home, name) is None and not part:
            empty = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}}
            return answer(self._objects.create(kind, home, edit(empty), write), 201)
        return answer(self._objects.change(kind, home, name, edit, write, part))

    async def delete(self, kind: Kind, request: ApiRequest) -> Response:
        """Delete an object."""
        deletion = Deletion.of(await request.options(), dry_run=request.dry_run)
        obj, gone = self._objects.delete(kind, request.home(kind), request.action.name, deletion)
        if not gone or kind in {POD, NAMESPACE}:
            return answer(obj)
        details = {"name": obj["metadata"]["name"], "kind": kind.plural, "uid": obj["metadata"]["uid"]}
        details |= {"group": kind.group} if kind.group else {}
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    async def delete_collection(self, kind: Kind, request: ApiRequest) -> Response:
        """Delete the objects that fit the selectors."""
        options, test, home = await request.options(), request.test(kind), request.home(kind)
        deletion = Deletion.of(options, dry_run=request.dry_run)
        items = [obj for obj in self._objects.select(kind, home) if test(obj)]
        for obj in items:
            self._objects.delete(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], deletion)
        return answer(listed(kind, items, {"resourceVersion": str(self._objects.store.revision)}))


def _applied(kind: Kind, request: ApiRequest, body: bytes) -> Json:
    """Read what somebody applies: the part of an object that is theirs."""
    config = schema.parse(body)
    metadata = config.get("metadata") or {}
    if not request.query.get("fieldManager"):
        raise invalid("PatchOptions", "meta.k8s.io", "", [required("fieldManager", "is required for apply patch")])
    if metadata.get("managedFields"):
        raise StatusError(400, "metadata.managedFields must be nil")
    try:
        return schema.read(config, kind.model, "Strict").value
    except SchemaError as error:
        about = f"({metadata.get('namespace', '')}/{request.action.name}; {kind.group}/{kind.version}, Kind={kind.name})"
        unknown = ", ".join(".{}: field not declared in schema".format(part.split('"')[1]) for part in error.strict)
        raise StatusError(500, f"failed to create typed patch object {about}: {unknown or error}") from error
