"""A foreign network becomes a teacher of a run: tried, measured, copied, and described like one of ours."""

import hashlib
import json
import math
import resource
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from spkdistill.errors import DataError
from spkdistill.features.settings import configured, feature_dim
from spkdistill.files import replacing, write_json
from spkdistill.manifest import made_by
from spkdistill.models import foreign
from spkdistill.models.store import FOREIGN
from spkdistill.settings import build

SHORT, LONG = 200, 600  # frames of the trials; a multiple of every stride apart
MEMORY = 4 << 30  # bytes that a trial may take beyond what the process has
WEIGHTS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8")
CONVOLUTIONS, PRODUCTS = ("Conv", "ConvInteger"), ("MatMul", "MatMulInteger", "Gemm")


@dataclass(frozen=True)
class ForeignTeacher:
    """What a config says of it; `output` chooses among several outputs, from 1."""

    features: str
    output: int | None


def adopt(
    file: str | Path,
    settings: Mapping[str, Any],
    feature_settings: Mapping[str, Any],
    trust: bool,
    model_path: str | Path,
    config_path: str | Path,
    threads: int,
) -> None:
    """Copy the network in `file` to `model_path`, and write its config.json.

    DataError unless it takes features (1, frames, dim) of these settings, any number of frames, and gives a
    finite vector of one size. `trust` lets the program in a TorchScript file run.
    """
    torch.set_num_threads(threads)
    chosen = build(ForeignTeacher, settings, "teacher")
    features = configured(feature_settings)
    dim = feature_dim(features)
    data = foreign.read(file)
    with limited_memory(), torch.no_grad():
        network = foreign.open_network(file, data, chosen.output, trust)
        embedding = embedding_dim(network, dim)
        shortest = fewest_frames(network, dim)
        cost = measure(network, data, dim, 1000 / features.frame_shift)
    sha256 = hashlib.sha256(data).hexdigest()
    model = foreign.ForeignModel(str(file), sha256, chosen.output or 1, embedding, shortest)
    config = {
        "model": {"arch": FOREIGN, **asdict(model)},
        "feature_dim": dim,
        "head": None,
        "speakers": [],
        "features": chosen.features,
        "feature_settings": feature_settings,
        "cost": {
            **cost,
            "parameters_with_head": cost["parameters"],
            "bytes": len(data),
            "embedding_dim": embedding,
        },
        "made_by": {**made_by(), "onnxruntime": onnxruntime.__version__},
    }
    with replacing(model_path, "wb") as copy:
        copy.write(data)
    write_json(config_path, config)


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let what runs here take MEMORY more: a graph of few bytes can make tensors of any size (Linux only)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    held = int(statm.read_text().split()[5]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (held + MEMORY, soft) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def noise(frames: int, dim: int) -> Tensor:
    """Features to try a network on, (1, frames, dim)."""
    return torch.randn(1, frames, dim, generator=torch.Generator().manual_seed(0))


def embedding_dim(network: nn.Module, dim: int) -> int:
    """The size of a network's embedding, which no number of frames may change."""
    if isinstance(network, foreign.OnnxNetwork) and isinstance(network.dim, int) and network.dim != dim:
        raise DataError(f"{network.path}: takes {network.dim} features a frame; these settings give {dim}")
    short, long = (network(noise(frames, dim)).numel() for frames in (SHORT, LONG))
    if short != long:
        found = f"{short} numbers for {SHORT} frames and {long} for {LONG}"
        raise DataError(f"{network.path}: gives {found}, which is no embedding")
    return short


def fewest_frames(network: nn.Module, dim: int) -> int:
    """The fewest frames from which on a network takes any number; SHORT are enough."""

    def takes(frames: int) -> bool:
        try:
            network(noise(frames, dim))
        except DataError:
            return False
        return True

    return 1 + bisect_left(range(1, SHORT), True, key=takes)


def measure(network: nn.Module, data: bytes, dim: int, second: float) -> dict[str, int]:
    """Parameters, and multiply-accumulates for a `second` of frames, as far as the file shows them."""
    lengths = noise(SHORT, dim), noise(LONG, dim)
    if isinstance(network, foreign.OnnxNetwork):
        with foreign.in_one_line(network.path, "cannot be measured"):
            parameters = onnx_parameters(onnx.load_model_from_string(data))
            products = [onnx_products(network, data, features) for features in lengths]
    else:
        parameters = script_parameters(network.script)
        products = [script_products(network, features) for features in lengths]
    if parameters == 0:
        raise DataError(f"{network.path}: no weights are found in it")
    return {"parameters": parameters, "macs_per_second": macs_per_second(*products, second)}


def onnx_parameters(model: onnx.ModelProto) -> int:
    """Numbers in the weights of a graph; the running mean and variance of batch normalisation are none."""
    kinds = {onnx.TensorProto.DataType.Value(name) for name in WEIGHTS}
    normalisations = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    statistics = {name for node in normalisations for name in node.input[3:5]}
    weights = [each for each in foreign.tensors(model) if each.data_type in kinds]
    return total(math.prod(each.dims) for each in weights if each.name not in statistics)


def script_parameters(script: torch.jit.ScriptModule) -> int:
    """Parameters of a module, or the constants that freezing has made of them."""
    constants = script.code_with_constants[1].const_mapping.values()
    return total(each.numel() for each in [*script.parameters(), *constants] if torch.is_tensor(each))


def total(sizes: Iterable[int]) -> int:
    """The sum of the sizes of tensors; a single number is no weight."""
    return sum(size for size in sizes if size > 1)


def macs_per_second(short: Sequence[int], long: Sequence[int], second: float) -> int:
    """From the products for SHORT and LONG frames: what grows counts for a `second` of frames, the rest once.

    So what follows pooling counts once, as in `cost.macs_per_second`.
    """
    pairs = list(zip_longest(short, long, fillvalue=0))
    grown = sum(more - less for less, more in pairs)
    return int(grown * second / (LONG - SHORT)) + sum(less for less, more in pairs if less == more)


def onnx_products(network: foreign.OnnxNetwork, data: bytes, features: Tensor) -> list[int]:
    """Multiply-accumulates of each convolution and matrix product, in the order in which they run.

    Their shapes are in onnxruntime's profile of a run without optimisation, which would fuse them.
    """
    options = foreign.session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # it hides the shapes of weights
    options.enable_profiling = True
    with TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        session = foreign.open_session(data, options)
        session.run([network.output], {network.input: features.numpy()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
    return [macs(node) for node in nodes if node["op_name"] in (*CONVOLUTIONS, *PRODUCTS)]


def macs(node: Mapping[str, Any]) -> int:
    """Multiply-accumulates of a convolution or a product that was run."""
    first, second, output = (
        next(iter(each.values())) for each in [*node["input_type_shape"][:2], node["output_type_shape"][0]]
    )
    if node["op_name"] in CONVOLUTIONS:
        return math.prod(output) * math.prod(second[1:])
    return math.prod(first) * output[-1]


class Products(TorchDispatchMode):
    """Notes the multiply-accumulates of each convolution and matrix product that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.macs: list[int] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run an operator, and count it by torch's table of operations, two for each."""
        result = function(*args, **kwargs or {})
        if operations := flop_registry.get(function._overloadpacket):
            self.macs.append(operations(*args, **kwargs or {}, out_val=result) // 2)
        return result


def script_products(network: foreign.ScriptNetwork, features: Tensor) -> list[int]:
    """As `onnx_products`."""
    with Products() as products:
        network(features)
    return products.macs
