"""Which role each command of the service takes, and which commands are not offered here at all."""

from __future__ import annotations

from collections.abc import Mapping

from edge.hmi.person import Role

COMMAND_ROLES: Mapping[str, Role] = {
    "status": "view",
    "snapshot": "view",
    "health": "view",
    "about": "view",
    "history": "view",
    "verdict": "view",
    "thumbnails": "view",
    "trend": "view",
    "shift_counts": "view",
    "threshold_preview": "view",
    "audit": "view",
    "recipe_list": "view",
    "recipe_show": "view",
    "recipe_diff": "view",
    "shots_list": "view",
    "shots_show": "view",
    "shots_candidates": "view",
    "shots_candidate": "view",
    "shot_thumbnails": "view",
    "candidate_thumbnails": "view",
    "calibration_state": "view",
    "review_list": "view",
    "review_show": "view",
    "trigger": "operate",
    "pause": "operate",
    "resume": "operate",
    "enroll": "operate",
    "learn": "operate",
    "suggest": "operate",
    "shots_take": "operate",
    "shots_drop": "operate",
    "shots_remove": "operate",
    "shots_restore": "operate",
    "calibrate": "operate",
    "calibration_cancel": "operate",
    "threshold_propose": "operate",
    "review_answer": "operate",
    "feedback": "operate",
    "threshold": "engineer",
    "review_set": "engineer",
    "review_off": "engineer",
    "shots_reembed": "engineer",
    "recipe_new": "engineer",
    "recipe_copy": "engineer",
    "recipe_edit": "engineer",
    "recipe_set": "engineer",
    "recipe_prepare": "engineer",
    "recipe_rename": "engineer",
    "recipe_retire": "engineer",
    "recipe_reset": "engineer",
    "shadow_start": "engineer",
    "shadow_stop": "engineer",
    "shadow_promote": "engineer",
}
"""Each command that the console passes on, with the role that it takes."""

_FOLDERS = "it names folders of the machine, which only who has an account there may"

NOT_OFFERED: Mapping[str, str] = {
    "line_forget": "it is for a line that is not configured any more",
    "recipe_export": _FOLDERS,
    "recipe_import": _FOLDERS,
    "shadow_report": _FOLDERS,
    "shots_export": _FOLDERS,
    "shots_import": _FOLDERS,
    "backup": _FOLDERS,
}
"""Commands that are for the machine's own terminal, and why."""
WITH_PICTURES = frozenset({"enroll", "learn"})
"""Commands that pictures may be sent along with."""
