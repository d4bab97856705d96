"""A .pte file without its delegates: its kernels, on what lies in the delegates' outputs."""

from __future__ import annotations

import shutil


def write_without_delegates(path: str, target: str) -> None:
    """Copies a file of static shapes and no jumps, but for the calls of its delegates.

    The program is written anew, data keep their places behind it.
    """
    from executorch.exir._serialize import _program as pte
    from executorch.exir._serialize._flatbuffer_program import (
        _flatbuffer_to_program,
        _program_to_flatbuffer,
    )
    from executorch.exir.schema import DelegateCall, JumpFalseCall

    with open(path, "rb") as source, open(target, "wb") as out:
        header = pte._get_extended_header(source.read(pte._ExtendedHeader.NUM_HEAD_BYTES))
        assert header is not None
        source.seek(0)
        program = _flatbuffer_to_program(source.read(header.program_size))
        for plan in program.execution_plan:
            plan.delegates = []
            for chain in plan.chains:
                arguments = [item.instr_args for item in chain.instructions]
                assert not any(isinstance(item, JumpFalseCall) for item in arguments)
                chain.instructions = [
                    item
                    for item in chain.instructions
                    if not isinstance(item.instr_args, DelegateCall)
                ]
        flatbuffer = _program_to_flatbuffer(program)
        room = pte.aligned_size(header.length, flatbuffer.max_alignment)
        header.program_size = room + len(flatbuffer.data)
        source.seek(header.segment_base_offset)
        header.segment_base_offset = pte.aligned_size(header.program_size, 128)
        new = pte._insert_flatbuffer_header(
            flatbuffer.data, "ET", pte.pad_to(header.to_bytes(), room)
        )
        out.write(new.ljust(header.segment_base_offset, b"\0"))
        shutil.copyfileobj(source, out)
