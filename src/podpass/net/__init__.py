# SPDX-License-Identifier: Apache-2.0
"""What every call over the network needs, whoever is called: `direct` keeps plain http off proxies."""
