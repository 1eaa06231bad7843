# SPDX-License-Identifier: Apache-2.0
"""What calls over the network need, whoever is called.

`threads` starts a thread, `flights` are those that wait for answers, `deadline` ends the wait, `tender` makes calls that nobody has asked
for yet, `forks` wakes all of these in a child, and `direct` keeps plain http off proxies. `readings` asks many things at a time for a
command that somebody waits for, and `silence` ends it where nobody answers.
"""
