# SPDX-License-Identifier: Apache-2.0
"""Models that answer in words when they are shown pictures: loaded here, or behind a server."""
