# SPDX-License-Identifier: Apache-2.0
"""Plans made true, and the way back: whatever stops a run, the next one ends where one run would have.

`steps` puts changes in their order, `run` makes them as parallel as the order allows, `acts` knows the calls; a `turn` keeps two people
from working at once. `apply`, `destroy` and `key_sync` are what the commands `apply`, `destroy` and `keys sync` do.
"""
