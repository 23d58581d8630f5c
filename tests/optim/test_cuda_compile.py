"""The triton kernels compiled for a GPU, on any machine: what their interpreter cannot tell."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

TENSORS = {"tensors": "*i64"}
CHAIN = TENSORS | {"blocks": "*i32"}
VELOCITY = TENSORS | {"axes": "*i32", "plane": "i32"}


def test_kernels_compile_for_a_gpu():
    """In a process of its own, as triton decides once whether it interprets."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, __file__],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def assembly(kernel, pointers, **constants):
    """Return the PTX of a kernel for compute capability 9.0; arguments of neither kind are None."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    absent = {name: None for name in names if name not in pointers and name not in constants}
    places = {(names.index(name),): value for name, value in (constants | absent).items()}
    is_aligned = [name for name in pointers if pointers[name].startswith("*") or name == "plane"]
    source = ASTSource(
        fn=kernel,
        signature={name: pointers.get(name, "constexpr") for name in names},
        constexprs=places,
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in is_aligned},
    )
    options = {"num_warps": 8, "enable_fp_fusion": True, "maxnreg": 80}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]


def check_chain(types, wide, name):
    from heatgrad.optim.kernels import chain_cuda as kernels

    sizes = types | {"BLOCK": kernels.BLOCK}
    ends = {"DIRICHLET": True, "HAS_BESIDE": False}
    plain = assembly(kernels.step_blocks, CHAIN, DECAYS=False, CLIPS=False, **ends, **sizes)
    assert "bar.sync" not in plain
    borders = CHAIN | {"borders": wide}
    ends = {"DIRICHLET": False, "HAS_BESIDE": True}
    assembly(
        kernels.gather_borders,
        borders | {"beside": name, "num_blocks": "i32"},
        LANES=kernels.LANES,
        **ends,
        **sizes,
    )
    assembly(kernels.square_norms, borders | {"squares": "*fp64"}, DECAYS=True, **sizes)
    all_options = assembly(
        kernels.step_blocks,
        borders | {"beside": name, "scale": "*fp64"},
        DECAYS=True,
        CLIPS=True,
        **ends,
        **sizes,
    )
    assert "bar.sync" in all_options  # old parameters are read before they change
    return plain, all_options


def check_velocity(types, name):
    from heatgrad.optim.kernels import velocity_cuda as kernels

    cut = VELOCITY | {"edges": name}
    options = types | {"AXES": 1, "ENDS": 1}
    assembly(
        kernels.gather_edges,
        cut | {"chunks": "*i32", "cuts": "*i32"},
        LANES=kernels.LANES,
        **options,
    )
    tiles = cut | {"tiles": "*i32"}
    rows = assembly(kernels.step_tiles, tiles, HAS_CUTS=True, TILE=kernels.TILE, **options)
    assert rows.count("bar.sync") == 4  # two between reading, writing and reading, each way
    tiles.pop("edges")
    options = types | {"AXES": 2, "ENDS": 2}
    slabs = assembly(kernels.step_tiles, tiles, HAS_CUTS=False, TILE=kernels.TILE, **options)
    return rows, slabs


def main():
    """Compile what a step launches; aligned tensors are read and written 16 bytes at a time."""
    from triton import language as tl

    from heatgrad.optim.kernels import chain_cuda

    for kind, wide, name in (
        (tl.float32, (tl.float32, "*fp32"), "*fp32"),
        (tl.bfloat16, (tl.float32, "*fp32"), "*bf16"),
    ):
        types = {"DTYPE": kind, "WIDE": wide[0]}
        codes = (*check_chain(types, wide[1], name), *check_velocity(types, name))
        run = "v4.b32" if kind == tl.float32 else "v2.b32"
        for code in codes:
            assert f"ld.global.{run}" in code
            assert f"st.global.{run}" in code
    sums = {"squares": "*fp64", "scale": "*fp64", "num_blocks": "i32"}
    assembly(chain_cuda.norm_scale, TENSORS | sums, LANES=chain_cuda.LANES)


if __name__ == "__main__":
    main()
