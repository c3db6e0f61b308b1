# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of diffusion models on datasets: noise levels, the plan over them, data, the loop and its checkpoints."""
