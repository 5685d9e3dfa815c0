"""The parts of the method, each of which can be switched."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from core.aligner import ALIGNERS
from core.traits import Traits
from core.windows import MODES, STRIDE

AUTO = "auto"
FEW_SHOT = ("evidence", "alfa")
"""How parts are compared with normal shots; see `Method.few_shot`."""


@dataclass(frozen=True)
class Method:
    """The parts of the method, each of which can be switched. The defaults are ALFA; `WINCLIP` is WinCLIP.

    Attributes:
        scales: Window sizes, patches.
        stride: Step between windows, patches.
        windows: How windows are embedded; one of `windows.MODES`. Features of one are not to be compared with those of
            another. `strided` sets the step, so that `stride` is left at 1; with `none` `scales` say nothing, and the
            map is that of normal shots alone, without which a frame is refused.
        adaptation: Choose the prompts per image (4.2); off: all prompts, for every image. None: what suits the model.
        weighted: Weigh the kept prompts by their contextual score instead of equally.
        aligner: How labels move from global to local semantics (4.3); a key of `aligner.ALIGNERS`, or `auto`: the one
            that suits the model. `Alfa.method` names the one that is used.
        llm_prompts: Use the sentences written by the LLM beside the template's prompts.
        temperature: Divides the cosines in Eq. 10 and 11, above 0 (WinCLIP's 0.07; the paper names none).
        unit_prompts: Bring each prompt's embedding to unit length before the mean (WinCLIP does not).
        local_in_image: Eq. 12; off: the image score is S_G alone.
        image_in_map: Add S_G to the map as one more scale, as WinCLIP does.
        memory_gain: Multiplies the distances to normal shots, which it cuts off at 1, before they are averaged with the
            windows' scores. The paper's is 1; None: the one that suits the model, as its embeddings may lie so close
            together that distances say nothing beside scores. `Alfa.method` names the one that is used.
        few_shot: How normal shots are used. `evidence`: feature maps and the text side, each with the say that the
            shots give it (`core.bank.evidence`); `alfa`: the paper's, a reference map that is averaged with S~_L.
        memory_layers: Of evidence, the CLIP's blocks that are compared, counted from 1; None: those of its depth
            (`core.own_tower.memory_layers`).
    """

    scales: tuple[int, ...] = (2, 3)
    stride: int = 1
    windows: str = "exact"
    adaptation: bool | None = None
    weighted: bool = False
    aligner: str = AUTO
    llm_prompts: bool = True
    temperature: float = 0.07
    unit_prompts: bool = True
    local_in_image: bool = True
    image_in_map: bool = False
    memory_gain: float | None = None
    few_shot: str = "evidence"
    memory_layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.few_shot not in FEW_SHOT:
            raise ValueError(f"few_shot {self.few_shot!r} is not known; use one of {', '.join(FEW_SHOT)}")
        if self.aligner not in (AUTO, *ALIGNERS):
            raise ValueError(f"aligner {self.aligner!r} is not known; use {AUTO} or one of {', '.join(ALIGNERS)}")
        if self.windows not in MODES:
            raise ValueError(f"windows {self.windows!r} is not known; use one of {', '.join(MODES)}")
        if self.windows == "strided" and self.stride != 1:
            raise ValueError(f"windows strided are those at stride {STRIDE}: leave stride {self.stride} at 1")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature} must be a finite number above 0")
        if self.memory_gain is not None and not 0 < self.memory_gain < math.inf:
            raise ValueError(f"memory_gain {self.memory_gain} must be a finite number above 0")
        if not self.scales or len(set(self.scales)) != len(self.scales):
            raise ValueError(f"scales {self.scales} must be different sizes, at least one")

    def on(self, traits: Traits) -> Method:
        """The method on a model of these traits: what was left open is what suits the model.

        Raises:
            ValueError: prompts are to be weighted, and none are chosen.
        """
        adaptation = traits.adaptation if self.adaptation is None else self.adaptation
        if self.weighted and not adaptation:
            raise ValueError("weighted weighs the prompts that adaptation chooses, which is off: set adaptation = true")
        return replace(
            self,
            adaptation=adaptation,
            aligner=traits.aligner if self.aligner == AUTO else self.aligner,
            memory_gain=traits.memory_gain if self.memory_gain is None else self.memory_gain,
        )


ALFA = Method()
WINCLIP = Method(
    adaptation=False,
    aligner="identity",
    llm_prompts=False,
    unit_prompts=False,
    local_in_image=False,
    image_in_map=True,
    memory_gain=1.0,
    few_shot="alfa",
)
