# SPDX-License-Identifier: Apache-2.0
"""Cloud Run: its Admin API, the processes of its services, and the front door before them."""
