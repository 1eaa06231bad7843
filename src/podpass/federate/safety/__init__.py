# SPDX-License-Identifier: Apache-2.0
"""What is said of a plan before anybody makes it true; nothing here asks the network.

`refusals` is what no flag makes right, `allowances` what the operator has to say first, `cautions` what is legal and unwise (`situation`:
what these look at). The others look at one matter each: the `other_providers` of the pool, `references` to what somebody else keeps,
`strangers` who can do what a workload can, `limits` of Google's, the `reach` of selectors.
"""
