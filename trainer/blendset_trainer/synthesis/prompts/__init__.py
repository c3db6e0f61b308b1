# SPDX-License-Identifier: Apache-2.0
"""Prompts for generators, from a dataset's captions and labels: by a grammar or a model, curated, guarded, as JSONL."""
