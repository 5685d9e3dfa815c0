"""The settings of the method: which one, and its parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.settings_section import Section


class FiloSettings(Section):
    """What FiLo takes besides the model, with `name = "filo"`."""

    checkpoint: str | None = None
    """The head: `bundled`, which is for the model of that name; or the name that `alfa-edge filo import` keeps it
    under; or the path of what `alfa-edge filo train` wrote."""
    gate: Literal["off", "suspects", "all"] = "off"
    """Which parts Grounding DINO looks at, to place a defect and to lower the map elsewhere: none; those whose score
    without it reaches the threshold; or all. It needs the extra `grounding`, and takes far longer than the rest."""
    grounding: str = "IDEA-Research/grounding-dino-tiny"
    """Grounding DINO: a folder, or a repository of the hub that is in its cache. Nothing is downloaded."""


class MethodSettings(Section):
    """The method that judges, and the parts of ALFA, each of which can be switched. The defaults are the paper's."""

    name: Literal["alfa", "filo"] = "alfa"
    """`alfa` needs no training. `filo` needs a trained head, `method.filo.checkpoint`; of what follows it takes
    `memory_layers` alone. After a change calibrate anew."""
    filo: FiloSettings = FiloSettings()
    """What FiLo takes."""
    scales: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(default=(2, 3), min_length=1)
    """Window sizes in patches."""
    stride: int = Field(default=1, ge=1, le=16)
    """Step between windows in patches."""
    windows: Literal["exact", "strided", "masked", "none"] = "exact"
    """How windows are embedded. `exact`: the paper's. `strided`: at every second position. `masked`: one token each, a
    fifth of the tokens. `none`: not at all, for lines with normal shots; a part of a line without any is answered with
    an `error`. After a change embed the shots and calibrate anew."""
    adaptation: bool | None = None
    """Choose the prompts per image by their contextual score (Eq. 4). Default: what suits the model, `false` for
    `bundled`, else `true`."""
    weighted: bool = False
    """Weigh the chosen prompts by their contextual score, not equally. Only where `adaptation` chooses."""
    llm_prompts: bool = True
    """Use the sentences of the pack besides the template's prompts."""
    aligner: Literal["auto", "minimal", "minimal-mean", "ridge", "identity"] = "auto"
    """How prompts move from global to local semantics; `identity` switches the aligner off, `auto` is what suits
    the model: `identity` for `bundled`, else `minimal`."""
    temperature: float = Field(default=0.07, gt=0, le=10)
    """Divides the cosines of Eq. 10 and 11: a lower one drives scores to 0 and 1, a higher one to 0.5. After a change
    calibrate anew."""
    few_shot: Literal["evidence", "alfa"] = "evidence"
    """How normal shots are used: `evidence` compares feature maps of CLIP and tower, each with the say that the shots
    give it; `alfa` is the paper's reference map."""
    memory_layers: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Blocks of the CLIP that parts are compared with normal shots in, counted from 1. Default: those at 1/2, 2/3 and
    5/6 of its depth: 3, 4 and 5 of `bundled`, 6, 8 and 10 of `ViT-B-16-plus-240`."""
    memory_gain: float | None = Field(default=None, gt=0, le=1000)
    """Multiplies the distances to normal shots, with `few_shot = "alfa"` only; the paper's is 1. Default: what suits
    the model, 16 for `bundled`, else 1. After a change calibrate anew."""

    @model_validator(mode="after")
    def _head_of_filo(self) -> MethodSettings:
        if self.name == "filo" and self.filo.checkpoint is None:
            raise ValueError(
                'name = "filo" needs a trained head; set filo.checkpoint to "bundled", or to what `alfa-edge filo '
                'import` or `alfa-edge filo train` made, or name = "alfa", which needs none'
            )
        if self.name == "filo" and self.few_shot == "alfa":
            raise ValueError('few_shot = "alfa" averages windows, which FiLo has not; leave few_shot out')
        return self

    @model_validator(mode="after")
    def _gain_of_the_reference_map(self) -> MethodSettings:
        if self.memory_gain is not None and self.few_shot != "alfa":
            raise ValueError(
                f'memory_gain {self.memory_gain} decides nothing with few_shot = "{self.few_shot}"; '
                'set few_shot = "alfa", or leave memory_gain out'
            )
        return self
