# SPDX-License-Identifier: Apache-2.0
"""The cluster itself: what it is, what is wrong with how it issues tokens, and how its control plane is changed.

`gathering` asks a cluster, `portrait` says what the answers mean, each file of `distributions` knows one distribution. `reading` and
`lint` judge files and live clusters. Everything but `gathering` is pure.
"""
