# SPDX-License-Identifier: Apache-2.0
"""`podpass rotate --key`: another signing key for the cluster, with a measured gate after each step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from podpass.cli.duration import in_words
from podpass.cli.rotate_options import Options, check_begins, continued, longest_life, outliving
from podpass.cli.rotate_screen import Screen
from podpass.cli.rotate_single_key import refuse_single_key
from podpass.cli.session import Session, confirm
from podpass.cli.wrapping import wrap

if TYPE_CHECKING:
    from podpass.federate.rotation.key.ledger import KeyLedger
    from podpass.federate.rotation.key.rotation import Rotation
    from podpass.federate.rotation.key.sides import KeySides

_TITLES = {
    "announce": "A new key, beside the old one",
    "publish": "Google learns it",
    "switch": "The key that stays signs",
    "wait": "The last token of the leaving key ends",
    "retire": "The leaving key is not accepted any more",
    "forget": "Google forgets it",
}


def run(session: Session, options: Options) -> None:
    """Rotate the key, or go on with it, or back."""
    from podpass.federate.clusters.gathering import gather
    from podpass.federate.clusters.portrait import draw
    from podpass.federate.rotation.key.beginning import begin
    from podpass.federate.rotation.key.walk import KeyWalk

    with _live(session) as (sides, ledger):
        rotation = ledger.read()
        ledger.lost(options.removed)
        evidence = gather(session.cluster)
        portrait = draw(evidence)
        if rotation is None:
            check_begins("--key", options)
            refuse_single_key(session, evidence)
            rotation = begin(sides.control_plane(), sides.known_kids, longest_life(portrait, options.longest_token))
        else:
            rotation = outliving(continued(rotation, options), portrait, options.longest_token)
        _inventory(session, rotation)
        confirm("Go on?", yes=options.yes, command="rotate")
        distribution = portrait.distribution.value
        done = KeyWalk(sides, ledger, Screen(_TITLES), distribution.name if distribution else None, options.wait).go(rotation)
    click.echo(wrap(f"{_end(done)} `podpass doctor` walks the chain with a real token."))


def _end(rotation: "Rotation") -> str:
    """Say what is in force now."""
    if not rotation.is_back:
        return "The rotation is done."
    kids = ", ".join(f"{kid[:12]}…" for kid in sorted(rotation.remains))
    return (
        f"The rotation was taken back: {rotation.signer[:12]}… signs, as before, and the cluster and Google accept {kids} and no other key."
    )


@contextmanager
def _live(session: Session) -> "Iterator[tuple[KeySides, KeyLedger]]":
    from podpass.federate.planning.prepared import prepare
    from podpass.federate.rotation.key.ledger import KeyLedger
    from podpass.federate.rotation.key.sides import KeySides
    from podpass.google.connections import new_http

    with new_http() as http:
        facts = prepare(session.federation, session.google, session.cluster).facts
        assert facts is not None
        sides = KeySides(session.federation, session.google, session.cluster, http, facts)
        yield sides, KeyLedger(session.cluster, session.federation.name)


def _inventory(session: Session, rotation: "Rotation") -> None:
    from podpass.federate.rotation.key.secrets import lasting_tokens

    click.secho(f"{'Going back with' if rotation.is_back else 'Rotating'} the signing key of {session.where}", bold=True)
    click.echo(
        wrap(
            f"  Keys at the beginning: {', '.join(f'{kid[:12]}…' for kid in sorted(rotation.old))}; {rotation.signer[:12]}… signed.", rest=4
        )
    )
    life = in_words(rotation.longest_token)
    click.echo(wrap(f"  A token lives {life} at most, so the old key stays accepted that long after the switch (--longest-token).", rest=4))
    lasting = lasting_tokens(session.cluster, rotation.old)
    if lasting is None:
        click.echo(wrap("  Secrets of type kubernetes.io/service-account-token cannot be listed: make sure that none is in use.", rest=4))
    elif lasting:
        click.echo(
            wrap("  Tokens in Secrets never end by themselves. Make these anew after the switch, before the old key leaves:", rest=4)
        )
        for name in lasting:
            click.echo(f"    {name}")
    click.echo()
