"""The service's settings: one TOML file, overridden by the environment, validated as a whole before anything starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.weights.location import DEFAULT_STORE
from edge.settings_hmi import HmiSettings
from edge.settings_line import CameraSettings, LineSettings
from edge.settings_method import MethodSettings
from edge.settings_recipe import HealthSettings, RecipeSettings, Roi, ShotSettings
from edge.settings_section import Label, LineName, LocalPath, Section
from edge.zone import check_shifts, check_zone

__all__ = [
    "ArchiveSettings",
    "CameraSettings",
    "HealthSettings",
    "HeatmapSettings",
    "HistorySettings",
    "HmiSettings",
    "LineName",
    "LineSettings",
    "MethodSettings",
    "MetricsSettings",
    "ModelSettings",
    "MqttSettings",
    "PictureSettings",
    "RecipeSettings",
    "Roi",
    "Section",
    "ServiceSettings",
    "Settings",
    "ShotSettings",
    "console_dir",
    "state_dir",
    "store_dir",
    "users_file",
]


ImageSize = Annotated[int, Field(ge=16, le=4096)]
Deviation = Annotated[float, Field(gt=0)]

ENV_PREFIX = "ALFA_EDGE_"


class ServiceSettings(Section):
    """The service as a whole."""

    node: Label = Field(default_factory=socket.gethostname)
    """Name of this box in every status message. Default: its host name."""
    runtime_dir: LocalPath | None = None
    """Directory of the service's sockets. Default: `$RUNTIME_DIRECTORY`. Without either the console's is in
    `service.state_dir`, and the cameras' are in a private temporary directory."""
    state_dir: LocalPath | None = None
    """Directory of what the service remembers: shots, calibrations, the audit. Default: `$STATE_DIRECTORY`, else
    `$XDG_STATE_HOME/alfa-edge`, else `~/.local/state/alfa-edge`."""
    stats_interval_s: float = Field(default=10.0, gt=0, le=86_400)
    """Seconds between two messages on `line/<line>/stats`."""
    zone: Annotated[str, AfterValidator(check_zone)] | None = None
    """Time zone of the lines, as `Europe/Berlin`: of shifts, and of local times in exports. Default: the machine's."""
    shifts: Annotated[tuple[str, ...], AfterValidator(check_shifts)] = ()
    """When shifts begin, local times as `["06:00", "14:00", "22:00"]`, for the rates of `alfa-edge feedback rates` and
    the counts of the console."""


class HistorySettings(Section):
    """What is remembered of verdicts, and how much may wait for a broker that is away."""

    days: float = Field(default=90.0, gt=0, le=3650)
    """Days that a verdict stays in the history."""
    limit: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    """The most verdicts of a line that stay in it."""
    outbox_limit: int = Field(default=100_000, ge=100, le=10_000_000)
    """The most verdicts of a line that wait for the broker; beyond it the oldest are dropped, counted and reported."""
    outbox_days: float = Field(default=7.0, gt=0, le=365)
    """Days that a verdict waits for the broker before it is dropped, counted and reported."""


class ArchiveSettings(Section):
    """Pictures and heatmaps on disk. A disk that takes no more stops the archive, never the judging."""

    dir: LocalPath | None = None
    """Where they are kept, as `<line>/<date>/...`. Default: they are not kept."""
    ok_every: int = Field(default=0, ge=0, le=1_000_000)
    """Of normal parts one in so many is kept; 0: none. Anomalies and errors with a picture are always kept."""
    days: float = Field(default=30.0, gt=0, le=3650)
    """Days that pictures are kept."""
    max_gb: float = Field(default=20.0, gt=0)
    """Gigabytes (1e9 bytes) that the archive may fill; beyond it the oldest go, normal parts first."""
    min_free_gb: float = Field(default=2.0, ge=0)
    """Gigabytes of the disk that the archive leaves free, in the same way."""
    queue: int = Field(default=16, ge=1, le=1000)
    """Pictures that may wait for a slow disk; what comes beyond is not kept, counted and reported."""


class HeatmapSettings(Section):
    """Heatmaps over MQTT, on `line/<line>/anomaly/heatmap`."""

    enabled: bool = True
    """Send heatmaps. The archive keeps them all the same."""


class PictureSettings(Section):
    """Pictures of parts over MQTT, on `line/<line>/anomaly/picture`."""

    enabled: bool = False
    """Send the inspected region of each part as a JPEG."""
    quality: int = Field(default=85, ge=1, le=100)
    """Quality of the JPEG: a higher one makes larger pictures."""


class MetricsSettings(Section):
    """Figures for Prometheus."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """TCP port of the endpoint `/metrics`. Default: there is none."""
    host: str = "127.0.0.1"
    """Address that it listens on."""


class ModelSettings(Section):
    """The CLIP model."""

    name: str = "ViT-B-16-plus-240"
    """A model name of open_clip; or `bundled`, the small one that comes along, trained on simulated parts only; or
    `untrained`, one with random weights for trying out the plumbing."""
    weights: str | None = "laion400m_e32"
    """A pretrained tag of open_clip, or the path of a weights file. Not used by `bundled` and `untrained`."""
    image_size: ImageSize | tuple[ImageSize, ImageSize] | None = None
    """Height and width of the model's input, pixels, or one for both; multiples of its patch. A larger one shows
    smaller defects, and costs more. Shots are embedded anew; calibrate anew. Default: the model's own."""
    mean: tuple[float, float, float] | None = None
    """Mean of red, green and blue, 0..1, that the weights were trained with. Default: as their tag or record says; of a
    file without either CLIP's is assumed, which the log says."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Standard deviation of red, green and blue that the weights were trained with. Default: as for `model.mean`."""
    quick_gelu: bool | None = None
    """Whether the weights were trained with the activation QuickGELU, as OpenAI's. Default: as their tag or record
    says, else as the model's name does."""
    store: LocalPath | None = None
    """Directory of the weights that `alfa-edge model pull` and `alfa-edge model import` bring here. Default:
    `$ALFA_EDGE_MODELS`, else `$XDG_DATA_HOME/alfa-edge/models`, else `~/.local/share/alfa-edge/models`."""
    device: str = "cuda"
    """`cuda`, `cuda:N` or `cpu`. It is used or refused, never replaced by another."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the vision pass; `auto` is fp16 on CUDA, bf16 on a CPU that has it, else fp32."""
    batch: int = Field(default=8, ge=1, le=64)
    """The most frames, or tiles of them, of all lines, that are scored in one pass."""
    tower: str = "auto"
    """A second model whose patch features parts are compared with normal shots in: `efficientnet-lite0`, or
    `timm:NAME`, or `none`. `auto` is `efficientnet-lite0` for `bundled`, else `none`."""
    tower_weights: str | None = None
    """A tag or a weights file of the tower. Default: the tag that timm prefers."""
    tower_layers: tuple[int, ...] | None = None
    """Stages or blocks of the tower, as timm counts them. Default: those of strides 8 and 16, or the last block."""


class MqttSettings(Section):
    """The broker."""

    host: str = "localhost"
    """Name or address of the broker."""
    port: int = Field(default=1883, ge=1, le=65535)
    """TCP port of the broker."""
    username: Label | None = None
    """User at the broker."""
    password: SecretStr | None = None
    """Password at the broker. Better kept in `password_file`."""
    password_file: LocalPath | None = None
    """File with the password, for instance a systemd credential."""
    client_id: Label = Field(default="alfa-edge", max_length=64)
    """Prefix of the client ids: `<client_id>-<node>-<line>-<random>`."""
    keepalive_s: int = Field(default=15, ge=2, le=3600)
    """Seconds without traffic after which the broker sends the last will."""
    version: Literal["3.1.1", "5"] = "5"
    """MQTT version. Where the broker refuses 5 the service falls back to 3.1.1 by itself, and says so; `3.1.1` forces
    it. With 3.1.1 a broker cannot say that its access control refuses a verdict."""
    tls: bool = False
    """Encrypt, and check the broker's certificate."""
    ca_file: LocalPath | None = None
    """Certificates (PEM) that vouch for the broker's. Default: the system's."""
    cert_file: LocalPath | None = None
    """This client's certificate (PEM), where the broker asks for one."""
    key_file: LocalPath | None = None
    """The key of `cert_file` (PEM, without a password)."""
    in_flight: int = Field(default=20, ge=1, le=1000)
    """The most verdicts of a line that are on their way to the broker at a time; the rest wait on disk."""
    historical_after_s: float = Field(default=2.0, gt=0, le=3600)
    """A verdict that is sent longer than this after it was issued is marked `historical`."""
    replay_rate: float = Field(default=50.0, gt=0, le=10_000)
    """The most historical verdicts of a line per second."""
    commands: bool = True
    """Take commands on `line/<line>/command`."""
    max_message_kb: int = Field(default=16, ge=1, le=1024)
    """A trigger or command larger than this is refused and counted."""
    max_packet_kb: int | None = Field(default=None, ge=1, le=262_144)
    """Larger packets (1024 bytes) are never sent; a heatmap beyond it is left out. Default: what the broker says or is
    found to take."""
    compensate_sender_clock: bool = False
    """Correct the `at` of triggers by the measured difference between the sender's clock and the clock here. Without
    it the difference is an alarm, and `at` says nothing while it lasts."""

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file are both set; keep one of them")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password without a username; set mqtt.username")
        return self

    @model_validator(mode="after")
    def _whole_identity(self) -> MqttSettings:
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError("ca_file, cert_file and key_file are for tls; set mqtt.tls = true")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; set both or none")
        return self


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
    """The method that judges, and its parts."""
    mqtt: MqttSettings = MqttSettings()
    """The broker."""
    heatmap: HeatmapSettings = HeatmapSettings()
    """Heatmaps over MQTT."""
    picture: PictureSettings = PictureSettings()
    """Pictures of parts over MQTT."""
    history: HistorySettings = HistorySettings()
    """What is remembered of verdicts."""
    archive: ArchiveSettings = ArchiveSettings()
    """Pictures and heatmaps on disk."""
    metrics: MetricsSettings = MetricsSettings()
    """Figures for Prometheus."""
    hmi: HmiSettings = HmiSettings()
    """The console in the browser."""
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
    if not given and (data := os.environ.get("XDG_DATA_HOME")):
        given = Path(data) / "alfa-edge" / "models"
    return Path(given or DEFAULT_STORE).expanduser()


def state_dir(configured: Path | None = None) -> Path:
    """The directory of the state: as configured, else systemd's, else the user's own."""
    given = configured or os.environ.get("STATE_DIRECTORY")
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(given or Path(home) / "alfa-edge").expanduser()


def users_file(settings: Settings) -> Path:
    """The file of those who may use the console in the browser."""
    return settings.hmi.users_file or state_dir(settings.service.state_dir) / "users.toml"


def console_dir(service: ServiceSettings) -> Path:
    """The directory of the console's socket: that of the sockets where there is one, else that of the state."""
    given = service.runtime_dir or os.environ.get("RUNTIME_DIRECTORY")
    return Path(given) if given else state_dir(service.state_dir)
