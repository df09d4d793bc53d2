"""Which kernel is chosen for which processor, and that it is made of the instructions it should be."""

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from hashwerk.work.kernel import Kind, Scanner, available_strategies, describe_host
from hashwerk.work.kernel.scanner import header_hash, scan_candidates
from hashwerk.work.kernel.strategy import generate, strategies
from hashwerk.work.kernel.target import Target, host_target
from hashwerk.work.kernel.vector import build_vector_kernel

X86 = "x86_64-unknown-linux-gnu"
SSE = frozenset({"sse2", "ssse3", "sse4.1"})
AVX2 = SSE | {"avx", "avx2"}
AVX512 = AVX2 | {"avx512f", "avx512vl"}
HEADER = bytes(range(100, 176))


def make_target(features: frozenset[str], triple: str = X86, cpu: str = "generic") -> Target:
    return Target(triple, cpu, features, features)


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (SSE, ["vector-4", "vector-1"]),
        (SSE | {"sha"}, ["sha-2", "vector-4", "vector-1"]),
        (AVX2, ["vector-8", "vector-4", "vector-1"]),
        (AVX2 | {"sha"}, ["sha-2", "vector-8", "vector-4", "vector-1"]),
        (AVX512, ["vector-16", "vector-8", "vector-4", "vector-1"]),
        (AVX512 | {"sha"}, ["vector-16", "sha-2", "vector-8", "vector-4", "vector-1"]),
    ],
)
def test_the_fastest_strategy_comes_first(features: frozenset[str], names: list[str]) -> None:
    assert [strategy.name for strategy in strategies(make_target(features))] == names


def test_arm_processors_have_four_lanes() -> None:
    target = make_target(frozenset({"neon", "sha2"}), "aarch64-unknown-linux-gnu")
    assert [strategy.name for strategy in strategies(target)] == ["vector-4", "vector-1"]


def test_the_host_description_names_what_the_scanner_takes() -> None:
    host = describe_host()
    assert host.strategy == Scanner().strategy.name
    assert host.strategies == tuple(strategy.name for strategy in available_strategies())
    assert host.cpu


@pytest.mark.skipif(not host_target().is_x86, reason="compiles for lesser processors of the x86 family")
@pytest.mark.parametrize(
    "missing", [("avx512",), ("avx512", "avx2", "avx"), ("avx512", "avx", "sha", "ssse3", "sse4")]
)
def test_kernels_for_lesser_processors_hash_rightly(missing: tuple[str, ...]) -> None:
    target = host_target().without(*missing)
    nonces = range(2**32 - 40, 2**32 + 60)
    limit = 2**253 - 1
    expected = [nonce % 2**32 for nonce in nonces if header_hash(HEADER, nonce % 2**32) <= limit]
    for strategy in strategies(target):
        kernel = generate(strategy, target)
        candidates = scan_candidates(kernel, HEADER, nonces.start, len(nonces), limit)
        assert [nonce for nonce in candidates if header_hash(HEADER, nonce) <= limit] == expected
        assert "zmm" not in kernel.assembly()


@pytest.mark.skipif(16 not in host_target().widths, reason="this processor has no AVX-512")
def test_rotations_and_functions_of_three_words_are_one_instruction_each() -> None:
    assembly = generate(available_strategies()[0], host_target()).assembly()
    # 116 pairs of Σ with three rotations each, 156 σ with two rotations and a shift (docs/performance/hashing.md).
    assert assembly.count("vprord") == 1020
    assert assembly.count("vpsrld") == 156
    assert assembly.count("vpternlogd") == 628
    assert assembly.count("vpaddd") < 1060
    assert "vpslld" not in assembly


@pytest.mark.skipif(not host_target().has_sha_instructions, reason="this processor has no SHA instructions")
def test_the_sha_kernel_does_two_rounds_an_instruction() -> None:
    strategy = next(strategy for strategy in available_strategies() if strategy.kind is Kind.SHA_INSTRUCTIONS)
    # Rounds 2 … 63 and 0 … 61 of each nonce, and once a header rounds 0 and 1.
    rounds = 31 + 31
    assert generate(strategy, host_target()).assembly().count("sha256rnds2") == strategy.width * rounds + 1


def test_the_vector_kernel_is_generated_for_arm_too() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = make_target(frozenset({"neon"}), "aarch64-unknown-linux-gnu")
    module: ir.Module = build_vector_kernel(4, target)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(features="+neon", opt=2)
    assembly = machine.emit_assembly(parsed)
    assert assembly.count(".4s") > 2800
