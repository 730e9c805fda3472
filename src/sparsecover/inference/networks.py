"""The networks of a prediction: opened once, made ready once, told apart by what shows in a map."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.errors import ModelError
from sparsecover.inference.runtimes import Runtime, make_runtime
from sparsecover.normalize import Normalizer


@dataclass(frozen=True, eq=False)
class Member:
    """A checkpoint, or a bare network that gets values as stored; many scenes share what is made of it."""

    network: Checkpoint | nn.Module

    def __getstate__(self) -> dict[str, Any]:
        return {"network": self.network}  # another process makes its own

    @cached_property
    def module(self) -> nn.Module:
        """The network in eval mode: normalised [N, C, h, w] to logits [N, K, h, w]."""
        return self.network.model() if isinstance(self.network, Checkpoint) else self.network.eval()

    @property
    def normalizer(self) -> Normalizer | None:
        """How its input is scaled."""
        return self.network.normalizer if isinstance(self.network, Checkpoint) else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that shows in a map."""
        network = self.network
        known: list[object] = []
        if isinstance(network, Checkpoint):
            options = dict(network.model_spec.options)
            known = [network.normalizer.as_dict(), network.scheme.as_dicts(), network.model_spec.name, options]
        else:
            plain = {name: value for name, value in vars(network).items() if isinstance(value, (int, float, str))}
            known = [plain | {"training": False}]
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        state = network.state if isinstance(network, Checkpoint) else network.state_dict()
        for name in sorted(state):
            digest.update(name.encode())
            digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def runtime(self, name: str, device: torch.device, bands: int, size_px: int, compiled: bool, lanes: int) -> Runtime:
        """As ``make_runtime``, made once."""
        key = (name, device, bands, size_px, compiled, lanes)
        if key not in self._runtimes:
            self._runtimes[key] = make_runtime(name, self.module, device, bands, size_px, compiled, lanes)
        return self._runtimes[key]

    @cached_property
    def _runtimes(self) -> dict[tuple[Any, ...], Runtime]:
        return {}

    def num_classes(self, bands: int) -> int:
        """K; a bare network is asked for it."""
        if isinstance(self.network, Checkpoint):
            return len(self.network.scheme)
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            return int(self.module(torch.zeros(1, bands, 64, 64, device=device)).shape[1])


Network = Member | Checkpoint | nn.Module | str | os.PathLike[str]
Networks = Network | Sequence[Network]


def load_networks(networks: Networks) -> tuple[Member, ...]:
    """Open what is given as paths, and check that all speak of the same bands and classes.

    Raises:
        CheckpointError: a file that is not one of ours.
        ModelError: networks that do not belong together.
    """
    listed = networks if isinstance(networks, Sequence) and not isinstance(networks, str) else [networks]
    members = tuple(map(_member, listed))
    if not members:
        raise ModelError("No network was given; expected a checkpoint or several of one ensemble.")
    first = members[0].network
    for other in (member.network for member in members[1:]):
        if not (isinstance(first, Checkpoint) and isinstance(other, Checkpoint)):
            raise ModelError("An ensemble is made of checkpoints; bare networks have no classes and bands to compare.")
        if (first.bands, first.scheme) != (other.bands, other.scheme):
            raise ModelError(
                f"The checkpoints differ: {', '.join(first.scheme.names)} from {', '.join(first.bands)}; and "
                f"{', '.join(other.scheme.names)} from {', '.join(other.bands)}. An ensemble needs the same of both."
            )
    return members


def _member(network: Network) -> Member:
    if isinstance(network, Member):
        return network
    return Member(load_checkpoint(Path(network)) if isinstance(network, (str, os.PathLike)) else network)
