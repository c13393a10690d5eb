"""What sections are made of: their frozen base, and the kinds of values with the checks of a single field."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from rnnpipe.catalogue import DATASETS, PROBLEMS, SEQUENCES, VARIANTS
from rnnpipe.credentials import mask_credentials

CROSS_FIELD = "cross_field"
IN_WORDS = "in_words"  # the type of an error whose message says all there is to say
MAX_SEEDS = 64
NumberOfThreads = Annotated[int, Field(ge=1, le=1024)]


class Clash(NamedTuple):
    """Fields, each right, that don't fit together: paths from the section, the one to blame first."""

    fields: tuple[str, ...]
    reason: str


class Section(BaseModel):
    """A frozen part of a config that refuses unknown keys, NaN, infinities and true or false for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def clashes(self) -> Iterator[Clash]:
        """Yield every mistake that takes more than one field to see."""
        return iter(())

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        values = value if isinstance(value, list | tuple) else [value]
        if bool not in (annotation, *get_args(annotation)) and any(isinstance(item, bool) for item in values):
            raise PydanticCustomError("boolean", "true and false are no value here")
        return value

    @model_validator(mode="after")
    def _check_clashes(self) -> Self:
        details = []
        for fields, reason in self.clashes():
            value: Any = self
            for part in fields[0].split("."):
                value = getattr(value, part)
            kind = PydanticCustomError(CROSS_FIELD, "{reason}", {"reason": reason, "fields": fields})
            details.append(InitErrorDetails(type=kind, loc=tuple(fields[0].split(".")), input=value))
        if details:
            raise ValidationError.from_exception_data(type(self).__name__, details)
        return self


def _one_of(kind: str, names: Mapping[str, object]) -> AfterValidator:
    def check(value: str) -> str:
        if problem := PROBLEMS[kind].get(value):
            raise PydanticCustomError(IN_WORDS, "{problem}", {"problem": problem})
        if value not in names:
            raise ValueError(f"no {kind} has this name; choose one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def _listed(names: Mapping[str, object]) -> Any:
    return Field(json_schema_extra={"enum": list(names)})


def _check_address(address: str) -> str:
    if not _is_web_address(address):
        raise ValueError("must be an http or https URL, such as https://mirror.example/mnist")
    return _check_no_secret(address)


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return right and not any(character.isspace() or not character.isprintable() for character in address)


def _check_storage(address: str) -> str:
    is_file = address.startswith("sqlite:///") and address.isprintable()
    if not is_file and not _is_web_address(address):
        raise ValueError("must be sqlite:///PATH, or the http or https URL of an MLflow server")
    return _check_no_secret(address)


def _check_no_secret(address: str, variables: str = "RNNPIPE_MIRRORS or MLFLOW_TRACKING_URI") -> str:
    """Refuse user names and passwords: a config is stored with every run."""
    if mask_credentials(address) != address:
        raise ValueError(f"holds a password; give such an address as {variables}")
    return address


def _check_shared_place(place: str) -> str:
    scheme, separator, rest = place.partition("://")
    is_url = bool(separator) and scheme.replace("+", "").isalnum() and bool(rest)
    is_right = is_url or place.startswith(("/", "mlflow-artifacts:/"))
    if not is_right or not place.isprintable() or place.startswith("memory:"):
        raise ValueError("must be an absolute path, a URL such as s3://bucket/folder, or mlflow-artifacts:/PATH")
    return _check_no_secret(place, "RNNPIPE_EXCHANGE")


def _check_path(path: str) -> str:
    if "\0" in path or not path.strip() or path != path.encode(errors="ignore").decode():
        raise ValueError("must be the path of a folder")
    return path


def _check_file(path: str) -> str:
    if "\0" in path or not path.strip() or path != path.encode(errors="ignore").decode():
        raise ValueError("must be the path of a file")
    return path


def _check_threads(value: Any) -> int | Literal["auto"]:
    """Refuse what is neither in one line: of a union pydantic would tell what is wrong with each part."""
    if value == "auto":
        return "auto"
    try:
        return TypeAdapter(NumberOfThreads).validate_python(value)
    except ValidationError:
        raise PydanticCustomError("threads", "neither auto nor a number of threads") from None


def _count_seeds(value: Any) -> Any:
    """Return the seeds that a number of seeds stands for."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if not 1 <= value <= MAX_SEEDS:
        raise PydanticCustomError(IN_WORDS, f"a number of seeds is 1 to {MAX_SEEDS}; a list names them")
    return tuple(range(value))


def or_their_number(schema: dict[str, Any]) -> None:
    """Let the schema of a list take a number instead."""
    listed = {name: schema.pop(name) for name in ("type", "items", "minItems", "maxItems")}
    number = {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS, "description": "a number of seeds"}
    schema["anyOf"] = [listed, number]


def _in_words(rule: str) -> dict[str, Any]:
    """Return what a pattern means; editors show it too."""
    return {"patternErrorMessage": rule}


DatasetName = Annotated[str, _one_of("dataset", DATASETS), _listed(DATASETS)]
SequenceName = Annotated[str, _one_of("sequence transform", SEQUENCES), _listed(SEQUENCES)]
VariantName = Annotated[str, _one_of("variant", VARIANTS), _listed(VARIANTS)]
PlainName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        json_schema_extra=_in_words(
            "up to 63 lower-case letters, digits, dots, dashes and underscores, the first a letter or digit"
        ),
    ),
]
DeviceName = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d{1,3})?)$",
        json_schema_extra=_in_words("auto, cpu, cuda, xpu, mps, or one of several, such as cuda:1"),
    ),
]
ClusterAddress = Annotated[
    str,
    Field(
        pattern=r"^(auto|(ray://)?[A-Za-z0-9._-]{1,253}:\d{1,5})$",
        json_schema_extra=_in_words("auto, HOST:PORT or ray://HOST:PORT"),
    ),
]
Threads = Annotated[NumberOfThreads | Literal["auto"], BeforeValidator(_check_threads)]
WebAddress = Annotated[str, AfterValidator(_check_address)]
Storage = Annotated[str, AfterValidator(_check_storage)]
SharedPlace = Annotated[str, AfterValidator(_check_shared_place)]
FolderPath = Annotated[str, AfterValidator(_check_path)]
FilePath = Annotated[str, AfterValidator(_check_file)]
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_count_seeds)]
TagValue = Annotated[
    str,
    Field(
        max_length=250,
        coerce_numbers_to_str=True,
        json_schema_extra=_in_words("text of at most 250 characters; put it in quotes"),
    ),
]
