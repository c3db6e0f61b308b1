# SPDX-License-Identifier: Apache-2.0
"""One module per command: its options, the call into the library, and what it prints."""
