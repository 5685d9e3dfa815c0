"""The service's settings: one TOML file, overridden by the environment, validated as a whole before anything starts."""

from __future__ import annotations

import difflib
import math
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edge.redact import redact

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "ALFA_EDGE_"
LineName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


class Section(BaseModel):
    """A table of the file: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class ServiceSettings(Section):
    """The service as a whole."""

    node: str = Field(default_factory=socket.gethostname, min_length=1)
    """Name of this box in every status message. Default: its host name."""
    runtime_dir: Path | None = None
    """Directory of the service's sockets. Default: `$RUNTIME_DIRECTORY`, else a private temporary directory."""
    state_dir: Path | None = None
    """Directory of what the service remembers: shots, calibrations, the audit. Default: `$STATE_DIRECTORY`, else
    `$XDG_STATE_HOME/alfa-edge`, else `~/.local/state/alfa-edge`."""
    archive_dir: Path | None = None
    """Where heatmap overlays of anomalies are kept. Default: they are not kept."""
    stats_interval_s: float = Field(default=10.0, gt=0)
    """Seconds between two messages on `line/<line>/stats`."""


class ModelSettings(Section):
    """The CLIP model."""

    name: str = "ViT-B-16-plus-240"
    """A model name of open_clip; or `bundled`, a small model trained on simulated parts only, whose weights are not
    released yet; or `untrained`, one with random weights for trying out the plumbing."""
    weights: str | None = "laion400m_e32"
    """A pretrained tag of open_clip, or the path of a weights file. Not used by `bundled` and `untrained`."""
    store: Path | None = None
    """Directory of the weights that `alfa-edge model pull` and `alfa-edge model import` bring here. Default:
    `$ALFA_EDGE_MODELS`, else `$XDG_DATA_HOME/alfa-edge/models`, else `~/.local/share/alfa-edge/models`."""
    device: str = "cuda"
    """`cuda`, `cuda:N` or `cpu`. It is used or refused, never replaced by another."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the vision pass; `auto` is fp16 on CUDA, bf16 on a CPU that has it, else fp32."""
    batch: int = Field(default=8, ge=1, le=64)
    """The most frames, of all lines, that are scored in one pass."""


class MethodSettings(Section):
    """The parts of ALFA, each of which can be switched. The defaults are the paper's."""

    scales: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(default=(2, 3), min_length=1)
    """Window sizes in patches."""
    stride: int = Field(default=1, ge=1, le=16)
    """Step between windows in patches."""
    adaptation: bool = True
    """Choose the prompts per image by their contextual score (Eq. 4)."""
    llm_prompts: bool = True
    """Use the sentences of the pack besides the template's prompts."""
    aligner: Literal["auto", "minimal", "minimal-mean", "ridge", "identity"] = "auto"
    """How prompts move from global to local semantics; `identity` switches the aligner off, `auto` is what suits
    the model: `identity` for `bundled`, else `minimal`."""


class MqttSettings(Section):
    """The broker."""

    host: str = "localhost"
    """Name or address of the broker."""
    port: int = Field(default=1883, ge=1, le=65535)
    """TCP port of the broker."""
    username: str | None = None
    """User at the broker."""
    password: SecretStr | None = None
    """Password at the broker. Better kept in `password_file`."""
    password_file: Path | None = None
    """File with the password, for instance a systemd credential."""
    client_id: str = Field(default="alfa-edge", min_length=1, max_length=64)
    """Prefix of the client ids: `<client_id>-<node>-<line>`."""
    keepalive_s: int = Field(default=15, ge=2, le=3600)
    """Seconds without traffic after which the broker sends the last will."""

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file are both set; keep one of them")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password without a username; set mqtt.username")
        return self


class CameraSettings(Section):
    """Where a line's frames come from."""

    source: str = Field(min_length=1)
    """`/dev/video0` (better a `/dev/v4l/by-id/...` path), an `rtsp://` or `http(s)://` URL, a video file, a folder of
    images, or `sim:<class>?rate=2&defects=0.2&seed=7`."""
    rate: float = Field(default=1.0, ge=0, le=1000)
    """Parts per second in free run; 0 means as fast as they are scored. A `sim:` source may name it instead."""
    open_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """Seconds after which opening the source has failed."""
    read_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """Seconds without a frame after which the source is opened anew."""
    retry_s: float = Field(default=1.0, gt=0, le=600)
    """Seconds before the first new attempt to open; doubles with each failure."""
    retry_max_s: float = Field(default=30.0, gt=0, le=3600)
    """The longest pause between two attempts."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP carries the video."""
    width: int | None = Field(default=None, ge=16, le=32768)
    """Width asked of a V4L2 device, pixels."""
    height: int | None = Field(default=None, ge=16, le=32768)
    """Height asked of a V4L2 device, pixels."""
    loop: bool = False
    """Begin again at the end of a video file or folder."""

    @model_validator(mode="before")
    @classmethod
    def _rate_of_simulation(cls, data: Any) -> Any:
        """A simulated line's rate may stand in its source; the rest of the query is the source's own."""
        source = data.get("source") if isinstance(data, dict) else None
        if not isinstance(source, str) or not source.startswith("sim:"):
            return data
        rate = dict(parse_qsl(source.partition("?")[2])).get("rate")
        if rate is None:
            return data
        found = data.get("rate", rate)
        if found != rate and not (_is_number(rate) and found == float(rate)):  # equal when it was read before
            raise ValueError(f"rate stands in {source} and beside it; keep one of them")
        return {**data, "rate": rate}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class Roi(Section):
    """The inspected region of the frame, pixels."""

    x: int = Field(ge=0)
    """Left edge."""
    y: int = Field(ge=0)
    """Top edge."""
    width: int = Field(ge=16)
    """Width."""
    height: int = Field(ge=16)
    """Height."""


class ShotSettings(Section):
    """How the normal shots of a line are used."""

    augment: Literal["none", "flips", "rotations", "all"] = "none"
    """Each shot also mirrored, or turned by quarters, or both, where parts come like that: 1, 3, 4 or 8 views of it."""
    limit: int = Field(default=20_000, ge=1, le=100_000)
    """The most features of a kind that a part is compared with; more are thinned to a coreset."""


class LineSettings(Section):
    """One line: a camera, what it looks at, and when it calls a part anomalous."""

    camera: CameraSettings
    """The camera."""
    pack: str = "generic"
    """Name of a prompt pack, or the path of a pack file."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """A part whose score is at or above it is anomalous."""
    threshold_source: str = "uncalibrated"
    """Where the threshold comes from; every verdict says it."""
    pixel_threshold: float | None = Field(default=None, ge=0, le=1)
    """Heatmap values at or above it form regions. Default: the threshold."""
    shots: ShotSettings = ShotSettings()
    """Its normal shots."""
    roi: Roi | None = None
    """The inspected region. Default: the whole frame."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    service: ServiceSettings = ServiceSettings()
    """The service as a whole."""
    model: ModelSettings = ModelSettings()
    """The CLIP model."""
    method: MethodSettings = MethodSettings()
    """The parts of ALFA."""
    mqtt: MqttSettings = MqttSettings()
    """The broker."""
    lines: dict[LineName, LineSettings] = Field(min_length=1)
    """The lines, by name."""

    @field_validator("lines")
    @classmethod
    def _sources_differ(cls, lines: dict[str, LineSettings]) -> dict[str, LineSettings]:
        devices: dict[str, str] = {}
        for name, line in lines.items():
            source = line.camera.source
            if source.startswith("/dev/") and source in devices:
                raise ValueError(f"lines {devices[source]} and {name} both open {source}; a device has one reader")
            devices[source] = name
        return lines

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file


def store_dir(configured: Path | None = None) -> Path:
    """The directory of weights: as configured, else as the environment says, else the user's own."""
    given = configured or os.environ.get("ALFA_EDGE_MODELS")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(given or Path(data) / "alfa-edge" / "models").expanduser()


def state_dir(configured: Path | None = None) -> Path:
    """The directory of the state: as configured, else systemd's, else the user's own."""
    given = configured or os.environ.get("STATE_DIRECTORY")
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(given or Path(home) / "alfa-edge").expanduser()


def console_dir(service: ServiceSettings) -> Path:
    """The directory of the console's socket: that of the sockets where there is one, else that of the state."""
    given = service.runtime_dir or os.environ.get("RUNTIME_DIRECTORY")
    return Path(given) if given else state_dir(service.state_dir)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the configuration."""

    where: str
    key: str
    value: str
    remedy: str

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        return f"{self.where}: {self.key}{shown}: {self.remedy}" if self.key else f"{self.where}: {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; each problem names its file or variable, key, value and remedy."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def load_settings(path: Path) -> Settings:
    """Reads and validates the TOML file at `path` under the environment's overrides.

    Raises:
        ConfigError: the file is missing, not TOML, or holds a wrong key or value.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), "", "", "no such file; `alfa-edge config example` prints one")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), "", "", f"cannot be read: {error}")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(str(path), "", "", f"not valid TOML: {error}")]) from error
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(list(_problems(error, str(path), os.environ))) from None


def _problems(error: ValidationError, path: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    variables = {name.upper(): name for name in environ}
    for item in error.errors():
        loc = tuple(str(part) for part in item["loc"] if part != "[key]")
        key = ".".join(loc)
        variable = variables.get((ENV_PREFIX + "__".join(loc)).upper())
        yield Problem(
            f"environment {variable}" if variable else path,
            key,
            _shown(key, item["input"]),
            _remedy(item, loc),
        )


def _shown(key: str, value: object) -> str:
    if "password" in key:
        return "***"
    if isinstance(value, Mapping):
        return ""
    return redact(repr(value))[:120]


def _remedy(item: Any, loc: tuple[str, ...]) -> str:
    kind, message = item["type"], str(item["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return "is required; add it"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(loc[-1], _keys(loc[:-1]), n=1)
        return "is no setting; " + (
            f"did you mean {close[0]}?" if close else f"known here: {', '.join(_keys(loc[:-1]))}"
        )
    if kind == "string_pattern_mismatch" and loc[:1] == ("lines",):
        return "a line's name has 1 to 64 of a-z, 0-9 and -, since it is part of a topic"
    return message[0].lower() + message[1:]


def _keys(loc: tuple[str, ...]) -> list[str]:
    """The settings known in the table at `loc`."""
    model: type[BaseModel] = Settings
    steps = list(loc)
    while steps:
        step = steps.pop(0)
        if model is Settings and step == "lines":
            model = LineSettings
            steps = steps[1:]
            continue
        field = model.model_fields.get(step)
        kinds = list(_models(field.annotation)) if field else []
        if not kinds:
            return []
        model = kinds[0]
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)
