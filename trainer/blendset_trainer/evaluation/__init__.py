# SPDX-License-Identifier: Apache-2.0
"""The judge: measures pictures, datasets and models, and compares them fairly."""
