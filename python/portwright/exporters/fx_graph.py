"""torch.fx graphs from the document of a .pt2 file that the engine wrote.

Faster than torch's reader, which parses every size and makes every fake tensor anew: symbols are
parsed once, and values of one type are copies of one tensor.
"""

from __future__ import annotations

import copy
import functools
import operator
import typing
from collections.abc import Callable
from typing import Any

import torch
from torch._export.serde import schema, serialize
from torch._export.serde.union import _Union
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx._lazy_graph_module import _LazyGraphModule
from torch.fx.experimental.symbolic_shapes import _free_unbacked_symbols_with_path

from portwright import _core

Json = dict[str, Any]


class GraphReader:
    """Turns the document's graph into one of torch.fx.

    Args:
        reader: torch's, with symbols and a fake tensor mode.
        document: the JSON of the graph.
        input_names: of the graph's inputs, constants included; None for a body, which has none.
    """

    def __init__(self, reader: Any, document: Json, input_names: list[str] | None) -> None:
        self._reader = reader
        self._targets: dict[str, Any] = {}
        self._places: dict[tuple[str, str | None], Json] = {}
        self._modules: dict[str, tuple[str, tuple[str, str]]] = {}
        self._sizes: dict[str, Any] = {}
        self._types: dict[Any, torch.Tensor] = {}
        self._start(document, input_names)

    def _start(self, document: Json, input_names: list[str] | None) -> None:
        self._document = document
        self._input_names = input_names
        self._graph = torch.fx.Graph()
        self._root = torch.nn.Module()
        self._nodes: dict[str, torch.fx.Node] = {}

    def read(self) -> torch.fx.GraphModule:
        """The graph with the metadata of torch.export: val, nn_module_stack, stack_trace.

        Its Python code is made when it is asked for.
        """
        inputs = [_only(item) for item in self._document["inputs"]]
        names = self._input_names or [value["name"] for _, value in inputs]
        for name, (kind, value) in zip(names, inputs, strict=True):
            self._add_input(name, kind, value)
        for node in self._document["nodes"]:
            self._add_node(node)
        outputs = tuple(self._argument(*_only(item)) for item in self._document["outputs"])
        values = [item.meta["val"] if isinstance(item, torch.fx.Node) else item for item in outputs]
        self._graph.output(outputs).meta["val"] = tuple(values)
        if self._reader.unbacked_symbols:
            self._add_unbacked_bindings()
        return _LazyGraphModule(self._root, self._graph)

    # ── Nodes ──

    def _add_input(self, name: str, kind: str, value: Any) -> None:
        node = self._graph.placeholder(name)
        node.name = name  # also where it is a name that torch.fx would change, like "input"
        if kind == "as_tensor":
            self._define(node)
        else:
            node.meta["val"] = self._argument(kind, value)

    def _add_node(self, document: Json) -> None:
        target = self._target(document["target"])
        args: list[Any] = []
        kwargs: Json = {}
        for item in document["inputs"]:
            argument = self._argument(*_only(item["arg"]))
            if item["kind"] == _KEYWORD:
                kwargs[item["name"]] = argument
            else:
                args.append(argument)
        node = self._graph.create_node(
            "call_function", target, tuple(args), kwargs, document["name"]
        )
        place = self._place(document["metadata"])
        for made in (
            node,
            *(a for a in args if isinstance(a, torch.fx.Node) and a.op == "get_attr"),
        ):
            made.meta.update(place)
        outputs = [_only(item) for item in document["outputs"]]
        single = document["is_hop_single_tensor_return"] is not False
        if len(outputs) == 1 and single and outputs[0][0] in _NAMED:
            node.name = _name(outputs[0][1])
            self._define(node)
        elif outputs:
            node.meta["val"] = tuple(self._items(node, self._flat(outputs)))
        if target is torch.ops.aten._assert_scalar.default:
            self._assume(node)

    @staticmethod
    def _flat(outputs: list[tuple[str, Any]]) -> list[Json | None]:
        """The tensors of a node with several outputs, or with one that is a list."""
        if len(outputs) == 1 and outputs[0][0] == "as_tensors":
            return list(outputs[0][1])
        return [value if kind == "as_tensor" else None for kind, value in outputs]

    def _items(self, node: torch.fx.Node, outputs: list[Json | None]) -> list[Any]:
        """A getitem node for each tensor, and their values."""
        values: list[Any] = []
        for index, output in enumerate(outputs):
            if output is None:
                values.append(None)
                continue
            item = self._graph.create_node(
                "call_function", operator.getitem, (node, index), name=output["name"]
            )
            item.meta.update((key, node.meta[key]) for key in _PLACE if key in node.meta)
            self._define(item)
            values.append(item.meta["val"])
        return values

    def _define(self, node: torch.fx.Node) -> None:
        """Gives `node` the value of its name."""
        self._nodes[node.name] = node
        for table, read in _VALUES.items():
            if (value := self._document[table].get(node.name)) is not None:
                node.meta["val"] = read(self, value)
                return

    def _assume(self, node: torch.fx.Node) -> None:
        condition = node.args[0]
        if isinstance(condition, torch.fx.Node):
            value = condition.meta["val"]
            if isinstance(value, torch.SymBool):
                env = self._reader.shape_env
                env.guard_or_defer_runtime_assert(value.node.expr, "", node)

    def _add_unbacked_bindings(self) -> None:
        pending = self._reader.unbacked_symbols
        for node in self._graph.nodes:
            bindings = _free_unbacked_symbols_with_path(
                node.meta.get("val"),
                (),
                shape_env=self._reader.shape_env,
                pending=pending,
                simplify=True,
            )
            if bindings:
                node.meta["unbacked_bindings"] = bindings

    def _target(self, name: str) -> Any:
        if name not in self._targets:
            self._targets[name] = self._reader.deserialize_operator(name)
        return self._targets[name]

    def _place(self, metadata: dict[str, str]) -> Json:
        """Module stack and line; nodes of one place share the values, which nothing edits."""
        key = metadata["nn_module_stack"], metadata.get("stack_trace")
        if key not in self._places:
            place: Json = {"nn_module_stack": dict(map(self._module, key[0].split(";")))}
            if key[1]:
                place["stack_trace"] = key[1]
            self._places[key] = place
        return self._places[key]

    def _module(self, text: str) -> tuple[str, tuple[str, str]]:
        if text not in self._modules:
            key, path, kind = text.split(",")
            self._modules[text] = key, (path, kind)
        return self._modules[text]

    def _body(self, value: Json) -> torch.fx.Node:
        """The graph that a node of control flow runs, as a submodule."""
        inner = copy.copy(self)  # what is known of places, sizes and types is shared
        inner._start(value["graph"], None)
        pending, self._reader.unbacked_symbols = self._reader.unbacked_symbols, set()
        self._root.register_module(value["name"], inner.read())
        self._reader.unbacked_symbols = pending
        return self._graph.create_node("get_attr", value["name"], name=value["name"])

    # ── Values ──

    def _argument(self, kind: str, value: Any) -> Any:
        return _ARGUMENTS[kind](self, value)

    def _node(self, argument: Json) -> torch.fx.Node:
        return self._nodes[argument["name"]]

    def _number(self, argument: Json) -> Any:
        """Of an integer, float or bool that is a node's result or a constant."""
        kind, value = _only(argument)
        return self._nodes[value] if kind == "as_name" else value

    def _sym_int(self, value: Json) -> Any:
        kind, number = _only(value)
        if kind == "as_int":
            return number
        text = number["expr_str"]
        if text not in self._sizes:
            hint = number["hint"] and number["hint"]["as_int"]
            symbol = self._reader._parse_sym_expr(text, hint)
            self._sizes[text] = self._reader.shape_env.create_symintnode(symbol, hint=hint)
        return self._sizes[text]

    def _sym_float(self, value: Json) -> Any:
        return self._reader.deserialize_sym_float(parse(schema.SymFloat, value))

    def _sym_bool(self, value: Json) -> Any:
        return self._reader.deserialize_sym_bool(parse(schema.SymBool, value))

    def _tensor(self, meta: Json) -> FakeTensor:
        sizes, strides = meta["sizes"], meta["strides"]
        key = meta["dtype"], *map(_size_key, sizes), *map(_size_key, strides)
        if key not in self._types:
            self._types[key] = torch.empty_strided(
                [self._sym_int(size) for size in sizes],
                [self._sym_int(stride) for stride in strides],
                dtype=serialize._SERIALIZE_TO_TORCH_DTYPE[meta["dtype"]],
                device="meta",
            )
        return FakeTensor(
            self._reader.fake_tensor_mode,
            _core.with_own_storage(self._types[key]),
            _device(meta["device"]),
            requires_grad=meta["requires_grad"],
        )


def _only(union: Json) -> tuple[str, Any]:
    """The field and the value of one of the schema's unions."""
    return next(iter(union.items()))


def _name(output: Json) -> str:
    return str(output["name"] if "name" in output else output["as_name"])


def _size_key(size: Json) -> int | str:
    number: int | None = size.get("as_int")
    return str(size["as_expr"]["expr_str"]) if number is None else number


def _device(value: Json) -> torch.device:
    kind, index = value["type"], value["index"]
    return torch.device(kind) if index is None else torch.device(kind, index)


_KEYWORD = int(schema.ArgumentKind.KEYWORD)
_PLACE = ("nn_module_stack", "stack_trace")
_NAMED = frozenset({"as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"})

Read = Callable[[GraphReader, Any], Any]
# By table of the document: how its values are read.
_VALUES: dict[str, Read] = {
    "tensor_values": GraphReader._tensor,
    "sym_int_values": GraphReader._sym_int,
    "sym_float_values": GraphReader._sym_float,
    "sym_bool_values": GraphReader._sym_bool,
}


def _as_it_is(_: GraphReader, value: Any) -> Any:
    return value


def _each(read: Read) -> Read:
    return lambda graph, items: [read(graph, item) for item in items]


# By kind of the argument: how it is read.
_ARGUMENTS: dict[str, Read] = {
    "as_none": lambda graph, value: None,
    "as_tensor": GraphReader._node,
    "as_graph": GraphReader._body,
    "as_tensors": _each(GraphReader._node),
    "as_optional_tensors": _each(lambda graph, item: graph._argument(*_only(item))),
    "as_sym_int": GraphReader._number,
    "as_sym_ints": _each(GraphReader._number),
    "as_sym_float": GraphReader._number,
    "as_sym_bool": GraphReader._number,
    "as_float": lambda graph, value: float(value),
    "as_floats": _each(lambda graph, item: float(item)),
    "as_scalar_type": lambda graph, value: serialize._SERIALIZE_TO_TORCH_DTYPE[value],
    "as_memory_format": lambda graph, value: serialize._SERIALIZE_TO_TORCH_MEMORY_FORMAT[value],
    "as_layout": lambda graph, value: serialize._SERIALIZE_TO_TORCH_LAYOUT[value],
    "as_device": lambda graph, value: _device(value),
    **dict.fromkeys(
        ("as_bool", "as_bools", "as_int", "as_ints", "as_string", "as_strings"), _as_it_is
    ),
}


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, globalns=vars(schema))


def parse(cls: Any, data: Any) -> Any:
    """An object of the schema's class from its JSON."""
    origin: Any = typing.get_origin(cls)
    make: Any = cls
    if data is None:
        return None
    if isinstance(cls, type) and issubclass(cls, _Union):
        ((field, value),) = data.items()
        return make.create(**{field: parse(_hints(make)[field], value)})
    if isinstance(data, list):
        item = typing.get_args(cls)[0]
        return data if item in (int, str, bool) else [parse(item, value) for value in data]
    if isinstance(data, dict):
        if origin is dict:
            item = typing.get_args(cls)[1]
            return {key: parse(item, value) for key, value in data.items()}
        if origin is not None:  # X | None
            return parse(typing.get_args(cls)[0], data)
        hints = _hints(cls)
        return cls(**{name: parse(hints[name], value) for name, value in data.items()})
    return float(data) if cls is float else data
