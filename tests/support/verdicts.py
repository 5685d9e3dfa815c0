"""Verdicts as a line issues them."""

from __future__ import annotations

from typing import Any

from edge.clock import utc_now
from edge.messages import CameraFrame, Fault, Heatmap, Model, Reason, Recipe, Scores, Timing, Verdict

RECIPE = Recipe(pack="tile", pack_version="1.2", pack_sha256="a" * 64, threshold_source="uncalibrated")
MODEL = Model(name="untrained", fingerprint="f" * 64, device="cpu", dtype="fp32", scales=(2, 3))


def verdict(line: str, seq: int, part_id: str | None = None, **changes: Any) -> Verdict:
    """A judged part, `normal` unless `changes` say else."""
    usual: dict[str, Any] = {
        "captured_at": utc_now(),
        "verdict": "normal",
        "score": 0.25,
        "threshold": 0.5,
        "scores": Scores(global_=0.2, local=0.25),
        "explanation": (Reason(text="flawless tile", similarity=0.3),),
        "heatmap": Heatmap(topic=f"line/{line}/anomaly/heatmap", x=0, y=0, width=640, height=480, max=0.4, peak=(3, 4)),
        "camera": CameraFrame(frame=seq, dropped=0, width=640, height=480),
        "timing_ms": Timing(capture=2, queue=1, decode=1, score=30, total=34),
        "recipe": RECIPE,
        "model": MODEL,
    }
    mode = "free" if part_id is None else "trigger"
    return Verdict(**{"line": line, "seq": seq, "part_id": part_id, "mode": mode} | usual | changes)


def failure(line: str, seq: int, part_id: str | None = None, code: str = "deadline") -> Verdict:
    """A part without a judgement."""
    judged = ("captured_at", "score", "scores", "heatmap", "camera", "timing_ms")
    fault = {"verdict": "error", "error": Fault(code=code, message="a test"), "explanation": ()}
    return verdict(line, seq, part_id, **fault, **dict.fromkeys(judged))
