# SPDX-License-Identifier: Apache-2.0
"""What `podpass rotate` does: a cluster gets another signing key, or another issuer, and no token is refused on the way.

`walk` goes from step to step, with a measured gate after each; `servers` asks every API server; `gates` has what any walk asks of them;
`ledger` keeps in the cluster how far it is; `instruction` is what a person does.

What is a key's own stands in `key`, what is an issuer's in `issuer`, under the same names: `beginning` says whether one can begin and with
what, `walk` has the steps, `gates` what has to hold between them, `sides` the cluster and Google as the walk asks them, `instructions` what
a person is told, `ledger` what is believed of what was kept.
"""
