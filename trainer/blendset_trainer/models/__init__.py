# SPDX-License-Identifier: Apache-2.0
"""Models of any kind: finding their weights, loading them, chatting with them, and running out of memory."""
