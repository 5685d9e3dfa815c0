"""Every target of the campaign by its name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.broker import BrokerAnswers
from tests.fuzz.config import Configurations
from tests.fuzz.packs import Packs
from tests.fuzz.pictures import Pictures
from tests.fuzz.state_files import StateFiles
from tests.fuzz.tally import Target

IN_PROCESS: Mapping[str, type[Target]] = {
    "packs": Packs,
    "config": Configurations,
    "pictures": Pictures,
    "state": StateFiles,
    "broker": BrokerAnswers,
}
