# SPDX-License-Identifier: Apache-2.0
"""What is there: both sides are asked, as many things at once as they bear.

`observed` reads the federation's things, `survey` these and the facts in one round. `permissions` says what the operator has to be allowed,
`preflight` asks whether that is so.
"""
