"""Tensors cut over several processes (DTensor: FSDP2, tensor parallelism), and their edges."""

from heatgrad.optim.sharded.chain import ChainNeighbours, chain_neighbours
from heatgrad.optim.sharded.edges import VelocityEdges
from heatgrad.optim.sharded.exchange import Exchange, Index, Pending, Source
from heatgrad.optim.sharded.layout import (
    Layout,
    are_sharded,
    as_sharded,
    gradient_held_here,
    held_here,
    is_sharded,
    layout_of,
    tell_written,
)
from heatgrad.optim.sharded.totals import global_norm, sums_over_shards, total_of_shards
from heatgrad.optim.sharded.windows import Line, widened_lines

__all__ = [
    "ChainNeighbours",
    "Exchange",
    "Index",
    "Layout",
    "Line",
    "Pending",
    "Source",
    "VelocityEdges",
    "are_sharded",
    "as_sharded",
    "chain_neighbours",
    "global_norm",
    "gradient_held_here",
    "held_here",
    "is_sharded",
    "layout_of",
    "sums_over_shards",
    "tell_written",
    "total_of_shards",
    "widened_lines",
]
