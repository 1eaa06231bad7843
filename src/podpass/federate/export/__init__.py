# SPDX-License-Identifier: Apache-2.0
"""What is written for people to keep or to run themselves. Pure.

`draft` is a first federation file, `script` a plan as commands of gcloud and kubectl, `manifests` the cluster's side of one.
"""
