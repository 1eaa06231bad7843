# SPDX-License-Identifier: Apache-2.0
"""The forms in which people write what kube-apiserver is told, each read into statements."""
