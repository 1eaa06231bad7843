# SPDX-License-Identifier: Apache-2.0
from podpass.sandbox.google.storage.checksums import crc32c_base64, md5_base64


def test_crc32c_is_castagnoli_s_check_value_in_big_endian_base64() -> None:
    assert crc32c_base64(b"123456789") == "4waSgw=="  # 0xe3069283: RFC 3720, B.4 names the polynomial, this is its usual check value


def test_md5_is_the_digest_of_rfc_1321_in_base64() -> None:
    assert md5_base64(b"abc") == "kAFQmDzST7DWlj99KOF/cg=="
