# SPDX-License-Identifier: Apache-2.0
"""From a federation file and two live sides to a plan.

`prepared` asks both sides, has the plan made and judged, and keeps what applying it needs. `diff` compares what should be, what is and what
the receipt says; `lapse` tells where each change comes from.
"""
