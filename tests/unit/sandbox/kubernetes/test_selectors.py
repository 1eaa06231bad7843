# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.sandbox.kubernetes.selectors import field_test, label_test
from podpass.sandbox.kubernetes.status import StatusError

SHOP = {"metadata": {"name": "a", "labels": {"app": "shop", "tier": "web"}}, "spec": {"nodeName": "n1", "hostNetwork": False}}
BARE = {"metadata": {"name": "b"}, "spec": {}}


@pytest.mark.parametrize(
    ("selector", "shop", "bare"),
    [
        ("", True, True),
        ("app=shop", True, False),
        ("app==shop,tier=web", True, False),
        ("app=shop, tier!=web", False, False),
        ("app!=shop", False, True),
        ("app in (shop, bank)", True, False),
        ("app notin (shop,bank)", False, True),
        ("app", True, False),
        ("!app", False, True),
        ("app in (bank),tier", False, False),
    ],
)
def test_label_selector(selector: str, shop: object, bare: object) -> None:
    test = label_test(selector)
    assert (test(SHOP), test(BARE)) == (shop, bare)


@pytest.mark.parametrize(
    ("selector", "shop", "bare"),
    [
        ("metadata.name=a", True, False),
        ("spec.nodeName=", False, True),
        ("spec.nodeName!=n1", False, True),
        ("metadata.name=a,spec.nodeName=n1", True, False),
        ("spec.hostNetwork=false", True, False),
    ],
)
def test_field_selector(selector: str, shop: object, bare: object) -> None:
    test = field_test(selector, ("metadata.name", "spec.nodeName", "spec.hostNetwork"))
    assert (test(SHOP), test(BARE)) == (shop, bare)


def test_field_that_a_kind_has_not_is_named() -> None:
    with pytest.raises(StatusError, match=r'"spec\.x" is not a known field selector: only "metadata\.name", "metadata\.namespace"'):
        field_test("spec.x=1", ("metadata.name", "metadata.namespace"))


@pytest.mark.parametrize("selector", ["a b", "=x", "a in b"])
def test_label_selector_of_no_form_is_400(selector: str) -> None:
    with pytest.raises(StatusError) as caught:
        label_test(selector)
    assert caught.value.code == 400
