"""Operators that XNNPACK's delegate takes, each in a small function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def seeded(*shape: int) -> Tensor:
    """The same numbers for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) + len(shape)))


def varied(module: nn.Module) -> nn.Module:
    """The module with weights and statistics that are not their first ones."""
    with torch.no_grad():
        for index, tensor in enumerate([*module.parameters(), *module.buffers()]):
            if tensor.is_floating_point():
                values = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(index))
                tensor.copy_(values * 0.5 + 0.25)
    return module.eval()


@dataclass
class Case:
    """A function of a module and of up to three tensors.

    Shapes are texts: letters are dims that may be of any size ("b t 16"). Each case is run with all
    sizes fixed and with its letters dynamic, at several sizes that are at least `least`.
    """

    name: str
    function: Callable[..., Tensor]
    shapes: tuple[str, ...]
    module: nn.Module = field(default_factory=nn.Identity)
    least: int = 1
    positive: bool = False


ROWS = ("b t 16",)
IMAGE = ("b 8 h w",)

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "clamp_max": lambda x: x.clamp(max=0.2),
    "clamp_min": lambda x: x.clamp(min=-0.2),
    "cos": torch.cos,
    "elu": lambda x: F.elu(x, 0.7),
    "exp": torch.exp,
    "floor": torch.floor,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardtanh": F.hardtanh,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "neg": torch.neg,
    "pow_2": lambda x: x**2,
    "pow_3": lambda x: x**3,
    "pow_4": lambda x: x**4,
    "reciprocal": torch.reciprocal,
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sin": torch.sin,
    "square": torch.square,
    "tanh": torch.tanh,
}
POSITIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "log": torch.log,
    "pow_half": lambda x: x**0.5,
    "pow_minus_half": lambda x: x**-0.5,
    "pow_minus_1": lambda x: x**-1,
    "rsqrt": torch.rsqrt,
    "sqrt": torch.sqrt,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda a, b: torch.add(a, b, alpha=2),
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mul": torch.mul,
    "rsub": lambda a, b: (3 - a) * b,
    "sub": lambda a, b: torch.sub(a, b, alpha=3),
}


class Weights(nn.Module):
    """Constants by name."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def elementwise() -> list[Case]:
    cases = [
        Case(name, lambda m, x, f=f: f(x) * 2 + 1, ROWS, positive=table is POSITIVE)
        for table in (UNARY, POSITIVE)
        for name, f in table.items()
    ]
    for name, f in BINARY.items():
        for other in ("b t 16", "16", "t 1"):
            shapes = ("b t 16", other)
            cases.append(Case(f"{name}_{other}", lambda m, x, y, f=f: f(x, y) + 1, shapes))
            cases.append(Case(f"{name}_of_{other}", lambda m, x, y, f=f: f(y, x) + 1, shapes))
    weights = Weights(scalar=torch.tensor(3.0), row=seeded(16))
    cases.append(Case("constants", lambda m, x: x * m.scalar + m.row, ROWS, weights))
    cases.append(Case("prelu", lambda m, x: m(x * 2) + 1, IMAGE, varied(nn.PReLU(8))))
    cases.append(Case("expanded", lambda m, x, y: x.expand(y.shape) * y + 1, ("1 8", "b 8")))
    return cases


def products() -> list[Case]:
    matrix = Weights(w=seeded(16, 9), bias=seeded(9), stack=seeded(3, 8, 7), left=seeded(7, 8))
    two = ("b t 8", "b 8 u")
    return [
        Case("linear", lambda m, x: m(x), ROWS, varied(nn.Linear(16, 24))),
        Case("linear_relu", lambda m, x: F.relu(m(x)), ROWS, varied(nn.Linear(16, 7, bias=False))),
        Case("linear_vector", lambda m, x: m(x), ("16",), varied(nn.Linear(16, 24))),
        Case("linear_input", lambda m, x, w: F.linear(x, w), ("b t 16", "12 16")),
        Case("mm", lambda m, x: x @ m.w, ROWS, matrix),
        Case("addmm", lambda m, x: torch.addmm(m.bias, x, m.w), ("b 16",), matrix),
        Case(
            "addmm_scaled",
            lambda m, x: torch.addmm(m.bias, x, m.w, beta=0.5, alpha=2),
            ("b 16",),
            matrix,
        ),
        Case("bmm", lambda m, x, y: torch.bmm(x, y), two),
        Case(
            "baddbmm",
            lambda m, x, y, z: torch.baddbmm(z, x, y, beta=0.5, alpha=2),
            (*two, "b t u"),
        ),
        Case("matmul_turned", lambda m, x, y: x @ y.mT, ("b 3 t 8", "b 3 u 8")),
        Case("matmul_broadcast", lambda m, x, y: x @ y, ("4 b 3 t 8", "b 3 8 u")),
        Case("matmul_constant", lambda m, x: x @ m.stack, ("b 3 t 8",), matrix),
        Case("matmul_of_constant", lambda m, x: m.left @ x, ("b 3 8 t",), matrix),
    ]


def norms() -> list[Case]:
    group = varied(nn.GroupNorm(4, 16))
    return [
        Case("softmax", lambda m, x: F.softmax(x, -1), ROWS),
        Case("softmax_first", lambda m, x: F.softmax(x, 0), ROWS),
        Case("layer_norm", lambda m, x: m(x), ROWS, varied(nn.LayerNorm(16))),
        Case("layer_norm_plain", lambda m, x: F.layer_norm(x, (16,)), ROWS),
        Case("rms_norm", lambda m, x: m(x), ROWS, varied(nn.RMSNorm(16, eps=1e-6))),
        Case("rms_norm_default", lambda m, x: m(x), ROWS, varied(nn.RMSNorm(16))),
        Case("group_norm", lambda m, x: m(x), ("b 16 5 3",), group),
        Case("group_norm_rows", lambda m, x: m(x), ("b 16 5",), group),
        Case("mean", lambda m, x: x.mean(-1, keepdim=True), ROWS),
        Case("mean_dropped", lambda m, x: x.mean(-1) + 1, ("b 5 16",)),
        Case("mean_middle", lambda m, x: x.mean(1), ("b 3 4 5",)),
        Case("mean_first_and_third", lambda m, x: x.mean((0, 2)), ("2 3 4 b",)),
        Case("mean_image", lambda m, x: x.mean((2, 3)), IMAGE),
        Case("sum", lambda m, x: x.sum(-1, keepdim=True), ROWS),
        Case("sum_middle", lambda m, x: (x * x).sum(1), ("b 5 16",)),
    ]


def rotated(x: Tensor) -> Tensor:
    return torch.cat([-x[..., 8:], x[..., :8]], -1)


def layouts() -> list[Case]:
    heads = varied(nn.Linear(16, 24))
    weights = Weights(first=seeded(1, 1, 8), row=seeded(1, 1, 16))
    return [
        Case("permute", lambda m, x: (x * 2 + 1).permute(2, 0, 1) * 3, ROWS),
        Case("transposes", lambda m, x: (x * 2).mT.transpose(0, 1).mT.transpose(1, 2) + 1, ROWS),
        Case(
            "heads",
            lambda m, x: (
                (m(x).view(1, -1, 4, 6).transpose(1, 2) * 2).transpose(1, 2).flatten(2) * 3
            ),
            ("1 t 16",),
            heads,
        ),
        Case("unsqueeze", lambda m, x: ((x * 2)[:, None] * m.row)[:, 0] + 1, ("b 16",), weights),
        Case("flatten", lambda m, x: (x * 2).flatten(1) + 1, ("b 3 4 5",)),
        Case("slice", lambda m, x: (x * 2)[:, 1:, 3:9] + 1, ROWS, least=2),
        Case("slice_ends", lambda m, x: (x * 2)[:, :2, -3:] + 1, ROWS, least=3),
        Case("slice_steps", lambda m, x: (x * 2)[:, 1::2] + (x * 2)[:, ::2] + 1, ("b 8 5",)),
        Case("narrow", lambda m, x: (x * 2).narrow(1, 1, 3) + 1, ("b 16",)),
        Case("select", lambda m, x: (x * 2)[:, 0] + (x * 2)[:, -1], ("b 3 16",)),
        Case(
            "split",
            lambda m, x: torch.stack((x * 2).split(4, -1), 1).relu() + 1,
            ("b 12",),
        ),
        Case(
            "split_sizes",
            lambda m, x: torch.mul(*(x * 2).split([4, 1], -1)) + 1,
            ("b t 5",),
        ),
        Case("chunk", lambda m, x: torch.mul(*(x * 2).chunk(2, -1)) + 1, ("b t 12",)),
        Case("unbind", lambda m, x: torch.mul(*(x * 2).unbind(1)) + 1, ("b 2 12",)),
        Case("glu", lambda m, x: F.glu(x * 2, -1) + 1, ("b t 12",)),
        Case("cat", lambda m, x, y: torch.cat([x * 2, y + 1], 1), ("b t 8", "b u 8")),
        Case("cat_7", lambda m, x: torch.cat([x * i for i in range(2, 9)], -1), ("b t 8",)),
        Case("cat_constant", lambda m, x: torch.cat([m.first, x * 2 + 1], 1), ("1 t 8",), weights),
        Case("stack_last", lambda m, x: torch.stack([x * 2, x + 1], -1), ("b 8",)),
        Case("pad", lambda m, x: F.pad(x * 2 + 1, (1, 2, 0, 3), value=0.5), ("b t 8",)),
        Case("roll", lambda m, x: torch.roll(x * 2, (1, -2), (1, 2)) + 1, ("b 8 5",)),
        Case("rotated", lambda m, x: rotated(x) * 2 + x, ROWS),
    ]


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x).flatten(2).transpose(1, 2) * 2


class Residual(nn.Module):
    """Elementwise operators, parts and sums between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(20, 4, 1)
        self.weight = nn.Parameter(seeded(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(x))
        z = F.relu(self.second(y) + y) * self.weight
        left, right = z.chunk(2, 1)
        parts = torch.cat([z, y, left * right.sigmoid()], 1)
        return F.pad(self.last(parts), (1, 0, 2, 0)).mean((2, 3))


def image_modules() -> dict[str, nn.Module]:
    conv = nn.Conv2d
    return {
        "conv": conv(8, 6, 3, padding=1),
        "conv_stride": conv(8, 6, 3, padding=1, stride=2, bias=False),
        "conv_1x1": conv(8, 6, 1),
        "conv_dilation": conv(8, 6, 3, padding=2, dilation=2),
        "conv_groups": conv(8, 6, 3, groups=2),
        "conv_depthwise": conv(8, 16, 3, groups=8, padding=1),
        "conv_depthwise_7x7": conv(8, 8, 7, groups=8, padding=3),
        "conv_same": conv(8, 6, 4, padding="same"),
        "conv_transposed": nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1),
        "conv_transposed_groups": nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2, bias=False),
        "batch_norm": nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()),
        "batch_norm_folded": nn.Sequential(conv(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        "batch_norm_depthwise": nn.Sequential(
            conv(8, 16, 3, groups=8, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        ),
        "residual": Residual(),
        "prelu_between": nn.Sequential(conv(8, 6, 3), nn.PReLU(6), conv(6, 6, 3), nn.PReLU()),
        "max_pool": nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        "max_pool_dilation": nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, stride=1, dilation=2)),
        "average_pool": nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        "average_pool_padded": nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 2, 1)),
        "average_to_one": nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
    }


def fixed_image_modules() -> dict[str, nn.Module]:
    up = nn.Upsample
    return {
        "max_pool_ceiling": nn.MaxPool2d(3, 2, ceil_mode=True),
        "average_to_windows": nn.AdaptiveAvgPool2d((3, 11)),
        "resize": nn.Sequential(nn.ReLU(), up(scale_factor=2, mode="bilinear")),
        "resize_corners": up(scale_factor=2, mode="bilinear", align_corners=True),
        "resize_to_size": up(size=(5, 23), mode="bilinear"),
    }


def images() -> list[Case]:
    cases = [
        Case(name, lambda m, x: m(x), IMAGE, varied(module), least=7)
        for name, module in image_modules().items()
    ]
    cases += [
        Case(name, lambda m, x: m(x), ("b 8 9 11",), varied(module))
        for name, module in fixed_image_modules().items()
    ]
    cases.append(Case("patches", lambda m, x: m(x), ("b 3 16 16",), varied(Patches())))
    rows = {
        "conv1d": nn.Conv1d(8, 6, 3, padding=1),
        "conv1d_stride": nn.Conv1d(8, 6, 3, stride=2),
        "conv1d_same": nn.Conv1d(8, 8, 4, padding="same", groups=8),
        "conv1d_transposed": nn.ConvTranspose1d(8, 6, 3, stride=2, output_padding=1),
    }
    cases += [
        Case(name, lambda m, x: m(x), ("b 8 t",), varied(module), least=3)
        for name, module in rows.items()
    ]
    return cases


CASES = [*elementwise(), *products(), *norms(), *layouts(), *images()]
