# SPDX-License-Identifier: Apache-2.0
from podpass.net.direct import through_a_proxy


def test_the_refusal_names_the_service_and_no_password_of_its_url() -> None:
    refusal = through_a_proxy("http://ann:hunter2@orders.shop.svc:8080/x?key=1")
    assert refusal.what == "No token is sent to http://orders.shop.svc:8080: a proxy is on the way."
    assert "hunter2" not in str(refusal)
