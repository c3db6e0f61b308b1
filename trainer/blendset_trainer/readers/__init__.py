# SPDX-License-Identifier: Apache-2.0
"""Reads what people bring: pictures and tables of captions, whatever made them."""
