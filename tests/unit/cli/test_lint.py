# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

from unit.cli.conftest import Type

PATCH = "cluster: {apiServer: {extraArgs: {service-account-issuer: https://storage.googleapis.com/demo-oidc}}}"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
FEDERATION = """
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {name: demo}
spec:
  google: {project: demo-project, pool: {id: demo}, provider: {id: cluster}}
  workloads: [{serviceAccount: shop/checkout, roles: [roles/owner]}]
"""


def test_a_file_that_cannot_be_judged_hides_nothing_of_the_others(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(SERVICE)
    (tmp_path / "patch.yaml").write_text(PATCH)
    files = [str(tmp_path / name) for name in ("service.yaml", "nowhere.yaml", "patch.yaml")]
    ended = typed("lint", *files)
    assert ended.code == 2
    assert "error lint.issuer-replaced" in ended.out
    assert "service.yaml is of no form that podpass knows. [config.unknown-form]" in ended.err
    assert "nowhere.yaml cannot be used. [config.file]\nNo such file or directory." in ended.err
    ended = typed("lint", "--json", *files)
    assert [one["code"] for one in json.loads(ended.out)["findings"]] == ["lint.issuer-replaced"]


def test_where_nothing_can_be_judged_nothing_is_said_to_be_without_faults(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "service.yaml").write_text(SERVICE)
    assert typed("lint", str(tmp_path / "service.yaml")).out == ""


def test_a_federation_file_may_come_from_stdin(typed: Type) -> None:
    assert "warning lint.broad-role  stdin" in typed("lint", "-", stdin=FEDERATION).out
    ended = typed("lint", "-", stdin=FEDERATION.replace("roles/owner", "owner"))
    assert ended.code == 2
    assert "stdin:7:55: spec.workloads[0].roles[0]: 'owner' is not the name of an IAM role." in ended.err


def test_where_no_fault_was_found_is_said(typed: Type) -> None:
    sound = FEDERATION.replace("roles/owner", "roles/storage.objectViewer")
    assert typed("lint", "-", stdin=sound).out == "No faults found. Looked at: stdin.\n"
