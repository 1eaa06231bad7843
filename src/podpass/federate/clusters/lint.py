# SPDX-License-Identifier: Apache-2.0
"""Names each fault of a change to a control plane, before it is made. Pure.

A change is judged alone, or against the cluster that it is meant for; what can be told only so is a warning without it.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from podpass.federate.clusters.finding import Finding, Standing
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, JWKS_URI, SIGNING_KEY_FILE
from podpass.federate.clusters.google_audience import is_google_audience
from podpass.federate.clusters.statement import ProjectedToken, Statement
from podpass.verify import thumbprint_kid
from podpass.verify.algorithms import PublicKey

# Google refuses a subject token whose `exp` is 48 hours or more after its `iat`. [M]
GOOGLE_LIMIT: Final = timedelta(hours=48)
RECOMMENDED: Final = timedelta(hours=6)
# kube-apiserver's own limit of --service-account-max-token-expiration.
_LEAST_MAXIMUM: Final = timedelta(hours=1)
_Rule = Callable[[Statement, Standing | None], Iterator[Finding]]


def findings(statements: tuple[Statement, ...], now: Standing | None = None) -> list[Finding]:
    """Return every fault of what files say.

    Args:
        statements: From `reading.read`.
        now: The cluster that they are meant for; None: nobody asked one.
    """
    return [finding for statement in statements for rule in RULES for finding in rule(statement, now)]


def _google_audience(said: Statement, _: Standing | None) -> Iterator[Finding]:
    for audience in said.flags.api_audiences:
        if is_google_audience(audience):
            yield google_audience(said.where, audience)


def google_audience(where: str, audience: str) -> Finding:
    """Return the fault of an API server that takes tokens meant for Google."""
    return Finding(
        "lint.google-audience",
        "error",
        where,
        f"{API_AUDIENCES} holds {audience!r}, which is Google's.",
        "Google alone checks that audience. Here it lets whoever gets hold of a token for Google use it against the API server, too.",
        "Leave it out: a pod asks for that audience in its projected token, and no API server has to know it.",
    )


def _issuer_replaced(said: Statement, now: Standing | None) -> Iterator[Finding]:
    issuers = said.flags.issuers
    if not said.is_change or not issuers or ISSUER in said.kept:
        return
    if now and now.issuers:
        missing = [one for one in now.issuers if one not in issuers]
        if missing:
            yield _replaced(said, f"{ISSUER} becomes {', '.join(issuers)}; {missing[0]} is not accepted any more.")
    elif len(issuers) == 1:
        yield _replaced(said, f"{ISSUER} becomes {issuers[0]}, and nothing else is accepted.")


def _replaced(said: Statement, what: str) -> Finding:
    return Finding(
        "lint.issuer-replaced",
        "error",
        said.where,
        what,
        "Every token that pods hold now names the former issuer and is refused at once: system pods lose the API server until kubelet "
        "brings them new ones, up to 51 minutes later. While one server after another changes, tokens work on some of them only.",
        "Keep the issuer: Google takes any https issuer with inline keys. Or give both, new first, where flags may be repeated: "
        "`podpass export --format control-plane` writes it.",
    )


def _audience_dropped(said: Statement, now: Standing | None) -> Iterator[Finding]:
    audiences = said.flags.api_audiences
    if not said.is_change or not audiences or API_AUDIENCES in said.kept:
        return
    # A flag that was not given has the issuers for its default, the new ones among them.
    wanted = [*(now.audiences if now else ()), *said.required_audiences, *said.flags.issuers]
    missing = [one for one in dict.fromkeys(wanted) if one not in audiences and not is_google_audience(one)]
    if missing:
        yield Finding(
            "lint.audience-dropped",
            "error",
            said.where,
            f"{API_AUDIENCES} becomes {', '.join(audiences)}, without {', '.join(missing)}.",
            "The flag takes the place of its default. Tokens for an audience that is left out are refused by the API server.",
            f"Name {', '.join(missing)} too, or leave the flag out: its default is every issuer.",
        )
    elif now is None:
        yield Finding(
            "lint.audience-dropped",
            "warning",
            said.where,
            f"{API_AUDIENCES} becomes {', '.join(audiences)}.",
            "The flag takes the place of its default. Whether an audience is lost cannot be told without the cluster.",
            "Run `podpass lint --cluster` with the cluster's kubeconfig.",
        )


def _key_replaced(said: Statement, now: Standing | None) -> Iterator[Finding]:
    gives_file = said.is_change and said.gives(SIGNING_KEY_FILE) and len(said.flags.key_files) < 2  # noqa: PLR2004 - the old and the new
    kid = kid_of(said.private_key) if said.private_key else None
    is_other = bool(said.private_key) and (kid not in now.kids if now and kid else said.is_change)
    if (gives_file or is_other) and not said.accepted_keys:
        yield Finding(
            "lint.key-replaced",
            "error",
            said.where,
            "The key that signs tokens is replaced, and the former one verifies nothing any more.",
            "The API server refuses every token in use at once, and Google the new ones until the key is published; tokens in Secrets "
            "never recover. A new key is seldom needed: Google takes ES256 as well as RS256, and Talos has made RSA keys since 1.7.",
            "Keep the key. To rotate it, let the former one verify until the longest token has ended.",
        )


def _whole_replaced(said: Statement, _: Standing | None) -> Iterator[Finding]:
    for path in said.replaced:
        yield Finding(
            "lint.whole-replaced",
            "error",
            said.where,
            f"The patch puts a new value at {path}, in place of everything that is there.",
            "JSON patch's `add` replaces what exists: certSANs, admission control, the audit policy and other flags are lost.",
            "Write a strategic-merge patch: it changes what it names and nothing else.",
        )


def _json_patch(said: Statement, _: Standing | None) -> Iterator[Finding]:
    if said.is_json_patch:
        yield Finding(
            "lint.json-patch",
            "warning",
            said.where,
            "It is a JSON patch (RFC 6902).",
            "Talos refuses those on configurations of several documents, which is what Talos 1.14 and later makes.",
            "Write a strategic-merge patch.",
        )


def _removed_option(said: Statement, _: Standing | None) -> Iterator[Finding]:
    for option in said.options:
        yield Finding(
            "lint.removed-option",
            "error",
            said.where,
            f"talosctl has no option {option}.",
            "It was deprecated in Talos 1.0 and is gone since 1.5.",
            "Leave it out: changes below `cluster` need no reboot, and `--mode` says how they are made.",
        )


def _refused_flag(said: Statement, _: Standing | None) -> Iterator[Finding]:
    for name in said.refused:
        yield Finding(
            "lint.refused-flag",
            "error",
            said.where,
            f"extraArgs holds {name}.",
            "Talos renders this flag itself and refuses the whole configuration of kube-apiserver.",
            "Give the key in cluster.serviceAccount.key, or since Talos 1.14 in KubeServiceAccountConfig.",
        )


def _issuer_form(said: Statement, _: Standing | None) -> Iterator[Finding]:
    for issuer in said.flags.issuers:
        # What holds a variable of a script cannot be judged.
        if "$" not in issuer and (not issuer.startswith("https://") or "?" in issuer or "#" in issuer):
            yield issuer_form(said.where, issuer)


def issuer_form(where: str, issuer: str) -> Finding:
    """Return the fault of an issuer that nobody outside can trust."""
    return Finding(
        "lint.issuer-form",
        "error",
        where,
        f"The issuer is {issuer!r}.",
        "Google takes https URLs only, and kube-apiserver publishes no discovery document for others, nor for those with ? or #.",
        "Write https://HOST/PATH.",
    )


def _jwks_uri(said: Statement, _: Standing | None) -> Iterator[Finding]:
    if said.gives(JWKS_URI):
        yield from jwks_uri(said.where, said.flags.jwks_uri, said.flags.issuers)


def jwks_uri(where: str, uri: str, issuers: tuple[str, ...]) -> Iterator[Finding]:
    """Judge the address of the keys that the discovery document names."""
    if "$" in uri:
        return
    home = issuers[0].rstrip("/") if issuers else ""
    cure = "Leave the flag out: podpass publishes a discovery document of its own beside the keys."
    if not uri.startswith("https://"):
        why = "kube-apiserver does not start: it takes https URLs only."
        yield Finding("lint.jwks-uri", "error", where, f"{JWKS_URI} is {uri!r}.", why, cure)
    elif home and not uri.startswith(f"{home}/"):
        why = (
            "It only changes the address that the discovery document names, and moves nothing. Strict verifiers refuse keys from elsewhere."
        )
        yield Finding("lint.jwks-uri", "warning", where, f"{JWKS_URI} is {uri!r}, which is not below the issuer {home}.", why, cure)


def _longest_token(said: Statement, _: Standing | None) -> Iterator[Finding]:
    longest = said.flags.max_token_expiration
    if longest is not None and longest < _LEAST_MAXIMUM:
        yield Finding(
            "lint.max-expiration",
            "error",
            said.where,
            f"service-account-max-token-expiration is {longest}.",
            "kube-apiserver does not start: it takes an hour at least.",
            "Write 1h or more, or leave it out.",
        )


def _token_life(said: Statement, _: Standing | None) -> Iterator[Finding]:
    for token in said.tokens:
        yield from token_life(said.where, token)


def token_life(where: str, token: ProjectedToken) -> Iterator[Finding]:
    """Judge how long a pod's token for Google lives."""
    if not is_google_audience(token.audience) or token.life <= RECOMMENDED:
        return
    hours = f"{token.life.total_seconds() / 3600:g} h"
    is_refused = token.life >= GOOGLE_LIMIT
    yield Finding(
        "lint.token-life",
        "error" if is_refused else "warning",
        where,
        f"{token.pod} asks for a token for Google that lives {hours}.",
        "Google refuses tokens of 48 hours and more."
        if is_refused
        else "Whoever gets hold of it may use it that long, also after the pod is gone.",
        "Write expirationSeconds: 3600. kubelet renews it in time, and Google's libraries read it again.",
    )


RULES: Final[tuple[_Rule, ...]] = (
    _google_audience,
    _issuer_replaced,
    _audience_dropped,
    _key_replaced,
    _whole_replaced,
    _json_patch,
    _removed_option,
    _refused_flag,
    _issuer_form,
    _jwks_uri,
    _longest_token,
    _token_life,
)


def kid_of(pem: str) -> str | None:
    """Return the id of a private key's public half; None for what is no key."""
    try:
        public = load_pem_private_key(pem.encode(), None).public_key()
    except (ValueError, TypeError):
        return None
    return thumbprint_kid(public) if isinstance(public, PublicKey) else None
