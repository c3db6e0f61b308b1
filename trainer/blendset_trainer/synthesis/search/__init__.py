# SPDX-License-Identifier: Apache-2.0
"""The settings of a job, searched on a sample of prompts."""
