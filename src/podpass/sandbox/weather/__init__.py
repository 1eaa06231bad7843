# SPDX-License-Identifier: Apache-2.0
"""Bad weather on demand.

`faults` says what shall go wrong, `fields` how a file says it, `weather` decides which request it strikes, `connection` does to a
connection what a network does.
"""
