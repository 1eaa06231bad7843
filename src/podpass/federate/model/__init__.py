# SPDX-License-Identifier: Apache-2.0
"""The nouns in which every other room of `federate` speaks. Nothing here asks anybody.

`resource` is a thing that podpass keeps and `marks` its signature on it; `facts` is what both sides say of themselves, `documents` what
an issuer publishes, `roles` what podpass gives of its own accord. `change`, `differences` and `plan` are what is to be done, as data;
`objection` is a reason to do nothing.
"""
