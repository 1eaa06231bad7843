# SPDX-License-Identifier: Apache-2.0
"""What should be there: from a federation file, the facts and a move that is under way to resources.

`selection` finds the workloads that the file does not name (it asks the cluster; the rest is pure); `principals` says whom Google takes a
workload for, `condition` who may enter the pool, `offers` what the file gives on policies; `desired` builds the resources of it all.
"""
