# SPDX-License-Identifier: Apache-2.0
"""Where a subject token is read: the projected file of a pod, or the API server's TokenRequest.

A source is anything with `read() -> Secret[str]`; it is asked anew for every exchange, since tokens are renewed under it.
"""
