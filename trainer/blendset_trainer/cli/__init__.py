# SPDX-License-Identifier: Apache-2.0
"""The command line: a shell around the library, imported by nobody."""
