# SPDX-License-Identifier: GPL-3.0-or-later
"""What panels and buttons are called in other languages; a further language is a further table."""

from __future__ import annotations

import bpy

GERMAN = {
    "Plan": "Planung",
    "Plan Cameras": "Kameras planen",
    "Subjects": "Motive",
    "Left Out": "Ausgelassen",
    "Limits": "Grenzen",
    "Cameras": "Kameras",
    "Gates": "Prüfungen",
    "Funnel": "Trichter",
    "Views": "Ansichten",
    "Dataset": "Datensatz",
    "Dataset folder": "Ordner des Datensatzes",
    "Plan first": "Erst planen",
    "The scene has changed since": "Die Szene ist seither verändert",
    "Label": "Benennen",
    "Leave Out": "Auslassen",
    "Take In": "Hereinnehmen",
    "Frame": "Zeigen",
    "Pick": "Finden",
    "Show These Cameras": "Diese Kameras zeigen",
    "Chosen cameras": "Gewählte Kameras",
    "Keep One of These": "Eine davon behalten",
    "Add View": "Ansicht hinzufügen",
    "Look Through": "Hindurchsehen",
    "Reject / Keep": "Ablehnen / behalten",
    "Render Dataset": "Datensatz rendern",
    "Resume": "Fortsetzen",
    "Pause": "Anhalten",
    "Go On": "Weiter",
    "Cancel": "Abbrechen",
    "Verify": "Prüfen",
    "Open Folder": "Ordner öffnen",
    "Open Contact Sheet": "Kontaktabzug öffnen",
    "Copy Next Command": "Nächsten Befehl kopieren",
    "Export Settings": "Einstellungen exportieren",
    "Import Settings": "Einstellungen importieren",
}
CONTEXTS = ("*", "Operator")
"""Blender's names for what stands on panels and what stands on buttons."""


def register() -> None:
    """Hand the tables to Blender."""
    german = {(context, english): text for english, text in GERMAN.items() for context in CONTEXTS}
    bpy.app.translations.register(__package__, {"de_DE": german})


def unregister() -> None:
    """Take them back."""
    bpy.app.translations.unregister(__package__)
