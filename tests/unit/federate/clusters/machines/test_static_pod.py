# SPDX-License-Identifier: Apache-2.0
"""In the static pod two flags change, and not a letter else."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podpass.errors import UnexpectedAnswerError
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.machines.static_pod import difference, drift, flags_of, setting_of, with_flags

OLD, NEW = "https://kubernetes.default.svc.cluster.local", "https://storage.googleapis.com/demo-oidc"
BOTH = ServiceAccountFlags((OLD, NEW), (OLD, NEW))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda word: not word.startswith(("--service-", "--api-")))
POD = f"""# made by hand: $(id) `id`
apiVersion: v1
kind: Pod
metadata: {{name: kube-apiserver}}
spec:
  containers:
  - name: side
    command: [side, --service-account-issuer=not-ours]
  - command:
    - kube-apiserver
    - --secure-port=7443
    - --service-account-issuer={OLD}  # signs
    - --admission-control-config-file="$(touch /pwned)"
    # a comment
    - --profiling=false
    image: kube-apiserver
    name: kube-apiserver
  hostNetwork: true
"""


def test_the_flags_are_read_from_kube_apiserver_alone() -> None:
    assert flags_of(POD, "it") == ServiceAccountFlags((OLD,))
    assert (setting_of(POD, "it", "secure-port"), setting_of(POD, "it", "none")) == ("7443", "")


def test_every_other_line_stays_as_it_is() -> None:
    after = with_flags(POD, BOTH, "it")
    assert flags_of(after, "it").issuers == (OLD, NEW)
    assert flags_of(after, "it").api_audiences == (OLD, NEW)
    changed = [line for line in difference(POD, after, "it").splitlines() if line[0] in "+-" and not line.startswith(("+++", "---"))]
    assert changed == [
        f"-    - --service-account-issuer={OLD}  # signs",
        f"+    - --service-account-issuer={OLD}",
        f"+    - --service-account-issuer={NEW}",
        f"+    - --api-audiences={OLD},{NEW}",
    ]
    assert with_flags(after, BOTH, "it") == after


def test_there_and_back_is_what_it_was_but_for_what_was_said_of_the_default() -> None:
    back = with_flags(with_flags(POD, BOTH, "it"), ServiceAccountFlags((OLD,), (OLD,)), "it")
    assert flags_of(back, "it").accepted_audiences == flags_of(POD, "it").accepted_audiences
    assert len(back.splitlines()) == len(POD.splitlines()) + 1


def test_flags_in_two_words_and_in_args_and_more_than_once_are_replaced() -> None:
    head = "spec:\n  containers:\n  - name: kube-apiserver\n    command:\n    - kube-apiserver\n    args:\n"
    words = ("--service-account-issuer", OLD, "--v=2", f"--api-audiences={OLD}", "--api-audiences=other")
    pod = head + "\n".join(f"      - {word}" for word in words)
    after = with_flags(pod, BOTH, "it")
    found = yaml.safe_load(after)["spec"]["containers"][0]["args"]
    assert found == [f"--service-account-issuer={OLD}", f"--service-account-issuer={NEW}", f"--api-audiences={OLD},{NEW}", "--v=2"]


@pytest.mark.parametrize(
    "issuer", ["https://a.example/x:", "https://a.example/'\"{}[]#&*!|>%@`", "https://a.example/\\n", "https://é.example"]
)
def test_a_word_that_yaml_would_read_otherwise_is_quoted(issuer: str) -> None:
    flags = ServiceAccountFlags((issuer, NEW), (issuer,))
    assert flags_of(with_flags(POD, flags, "it"), "it") == flags


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (f"spec: {{containers: [{{name: kube-apiserver, command: [kube-apiserver, --service-account-issuer={OLD}]}}]}}", "one on a line"),
        (POD.replace(f"- --service-account-issuer={OLD}  # signs", f"-\n      --service-account-issuer={OLD}"), "one on a line"),
        (POD.replace("--service-account-issuer=https", "--none=https"), "has no --service-account-issuer"),
        (POD.replace("    name: kube-apiserver\n", "    name: other\n"), "no container kube-apiserver"),
        (POD[: POD.index("--profiling") + 3].replace("- --admission", "- *admission"), "no YAML"),
        ("", "no container"),
        ("- a\n- b\n", "no container"),
        ("spec: {containers: [kube-apiserver, 7]}", "no container"),
    ],
)
def test_a_file_that_is_none_or_is_written_otherwise_is_left_alone(content: str, why: str) -> None:
    with pytest.raises(UnexpectedAnswerError) as refusal:
        with_flags(content, BOTH, "it")
    assert why in refusal.value.why


@given(st.lists(WORDS, max_size=6), st.integers(0, 6), st.sampled_from([40, 200]))
def test_whatever_words_somebody_wrote_stay_in_their_order_or_the_file_is_left_alone(words: list[str], at: int, width: int) -> None:
    command = ["kube-apiserver", *words[:at], f"--service-account-issuer={OLD}", *words[at:]]
    pod = yaml.safe_dump({"spec": {"containers": [{"name": "kube-apiserver", "command": command}]}}, width=width)
    try:
        after = with_flags(pod, BOTH, "it")
    except UnexpectedAnswerError:
        return
    found = yaml.safe_load(after)["spec"]["containers"][0]["command"]
    assert [word for word in found if not word.startswith(("--service-account-issuer", "--api-audiences"))] == ["kube-apiserver", *words]


def test_words_with_lines_quotes_and_variables_stay() -> None:
    words = ["--a=$(touch pwned)", "--b='x' \"y\"", "--c=l1\nl2\n", "--d=# no comment", "--e=: {}", "--f=\t\\"]
    command = ["kube-apiserver", *words[:3], f"--service-account-issuer={OLD}", *words[3:]]
    pod = yaml.safe_dump({"spec": {"containers": [{"name": "kube-apiserver", "command": command}]}}, width=30)
    found = yaml.safe_load(with_flags(pod, BOTH, "it"))["spec"]["containers"][0]["command"]
    assert [word for word in found if word.startswith("--") and not word.startswith(("--service-", "--api-"))] == words


def test_what_kubeadm_would_take_away_is_named() -> None:
    rendered = POD.replace("    - --profiling=false\n", "")
    assert drift(with_flags(POD, BOTH, "it"), rendered, "it") == ("--profiling=false",)
    assert drift(rendered, POD, "it") == ()
