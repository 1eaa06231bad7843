# SPDX-License-Identifier: Apache-2.0
"""A small universe on loopback: Google's side and Kubernetes' side, speaking the real protocols to unmodified clients.

Here: the store that everything is kept in, the authority that signs the certificates, the proxy that keeps every request inside, the
Google services as tables of declared methods (`google/`), and `sandbox.py`, which starts it all (`parts.py`); `hosting.py` does so in a
thread. Not here: anything of the product; it and the sandbox meet over HTTP only.
"""
