# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage: buckets, objects and their uploads over the JSON API, and what anybody may read at `https://storage.googleapis.com/BUCKET/OBJECT`."""
