# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML page that shows a dataset, holds everything it needs, and fetches nothing from a network."""
