# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage as one table of methods."""

from podpass.sandbox.google.service import Service, methods_of
from podpass.sandbox.google.storage import buckets, objects, uploads
from podpass.sandbox.google.storage.refusals import denial, render
from podpass.sandbox.google.storage.scopes import WRITE
from podpass.sandbox.google.storage.signed_urls import signer_of

SERVICE = Service(
    name="storage.googleapis.com",
    title="Cloud Storage JSON API",
    discovery="storage.v1",
    methods=tuple(each for module in (buckets, objects, uploads) for each in methods_of(module.__name__)),
    scopes=WRITE,
    fault=render,
    denial=denial,
    signer=signer_of,
    anonymous=True,
)
