# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of diffusion models on datasets: settings, data, the timestep plan, the loop, checkpoints."""
