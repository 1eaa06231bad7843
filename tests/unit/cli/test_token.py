# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopback_server import LoopbackServer, Reply
from podpass.verify import public_jwk
from token_forge import ISSUER, kubernetes_claims, rsa_signer

AUDIENCE = "//iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/demo/providers/cluster"
FEDERATION = """\
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {name: demo}
spec:
  google: {project: demo-project, pool: {id: demo}, provider: {id: cluster}}
  workloads: [{serviceAccount: shop/checkout}]
"""

Type = Callable[..., Any]


def token(**changed: object) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = {"aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600, **changed}
    return rsa_signer().token(kubernetes_claims(**claims))


@pytest.fixture
def explaining(tmp_path: Path) -> list[str]:
    """The arguments that need nobody: the file and the issuer's keys."""
    signer = rsa_signer()
    (tmp_path / "podpass.yaml").write_text(FEDERATION)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [public_jwk(signer.key.public_key(), signer.kid)]}))
    return ["token", "explain", "-f", str(tmp_path / "podpass.yaml"), "--jwks", str(tmp_path / "jwks.json")]


def test_a_token_is_taken_apart_without_its_signature(typed: Type) -> None:
    whole = token()
    ended = typed("token", "inspect", "-", stdin=f"  {whole}\n")
    assert (ended.code, ended.err) == (0, "")
    assert "Nothing here is verified." in ended.out
    assert "system:serviceaccount:shop:checkout" in ended.out
    assert whole.rpartition(".")[2] not in ended.out


def test_whoever_is_to_type_a_token_is_told_so(typed: Type) -> None:
    ended = typed("token", "inspect", stdin=token(), terminal=True)
    assert "Nothing here is verified." in ended.out
    assert ended.err == "The token is read from here; Ctrl-D after it. Or name its file: --token-file FILE.\n"


def test_an_id_token_comes_from_the_metadata_server(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(lambda _: Reply(200, b"an.id.token", {"Metadata-Flavor": "Google"})) as server:
        monkeypatch.setenv("GCE_METADATA_HOST", server.url.removeprefix("http://"))
        ended = typed("token", "get", "--source", "metadata", "--audience", "https://orders.example")
    assert (ended.code, ended.out, ended.err) == (0, "an.id.token\n", "")
    assert "audience=https%3A%2F%2Forders.example&" in server.seen[0].path


def test_moments_of_a_token_are_told_as_dates_where_there_are_such(typed: Type) -> None:
    ended = typed("token", "inspect", stdin=token(exp=1_772_366_400, nbf=10**18))
    assert "1772366400  (2026-03-01 12:00:00 UTC)" in ended.out
    assert f"{10**18}  (no moment that a clock can show)" in ended.out


def test_a_token_cannot_command_the_terminal(typed: Type) -> None:
    ended = typed("token", "inspect", stdin=token(sub="\x1b[2Jadmin"))
    assert "\x1b" not in ended.out
    assert "\N{REPLACEMENT CHARACTER}[2Jadmin" in ended.out


def test_the_parts_of_a_token_can_be_had_as_json(typed: Type) -> None:
    told = json.loads(typed("token", "inspect", "--json", stdin=token()).out)
    assert told["version"] == 1
    assert told["verified"] is False
    assert told["header"] == {"alg": "RS256", "kid": "rsa-1"}
    assert told["claims"]["sub"] == "system:serviceaccount:shop:checkout"


def test_a_token_is_read_from_a_file(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token())
    assert "system:serviceaccount:shop:checkout" in typed("token", "inspect", "--token-file", str(tmp_path / "token")).out


def test_a_token_as_an_argument_is_refused_and_not_repeated(typed: Type) -> None:
    whole = token()
    ended = typed("token", "inspect", whole)
    assert ended.code == 2
    assert ended.err == (
        "Error: The token was given as an argument. [config.token-argument]\n"
        "Arguments are seen by everybody on the machine, and stay in the shell's history.\n"
        "Next: Pipe it in: podpass token inspect - < FILE, or name its file: --token-file FILE.\n"
    )
    assert whole not in ended.out + ended.err


def test_what_is_no_token_is_refused(typed: Type) -> None:
    ended = typed("token", "inspect", stdin="not a token")
    assert ended.code == 1
    assert "[token.malformed]" in ended.err


def test_a_good_token_is_explained_check_by_check(typed: Type, explaining: list[str]) -> None:
    ended = typed(*explaining, stdin=token())
    assert (ended.code, ended.err) == (0, "")
    assert "Assumed: The file keeps the cluster's issuer, so the token's own is taken for\n         it." in ended.out
    assert "  ✓ signature" in ended.out
    assert "✗" not in ended.out
    assert ended.out.endswith(
        f"Google accepts it as principal:{AUDIENCE.partition('/providers')[0]}/subject/system:serviceaccount:shop:checkout\n"
    )


def test_the_first_check_that_fails_is_named_with_google_s_answer(typed: Type, explaining: list[str]) -> None:
    ended = typed(*explaining, stdin=token(sub="system:serviceaccount:shop:stranger"))
    assert ended.code == 1
    assert "  ✗ condition" in ended.out
    assert "  - expiry          not reached" in ended.out
    assert "unauthorized_client: The given credential is rejected by the attribute condition." in ended.out


def test_without_a_cluster_the_keys_may_be_named(
    typed: Type, explaining: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    ended = typed(*explaining[:-2], stdin=token())
    assert ended.code == 2
    assert "There is no kubeconfig. [config.kubeconfig-none]" in ended.err
    assert ended.err.endswith(" Or name the issuer's keys: --jwks FILE.\n")


def test_keys_that_are_none_are_named_by_their_file(typed: Type, explaining: list[str]) -> None:
    Path(explaining[-1]).write_text("no JSON")
    ended = typed(*explaining, stdin=token())
    assert ended.err.startswith(f"Error: {explaining[-1]}: The JWKS cannot be read. [keys.unusable]\n")


def test_a_project_number_that_is_not_known_is_said_to_be_assumed(typed: Type, explaining: list[str]) -> None:
    ended = typed(*explaining, stdin=token(aud=["somebody-else"]))
    assert "The number of project demo-project is not known, so it stands as 0 below;" in " ".join(ended.out.split())


def test_an_explanation_can_be_had_as_json(typed: Type, explaining: list[str]) -> None:
    ended = typed(*explaining, "--json", stdin=token(aud=["somebody-else"]))
    told = json.loads(ended.out)
    assert ended.code == 1
    assert told["refusal"]["error"] == "invalid_grant"
    assert [check["name"] for check in told["checks"] if not check["passed"]] == ["audience"]
    assert told["not_reached"][0] == "lifetime"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "file"], "No token file is named. [config.usage]\n--source file reads one.\nNext: Add --token-file PATH."),
        (
            [],
            (
                "No service account is named. [config.usage]\n--source request asks the API server for the token of one.\n"
                "Next: Add --service-account NAMESPACE/NAME."
            ),
        ),
    ],
)
def test_a_source_that_lacks_its_argument_names_it(typed: Type, arguments: list[str], message: str) -> None:
    ended = typed("token", "get", "--audience", "orders-api", *arguments)
    assert (ended.code, ended.err) == (2, f"Error: {message}\n")


def test_a_projected_token_is_printed_bare_so_that_it_can_be_piped_on(typed: Type, tmp_path: Path) -> None:
    whole = token()
    (tmp_path / "token").write_text(f"{whole}\n")
    ended = typed("token", "get", "--audience", AUDIENCE, "--source", "file", "--token-file", str(tmp_path / "token"))
    assert (ended.code, ended.out, ended.err) == (0, f"{whole}\n", "")


def test_a_projected_token_for_somebody_else_is_not_given_out(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token(aud=["https://kubernetes.default.svc"]))
    ended = typed("token", "get", "--audience", AUDIENCE, "--source", "file", "--token-file", str(tmp_path / "token"))
    assert (ended.code, ended.out) == (1, "")
    assert f"Its aud is ['https://kubernetes.default.svc'], not {AUDIENCE!r}." in ended.err


def test_whom_a_selector_may_find_is_judged_as_found_and_said_to_be(typed: Type, explaining: list[str], tmp_path: Path) -> None:
    selector = "{selector: {matchLabels: {app: shop}, namespaces: [shop]}}"
    (tmp_path / "podpass.yaml").write_text(FEDERATION.replace("{serviceAccount: shop/checkout}", selector))
    inside = typed(*explaining, "-", stdin=token())
    assert inside.code == 0
    assert "shop/checkout is taken for one that spec.workloads[0] finds" in " ".join(inside.out.split())
    outside = typed(*explaining, "-", stdin=token(sub="system:serviceaccount:other:checkout"))
    assert outside.code == 1
    assert "selects accounts" not in outside.out


POLICY = """\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {name: orders}
spec:
  audiences: [orders-api]
  issuers:
    cluster: {kind: kubernetes, url: "{ISSUER}", keys: apiserver}
    partner: {kind: kubernetes, url: "https://partner.example"}
  rules:
    - {name: open, paths: [/], members: ["kubernetes:partner/*/*"]}
    - {name: private, paths: [/private/**], methods: [GET], members: ["kubernetes:cluster/shop/checkout"], tokenReview: true}
"""


@pytest.fixture
def guarding(explaining: list[str], tmp_path: Path) -> list[str]:
    """The arguments that judge by a policy, and need nobody."""
    (tmp_path / "policy.yaml").write_text(POLICY.replace("{ISSUER}", ISSUER))
    return ["token", "explain", "--policy", str(tmp_path / "policy.yaml"), *explaining[-2:]]


def test_a_policy_s_guard_explains_each_check_and_each_rule(typed: Type, guarding: list[str]) -> None:
    ended = typed(*guarding, stdin=token(aud=["orders-api"]))
    assert (ended.code, ended.err) == (0, "")
    said = " ".join(ended.out.split())
    for name in ("form", "algorithm", "issuer", "key", "signature", "lifetime", "audience"):
        assert f"✓ {name} " in said
    assert "The caller is cluster/system:serviceaccount:shop:checkout." in said
    assert "✗ open every method on /. Does not name the caller." in said
    assert "✓ private GET on /private/**. Admits the caller. The guard asks the API server, too" in said


@pytest.mark.parametrize(
    ("changed", "check", "code"),
    [
        ({"aud": ["orders-api"], "iss": "https://nobody.example"}, "issuer", "token.wrong-issuer"),
        ({"aud": ["orders-api"], "exp": 1_000_000_000}, "lifetime", "token.expired"),
        ({"aud": ["somebody-else"]}, "audience", "token.wrong-audience"),
        ({"aud": ["orders-api", "another"]}, "audience", "token.several-audiences"),
        ({"aud": 7}, "form", "token.malformed"),
    ],
)
def test_the_check_of_the_guard_that_fails_is_named(
    typed: Type, guarding: list[str], changed: dict[str, object], check: str, code: str
) -> None:
    ended = typed(*guarding, "--json", stdin=token(**changed))
    told = json.loads(ended.out)
    assert ended.code == 1
    assert [each["name"] for each in told["checks"] if each["state"] == "failed"] == [check]
    assert (told["refusal"]["code"], told["caller"], told["rules"]) == (code, None, [])


def test_a_signature_of_another_cluster_is_told(typed: Type, guarding: list[str]) -> None:
    header, payload, _ = token(aud=["orders-api"]).split(".")
    ended = typed(*guarding, stdin=f"{header}.{payload}.{token().rpartition('.')[2]}")
    assert ended.code == 1
    assert "  ✗ signature" in ended.out
    assert "  - lifetime        not reached" in ended.out
    assert "The guard refuses it: token.bad-signature." in ended.out


def test_whom_no_rule_admits_the_explanation_does_not_call_good(typed: Type, guarding: list[str]) -> None:
    claims = kubernetes_claims(sub="system:serviceaccount:shop:stranger")
    account = claims["kubernetes.io"] | {"serviceaccount": {"name": "stranger", "uid": "u"}}
    ended = typed(*guarding, stdin=token(aud=["orders-api"], sub=claims["sub"], **{"kubernetes.io": account}))
    assert ended.code == 1
    assert ended.out.count("✗") == 2


def test_without_keys_a_policy_of_the_cluster_s_own_asks_its_kubeconfig(
    typed: Type, guarding: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    ended = typed(*guarding[:-2], stdin=token(aud=["orders-api"]))
    assert ended.code == 2
    assert "--jwks FILE" in ended.err


def test_a_policy_that_only_audits_is_said_to(typed: Type, guarding: list[str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy.read_text().replace("spec:\n", "spec:\n  mode: audit\n"))
    ended = typed(*guarding, stdin=token(aud=["orders-api"]))
    assert ended.code == 0
    assert "The policy only audits" in ended.out


def test_a_policy_that_is_not_there_is_told_with_what_to_name(typed: Type, guarding: list[str], tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").unlink()
    ended = typed(*guarding, stdin=token())
    assert ended.code == 2
    assert "by --policy" in ended.err


def test_google_and_a_guard_are_asked_one_at_a_time(typed: Type, guarding: list[str]) -> None:
    ended = typed(*guarding, "-f", "podpass.yaml", stdin=token())
    assert ended.code == 2
    assert "--policy and -f do not go together." in ended.err
