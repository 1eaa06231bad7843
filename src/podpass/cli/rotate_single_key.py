# SPDX-License-Identifier: Apache-2.0
"""`podpass rotate --key` on a cluster that can have one key only: says what would be refused, and does not begin."""

from typing import TYPE_CHECKING

import click

from podpass.cli.session import Session
from podpass.cli.wrapping import wrap
from podpass.errors import PlanError

if TYPE_CHECKING:
    from podpass.federate.clusters.evidence import Evidence


def refuse_single_key(session: Session, evidence: "Evidence") -> None:
    """Print what replacing the key would refuse, and refuse to begin; nothing where the cluster can have several keys.

    Raises:
        PlanError: The cluster can have one key only.
    """
    from podpass.federate.rotation.key.secrets import lasting_tokens
    from podpass.federate.rotation.key.single_key import report
    from podpass.kube.issuer import get_jwks
    from podpass.verify import KeySet

    life = max(one.token.expiration for one in session.federation.patterns)
    if report(evidence, life, ()) is None:
        return
    lasting = lasting_tokens(session.cluster, KeySet.parse(get_jwks(session.cluster)).keys)
    found = report(evidence, life, None if lasting is None else tuple(lasting))
    assert found is not None
    click.secho(f"Replacing the one key of {session.where}: what will be refused", bold=True)
    click.echo(wrap("  Computed from the lives of tokens and from when kubelet renews them; nothing of it is measured yet.", rest=2))
    for refusal in found.refusals():
        click.echo(wrap(f"  - {refusal}", rest=4))
    click.secho("If it has to be all the same", bold=True)
    for step in found.steps():
        click.echo(f"    {step}")
    click.echo()
    raise PlanError(
        "Nothing was changed: this cluster can have one key only, so none can be brought in beside it.",
        f"Its control plane runs Talos {found.release}; before 1.14 a server accepts the key that it signs with, and no other.",
        "Upgrade every control-plane node to Talos 1.14 or later, then rotate. Until then keep the key, or do what is listed above.",
        code="plan.single-key",
    )
