# SPDX-License-Identifier: Apache-2.0
"""Models that answer in words, about pictures or text alone: in this process, or behind a server."""
