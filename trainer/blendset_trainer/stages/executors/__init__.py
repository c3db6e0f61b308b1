# SPDX-License-Identifier: Apache-2.0
"""Where a stage runs: in this process, in worker processes, or on Ray. Every executor writes the same bytes."""
