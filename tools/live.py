# SPDX-License-Identifier: Apache-2.0
"""Walk podpass's commands against a real Google project and a real cluster, and undo what was made.

    make live PROJECT=my-project

Works with the kubeconfig and the Google credentials of whoever runs it. Everything that is made has a name of its own, `podpass-live-…`,
and is taken away at the end, also after a failure. Left behind: a deleted pool, whose id stays taken for 30 days, and APIs that had to be
enabled.
"""

import argparse
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from podpass.errors import ConfigError
from podpass.names.project import check_project_id

PODPASS = str(Path(sys.executable).with_name("podpass"))
# How long Google may take until a policy or a provider is in effect everywhere; minutes are normal.
PATIENCE_S = 600
PAUSE_S = 20
FILE = """\
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {{name: {name}}}
spec:
  google:
    project: {project}
    pool: {{id: {name}, displayName: podpass live test}}
    provider: {{id: cluster}}
  workloads:
    - serviceAccount: {name}/direct
      roles: [roles/browser]
      credentials: {{configMap: direct}}
    - serviceAccount: {name}/impersonating
      googleServiceAccount: {name}
      roles: [roles/browser]
      credentials: {{configMap: impersonating}}
"""


class FailedError(Exception):
    """A step did not do what it should."""


def run(*command: str, folder: Path, codes: Sequence[int] = (0,)) -> str:
    """Run a command that has to end with one of these codes; return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise FailedError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def told(what: str, step: Callable[[], object]) -> None:
    """Do a step and say how long it took."""
    began = time.monotonic()
    step()
    print(f"  ✓ {what} ({time.monotonic() - began:.1f} s)", flush=True)


def until_healthy(folder: Path) -> None:
    """Run doctor until the chain holds."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            run(PODPASS, "doctor", folder=folder)
        except FailedError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(PAUSE_S)
        else:
            return


def nothing_is_left(folder: Path) -> None:
    """See that a new plan would have to make everything again."""
    plan = json.loads(run(PODPASS, "plan", "--json", folder=folder))
    actions = {change["address"]: change["action"] for change in plan["changes"]}
    left = {address for address, action in actions.items() if action not in {"create", "undelete"}}
    missing = {f"{kind}/{plan['federation']}" for kind in ("pool", "account")} - actions.keys()
    if left | missing:
        raise FailedError(f"Still there after destroy: {', '.join(sorted(left | missing))}")


def walk(folder: Path, name: str) -> None:
    """Do everything once."""
    kubectl = ("kubectl", "--namespace", name)
    told("namespace and accounts", lambda: [
        run("kubectl", "create", "namespace", name, folder=folder),
        run(*kubectl, "create", "serviceaccount", "direct", folder=folder),
        run(*kubectl, "create", "serviceaccount", "impersonating", folder=folder),
    ])  # fmt: skip
    told("plan finds everything to be made", lambda: run(PODPASS, "plan", "--exit-code", folder=folder, codes=(10,)))
    told("apply", lambda: run(PODPASS, "apply", "--yes", folder=folder))
    told("a second plan finds nothing to do", lambda: run(PODPASS, "plan", "--exit-code", folder=folder))
    told("doctor: real tokens are exchanged and used", lambda: until_healthy(folder))
    told("keys sync finds nothing to do", lambda: run(PODPASS, "keys", "sync", "--yes", folder=folder))
    told("destroy", lambda: run(PODPASS, "destroy", "--yes", folder=folder))
    told("nothing is left", lambda: nothing_is_left(folder))


def undo(folder: Path, name: str) -> bool:
    """Take away whatever is there; return whether that worked."""
    is_done = True
    for command in ((PODPASS, "destroy", "--yes"), ("kubectl", "delete", "namespace", name, "--ignore-not-found")):
        try:
            run(*command, folder=folder)
        except FailedError as error:
            print(f"  ✗ not undone: {error}", flush=True)
            is_done = False
    return is_done


def project_id(text: str) -> str:
    """Refuse what is no project before anything is made, as `make live` without PROJECT."""
    try:
        return check_project_id(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error} For example: make live PROJECT=my-project") from error


def main() -> int:
    """Walk, undo, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=project_id, required=True, help="the Google project; its IAM is changed and changed back")
    project = parser.parse_args().project
    name = f"podpass-live-{uuid.uuid4().hex[:6]}"
    with TemporaryDirectory(prefix=name) as directory:
        folder = Path(directory)
        (folder / "podpass.yaml").write_text(FILE.format(name=name, project=project))
        print(f"{name} in project {project}:", flush=True)
        try:
            walk(folder, name)
        except (FailedError, KeyboardInterrupt) as error:
            print(f"  ✗ {error}", flush=True)
            undo(folder, name)
            return 1
        return 0 if undo(folder, name) else 1


if __name__ == "__main__":
    sys.exit(main())
