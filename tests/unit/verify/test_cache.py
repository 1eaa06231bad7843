# SPDX-License-Identifier: Apache-2.0
import threading
from hashlib import sha256

import pytest

from podpass.verify.cache import RESULT_LIMIT, ResultCache


def digest(number: int) -> bytes:
    return sha256(f"token-{number}".encode()).digest()


def test_a_result_is_found_under_its_own_digest_only() -> None:
    cache = ResultCache[str]()
    cache.put(b"a.b.c", "result")
    assert cache.get(b"a.b.c") == "result"
    assert cache.get(b"a.b.C") is None
    cache.put(b"a.b.c", "later")
    assert cache.get(b"a.b.c") == "later"
    assert len(cache) == 1


def test_the_number_of_results_is_bounded() -> None:
    cache = ResultCache[int](10)
    for number in range(1000):
        cache.put(digest(number), number)
        assert len(cache) <= 10
        assert cache.get(digest(number)) == number
    assert cache.get(digest(0)) is None
    assert ResultCache[int]()._half * 2 == RESULT_LIMIT


def test_what_is_used_stays_while_others_come_and_go() -> None:
    cache = ResultCache[int](10)
    cache.put(b"often", -1)
    for number in range(1000):
        cache.put(digest(number), number)
        if number % 4 == 0:
            assert cache.get(b"often") == -1
    assert cache.get(digest(500)) is None


def test_what_is_used_is_found_in_the_young_generation_which_is_always_the_same() -> None:
    cache = ResultCache[int](10)
    young = cache.young
    for number in range(5):
        cache.put(digest(number), number)
    assert young == {digest(number): number for number in range(5)}
    cache.put(digest(5), 5)
    assert young == {digest(5): 5}
    assert cache.get(digest(0)) == 0
    assert young == {digest(5): 5, digest(0): 0}
    assert repr(cache) == "<results of 6 tokens>"


def test_threads_see_their_own_results_or_none() -> None:
    cache = ResultCache[int](64)
    wrong: list[tuple[int, int]] = []
    start = threading.Barrier(4)

    def work(first: int) -> None:
        start.wait()
        for number in range(first, first + 3000):
            cache.put(digest(number), number)
            for other in (number, number - 7, first):
                found = cache.get(digest(other))
                if found not in (None, other):
                    wrong.append((other, found or 0))

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(cache) <= 64 + 4


def test_a_cache_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="two results or more"):
        ResultCache[int](1)
