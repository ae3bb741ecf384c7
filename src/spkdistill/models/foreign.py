"""Networks of other toolkits: an ONNX or TorchScript file, of which only the embedding is known.

An ONNX file is data: onnxruntime runs it with its own operators and no others, and a file that keeps weights
in further files is refused. A TorchScript file is a program: it can write any file (aten::save), and
PyTorch's SECURITY.md says to treat it as code of its maker. It is opened only for a user who says `trust`.
"""

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from google.protobuf.message import Message
from torch import Tensor, nn

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_bytes
from spkdistill.models import store
from spkdistill.models.build import build_sizes

LARGEST = 2**31 - 1  # bytes; protobuf's own limit


@dataclass(frozen=True)
class ForeignModel:
    """The `model` of a foreign network's config.json, beside `arch`."""

    file: str  # where it came from
    sha256: str
    output: int  # which of its outputs is the embedding, from 1
    embedding: int
    receptive_field: int  # fewest frames that it takes


class Foreign(nn.Module):
    """A network in one piece. Its frame layers cannot be seen: its features stand for the last of them."""

    def __init__(self, network: nn.Module, model: ForeignModel, feature_dim: int) -> None:
        super().__init__()
        self.network, self.layer_dims = network, []
        self.feature_dim, self.embedding_dim = feature_dim, model.embedding
        self.receptive_field = model.receptive_field

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames >= receptive_field, feature_dim) -> (batch, embedding_dim) in float32.

        One utterance after another: many files take no other batch, and onnxruntime on a CPU is as quick.
        """
        return torch.stack([self.network(utterance) for utterance in features.split(1)])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """What `embed` takes."""
        return [features]

    def embed(self, last: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> embedding."""
        return self(last)


def load_foreign(
    model_path: str | Path, config_path: str | Path, trust: bool
) -> tuple[Foreign, None, dict[str, Any]]:
    """(network, no head, config) of an adopted file; `trust` allows TorchScript."""
    config, described = store.read_network_config(config_path)
    with store.blaming(config_path):
        settings = {key: value for key, value in described.model.items() if key != "arch"}
        model = build_sizes(ForeignModel, settings, "model")
    data = read(model_path)
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise DataError(f"{model_path}: not the file that {config_path} is of; adopt it again")
    network = open_network(model_path, data, model.output, trust)
    return Foreign(network, model, described.feature_dim).eval(), None, config


def read(path: str | Path) -> bytes:
    """A file's bytes; DataError where there are more than a network has."""
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file")
    if Path(path).stat().st_size > LARGEST:
        raise DataError(f"{path}: more than {LARGEST} bytes; too large a network")
    return read_bytes(path)


def open_network(path: str | Path, data: bytes, output: int | None, trust: bool) -> nn.Module:
    """The network in a file's bytes: features (1, frames, dim) -> embedding (size,).

    `output` chooses among several outputs, from 1. DataError where it cannot be opened, ConfigError for
    TorchScript without `trust`.
    """
    if Path(path).suffix == ".onnx":
        return OnnxNetwork(path, data, output)
    if Path(path).suffix != ".pt":
        raise ConfigError(f"{path}: expected a name that ends in .onnx or, for TorchScript, .pt")
    if not trust:
        raise ConfigError(
            f"{path}: TorchScript is a program, which may do anything; "
            "export ONNX, or set `trust: true` (--trust) if you trust its maker"
        )
    return ScriptNetwork(path, data, output)


class OnnxNetwork(nn.Module):
    """An ONNX graph, which onnxruntime runs on the CPU with torch's number of threads."""

    def __init__(self, path: str | Path, data: bytes, output: int | None) -> None:
        super().__init__()
        self.path = path
        check_graph(path, data)
        with in_one_line(path, "cannot be opened"):
            self.session = open_session(data, session_options())
        self.input, self.dim = only_input(path, self.session)
        names = [each.name for each in self.session.get_outputs()]
        self.output = names[choose(path, output, names)]

    def forward(self, features: Tensor) -> Tensor:
        """(1, frames, dim) -> (size,)."""
        with in_one_line(self.path, failing(features)):
            (found,) = self.session.run([self.output], {self.input: features.cpu().numpy()})
            return checked(self.path, features, torch.as_tensor(found))


class ScriptNetwork(nn.Module):
    """A TorchScript module, on torch's device."""

    def __init__(self, path: str | Path, data: bytes, output: int | None) -> None:
        super().__init__()
        self.path, self.chosen = path, output
        with in_one_line(path, "cannot be opened"):
            self.script = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()

    def forward(self, features: Tensor) -> Tensor:
        """(1, frames, dim) -> (size,). Not optimised at run time, which would change digits on the way."""
        with in_one_line(self.path, failing(features)), torch.jit.optimized_execution(False):
            found = self.script(features)
            outputs = found if isinstance(found, tuple | list) else [found]
            index = choose(self.path, self.chosen, [str(tuple(each.shape)) for each in outputs])
            return checked(self.path, features, outputs[index])


@contextmanager
def in_one_line(path: str | Path, what: str) -> Iterator[None]:
    """Whatever goes wrong in the library that runs a file, as a DataError of one line.

    onnxruntime's errors have no common class but Exception.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise DataError(f"{path}: {what} ({reason})") from None


def failing(features: Tensor) -> str:
    """What fails."""
    return f"fails on {features.shape[1]} frames of {features.shape[2]} features"


def check_graph(path: str | Path, data: bytes) -> None:
    """DataError for an ONNX file that is damaged, keeps weights elsewhere, or lies about their number."""
    with in_one_line(path, "not a readable ONNX file"):
        for tensor in tensors(onnx.load_model_from_string(data)):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise DataError(
                    f"{path}: the weights {tensor.name} lie in another file; keep all in one, "
                    "as onnx.save(onnx.load(path), path) and torch.onnx.export(..., external_data=False) do"
                )
            if math.prod(tensor.dims) > 8 * tensor.ByteSize():
                raise DataError(
                    f"{path}: claims {math.prod(tensor.dims)} weights {tensor.name} and has fewer"
                )


def tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model, whatever it is a part of."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if isinstance(value, Sequence) else [value]:
                yield from [each] if isinstance(each, onnx.TensorProto) else tensors(each)


def session_options() -> onnxruntime.SessionOptions:
    """Torch's number of threads; the same input gives the same bytes; what is wrong becomes an exception."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.load_model_format", "ONNX")  # as `check_graph` reads it
    options.log_severity_level = 4
    return options


def open_session(data: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """A session on the CPU, which is opened or not, and not in another way."""
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def only_input(path: str | Path, session: onnxruntime.InferenceSession) -> tuple[str, int | str | None]:
    """Name and dim of an ONNX file's input, which must be features (batch, frames, dim) in float32.

    The dim is no number where the file leaves it open.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        found = ", ".join(each.name for each in inputs) or "none"
        raise DataError(f"{path}: expected one input, the features, found {found}")
    name, shape, kind = inputs[0].name, inputs[0].shape, inputs[0].type
    if kind != "tensor(float)" or len(shape) != 3:
        raise DataError(
            f"{path}: expected the input {name} (batch, frames, dim) in float32, found {shape} of {kind}"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise DataError(f"{path}: takes {shape[0]} utterances at once; export it with a batch of 1 or any")
    if isinstance(shape[1], int):
        raise DataError(f"{path}: takes {shape[1]} frames only; export it with a dynamic number of frames")
    return name, shape[2]


def choose(path: str | Path, output: int | None, names: Sequence[str]) -> int:
    """The index of the output that is the embedding."""
    if output is None and len(names) == 1:
        return 0
    if output is None or not 1 <= output <= len(names):
        raise DataError(f"{path}: its outputs are {', '.join(names)}; say which, `output: 1` to {len(names)}")
    return output - 1


def checked(path: str | Path, features: Tensor, found: Tensor) -> Tensor:
    """An output for one utterance as a float32 vector; DataError unless it is finite."""
    if not found.isfinite().all():
        raise DataError(f"{path}: NaN or infinity for an utterance of {features.shape[1]} frames")
    return found.flatten().float()
