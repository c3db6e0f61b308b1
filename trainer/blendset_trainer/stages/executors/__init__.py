# SPDX-License-Identifier: Apache-2.0
"""Where a stage runs: here, in worker processes, on Ray. Each does the same shards and writes the same bytes."""
