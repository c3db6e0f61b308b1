# SPDX-License-Identifier: Apache-2.0
"""Chat models, which answer requests of pictures and text: in this process, or behind a server."""
