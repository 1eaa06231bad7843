# SPDX-License-Identifier: Apache-2.0
"""Machines of a control plane that have a shell: read, shown what changes, changed, one at a time.

`shell` runs a script on a node and `script` puts one together; `static_pod` and `rancher_files` know the files (pure); `kubeadm` and
`rancher` are the machines; `drive` chooses by the distribution.
"""
