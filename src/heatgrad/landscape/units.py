"""Which axes of a network's tensors its hidden units lie along, read from its graph."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd

__all__ = ["Factor", "Place", "Units", "units_of"]


@dataclass(frozen=True)
class Place:
    """An axis of a tensor, along which units lie.

    Attributes:
        name: Of the parameter or buffer.
        axis: Which of its axes.
        repeat: Entries in a row that belong to one unit; more than 1 behind a flattened image.
    """

    name: str
    axis: int
    repeat: int = 1


@dataclass
class Factor:
    """The scale of units, which one tensor sets and others may take back.

    Attributes:
        rows: Tensors whose first axis sets it.
        columns: Where it is taken back.
        is_free: Whether a positive factor in the rows, undone in the columns, changes nothing.
        is_normed: Whether batch normalisation takes it.
    """

    rows: tuple[str, ...] = ()
    columns: list[Place] = field(default_factory=list)
    is_free: bool = True
    is_normed: bool = False


@dataclass
class Units:
    """Hidden units that may change places among themselves.

    Attributes:
        size: How many.
        places: Everything that must follow them.
    """

    size: int
    places: list[Place] = field(default_factory=list)
    is_fixed: bool = False
    joined: "Units | None" = None

    def root(self) -> "Units":
        """Return the group that this one was joined to, in the end."""
        return self if self.joined is None else self.joined.root()


def units_of(model: nn.Module) -> tuple[list[Units], list[Factor]]:
    """Return the groups of units of a network that may be reordered, and the scales of units.

    Followed are linear layers, convolutions (whole or one filter a channel), batch and layer norm,
    pointwise functions, poolings, flattening and sums, as in fully connected, convolutional and
    residual networks. Units whose sum is taken share an order; inputs and outputs keep theirs.

    Args:
        model: The network.

    Returns:
        Groups and scales, from the inputs to the outputs.

    Raises:
        ValueError: If the graph cannot be traced, or holds something else, as shortcuts that pad
            (of `ResNet`, unless `shortcut="projection"`) and channels joined (`DenseNet`).
    """
    try:
        graph = fx.Tracer().trace(copy.deepcopy(model).eval())
    except Exception as error:  # whatever the network does with what is no tensor
        raise ValueError(
            f"a network must be traceable by torch.fx to be aligned, got "
            f"{type(model).__name__}: {error or type(error).__name__}"
        ) from error
    walk = _Walk(dict(model.named_modules()))
    for node in graph.nodes:
        walk.visit(node)
    groups = {id(u.root()): u.root() for u in walk.groups}
    return [u for u in groups.values() if not u.is_fixed and u.size > 1], walk.factors


@dataclass
class _Label:
    """What the channels of a tensor are: hidden units, or inputs (None), which stay in place."""

    units: Units | None
    factor: Factor
    is_image: bool | None  # None: as it may be


_KEEPING = (*(nn.ReLU, nn.LeakyReLU, nn.Identity, _DropoutNd),)
_POOLINGS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_BENDING = (
    *(nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Softsign),
    *(nn.Mish, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid),
)
# Functions and methods, by name.
_KEEPING_CALLS = frozenset(
    [
        "relu",
        "relu_",
        "leaky_relu",
        "dropout",
        "dropout1d",
        "dropout2d",
        "contiguous",
        "max_pool1d",
        "max_pool2d",
        "avg_pool1d",
        "avg_pool2d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
    ]
)
_BENDING_CALLS = frozenset(
    ["tanh", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "mish", "hardswish", "relu6"]
)
_SUMS = frozenset(["add", "add_", "iadd", "sub", "sub_", "isub"])
_PRODUCTS = frozenset(["mul", "mul_", "imul", "truediv", "div", "div_"])


class _Walk:
    """Follows channels through a graph."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.groups: list[Units] = []
        self.factors: list[Factor] = []
        self._modules = modules
        self._labels: dict[fx.Node, _Label] = {}
        self._made: dict[str, tuple[Units, Factor]] = {}

    def visit(self, node: fx.Node) -> None:
        inputs = [self._labels[n] for n in node.all_input_nodes if n in self._labels]
        if node.op == "placeholder":
            self._labels[node] = _Label(None, Factor(is_free=False), None)
        elif node.op == "output":
            for label in inputs:
                self._fix(label)
        elif node.op == "call_module":
            self._labels[node] = self._through(str(node.target), inputs)
        elif not self._is_size(node):
            self._labels[node] = self._called(node, inputs)

    def _is_size(self, node: fx.Node) -> bool:
        """Whether a node asks for a shape, or for a part of one."""
        name, source = _name(node), node.args[0] if node.args else None
        if name == "getitem":
            return source not in self._labels
        return name == "size" or (name == "getattr" and node.args[1] in ("shape", "ndim"))

    def _through(self, name: str, inputs: list[_Label]) -> _Label:
        module, label = self._modules[name], inputs[0]
        if isinstance(module, nn.Linear):
            if label.is_image:
                raise _unknown(f"'{name}', a linear layer on what is not flattened")
            self._consume(label, f"{name}.weight", module.in_features)
            return self._produce(name, module.out_features, is_image=False)
        if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
            return self._convolved(name, module, label)
        if isinstance(module, _BatchNorm) or (
            isinstance(module, nn.LayerNorm)
            and len(module.normalized_shape) == 1
            and label.is_image is False
        ):
            return self._normed(name, module, label)
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1:
            return _Label(label.units, label.factor, False)
        if isinstance(module, _BENDING):
            label.factor.is_free = False
            return label
        if isinstance(module, _KEEPING) or (isinstance(module, _POOLINGS) and label.is_image):
            return label
        raise _unknown(f"'{name}' ({type(module).__name__})")

    def _called(self, node: fx.Node, inputs: list[_Label]) -> _Label:
        name = _name(node)
        if not inputs:
            raise _unknown(f"'{node.name}'")
        label = inputs[0]
        is_pooling = "pool" in name and not label.is_image
        if not is_pooling and (name in _KEEPING_CALLS or (name in _PRODUCTS and len(inputs) == 1)):
            return label
        if name in _BENDING_CALLS:
            label.factor.is_free = False
            return label
        if name in _SUMS:
            return self._sum(node, inputs)
        if (name == "mean" and _over_the_image(node)) or _flattens(node, name):
            return _Label(label.units, label.factor, False)
        raise _unknown(f"'{node.name}'")

    def _convolved(self, name: str, module: _ConvNd, label: _Label) -> _Label:
        if module.groups == 1:
            self._consume(label, f"{name}.weight", module.in_channels)
            return self._produce(name, module.out_channels, is_image=True)
        if module.groups == module.in_channels == module.out_channels:
            label.factor.columns.append(Place(f"{name}.weight", 0))
            return self._rescaled(name, label, label.units, ("weight", "bias"))
        raise _unknown(f"'{name}', a convolution in {module.groups} groups")

    def _normed(self, name: str, module: nn.Module, label: _Label) -> _Label:
        if isinstance(module, _BatchNorm):
            label.factor.is_normed = True
        else:
            label.factor.is_free = False
        parts = ("weight", "bias", "running_mean", "running_var")
        return self._rescaled(name, label, label.units, parts)

    def _rescaled(
        self, name: str, label: _Label, units: Units | None, parts: Iterable[str]
    ) -> _Label:
        """Return the label of the same units behind a layer that scales each by itself."""
        tensors = {p: getattr(self._modules[name], p, None) for p in parts}
        held = [p for p, tensor in tensors.items() if tensor is not None]
        if units is not None:
            for part in held:
                count = len(tensors[part])  # type: ignore[arg-type]
                self._add(units, Place(f"{name}.{part}", 0, _repeat(units, count, name)))
        rows = tuple(f"{name}.{p}" for p in held if p in ("weight", "bias"))
        factor = self._factor(name, rows if "weight" in held else ())
        return _Label(units, factor, label.is_image)

    def _consume(self, label: _Label, name: str, count: int) -> None:
        if label.units is not None:
            place = Place(name, 1, _repeat(label.units, count, name))
            self._add(label.units, place)
            label.factor.columns.append(place)

    def _produce(self, name: str, size: int, *, is_image: bool) -> _Label:
        module = self._modules[name]
        rows = tuple(f"{name}.{p}" for p in ("weight", "bias") if getattr(module, p) is not None)
        if name in self._made:  # a layer that is used twice gives the same units twice
            units, factor = self._made[name]
            factor.is_free = False
            return _Label(units, factor, is_image)
        units, factor = Units(size, [Place(row, 0) for row in rows]), self._factor(name, rows)
        self.groups.append(units)
        self._made[name] = units, factor
        return _Label(units, factor, is_image)

    def _factor(self, name: str, rows: tuple[str, ...]) -> Factor:
        factor = Factor(rows, is_free=bool(rows) and name not in self._made)
        self.factors.append(factor)
        return factor

    def _sum(self, node: fx.Node, inputs: list[_Label]) -> _Label:
        for label in inputs:
            label.factor.is_free = False
        first = inputs[0]
        for label in inputs[1:]:
            if first.units is None or label.units is None:
                self._fix(first)
                self._fix(label)
                first = _Label(None, first.factor, first.is_image)
            else:
                _join(first.units.root(), label.units.root(), node.name)
        return _Label(first.units, Factor(is_free=False), first.is_image)

    def _fix(self, label: _Label) -> None:
        label.factor.is_free = False
        if label.units is not None:
            label.units.root().is_fixed = True

    def _add(self, units: Units, place: Place) -> None:
        own = units.root().places
        if place not in own:
            own.append(place)


def _join(a: Units, b: Units, where: str) -> None:
    if a is b:
        return
    if a.size != b.size:
        raise _unknown(f"'{where}', a sum of {a.size} and {b.size} channels")
    a.places += [place for place in b.places if place not in a.places]
    a.is_fixed = a.is_fixed or b.is_fixed
    b.joined = a


def _repeat(units: Units, count: int, name: str) -> int:
    if count % units.size:
        raise _unknown(f"'{name}', {count} inputs from {units.size} units")
    return count // units.size


def _name(node: fx.Node) -> str:
    """Return the name of a function or method."""
    return node.target if isinstance(node.target, str) else node.target.__name__


def _flattens(node: fx.Node, name: str) -> bool:
    if name in ("view", "reshape"):
        return bool(len(node.args) == 3 and node.args[2] == -1)
    given = (*node.args[1:], *node.kwargs.values())
    return name == "flatten" and given in ((1,), (1, -1))


def _over_the_image(node: fx.Node) -> bool:
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    keeps = node.kwargs.get("keepdim", False) or len(node.args) > 2
    return not keeps and isinstance(dims, tuple | list) and sorted(dims) in ([2, 3], [-2, -1])


def _unknown(what: str) -> ValueError:
    return ValueError(
        f"a network to be aligned must be made of linear layers, convolutions, batch norm, "
        f"pointwise functions, poolings and sums, got {what}{_remedy(what)}"
    )


def _remedy(what: str) -> str:
    """Return what may be done about a call that joins channels or takes some of them."""
    if what.startswith("'getitem"):
        return "; shortcuts that cut and pad tensors: make the network with shortcut='projection'"
    return ""
