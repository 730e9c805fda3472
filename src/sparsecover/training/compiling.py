"""torch.compile as an option that may fail."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsecover.progress import Reporter


def try_compile(model: nn.Module, images: Tensor, reporter: Reporter) -> nn.Module:
    """The network compiled, or the network itself with a note where compiling fails.

    One pass forward and backward is tried, since the graph of the backward pass is compiled by it; weights, buffers and
    random numbers are left as they were.

    Args:
        model: the network on its device, in the mode to be compiled for.
        images: [N, C, h, w] on the device, of the shape to be trained on.
        reporter: is told of a failure.
    """
    buffers = [buffer.clone() for buffer in model.buffers()]
    try:
        compiled: Any = torch.compile(model)
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            output = compiled(images)
            torch.autograd.backward(sum(part.sum() for part in (output if isinstance(output, list) else [output])))
    except Exception as error:  # compilers fail in many ways, all of which leave the network as it is
        reporter.note(f"torch.compile failed ({type(error).__name__}); the network runs uncompiled.")
        return model
    finally:
        model.zero_grad(set_to_none=True)
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    reporter.note("The network runs compiled by torch.compile.")
    network: nn.Module = compiled
    return network
