# SPDX-License-Identifier: Apache-2.0
"""Cloud Run: its Admin API (`api`, `services`), the processes of its services (`instance`, `instances`), and the front door before them."""
