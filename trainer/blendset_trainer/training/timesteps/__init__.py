# SPDX-License-Identifier: Apache-2.0
"""Which source trains which noise levels: settings, bands, the plan, its report, and calibration."""
