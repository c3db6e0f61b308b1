# SPDX-License-Identifier: Apache-2.0
"""Where to put cameras: subjects, candidates, gates, scores and selection, all without Blender.

The scene is asked through `scene.Geometry`; what Blender answers there, an analytic scene answers in the tests.
"""
