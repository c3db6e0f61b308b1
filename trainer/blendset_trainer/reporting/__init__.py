# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML page that shows a whole dataset, holds everything it needs, and asks no network for anything."""
