# SPDX-License-Identifier: Apache-2.0
"""What podpass writes down in the cluster, in the namespace podpass-system: what it has made, and what it has begun.

`receipt` lists what podpass made (`identities`: what may stand in it; `bookkeeping`: what it says before and after the acts), and
`receipt_store` keeps it. `under_way` reads the rotation that has begun: `issuer_move` is the one that changes what has to be there,
`state_text` the form in which it is kept. `own_config_map` and `own_namespace` are where all of it lives.
"""
