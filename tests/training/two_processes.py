"""Run by torchrun in test_distributed: gradients, clocks and running statistics are averaged over two processes."""

import json
import sys
from pathlib import Path

import torch

from training import distributed

distributed.join(torch.device("cpu"))
mine = float(distributed.rank() + 1)
weights = [
    torch.nn.Parameter(torch.zeros(2, 3)),
    torch.nn.Parameter(torch.zeros(4)),
    torch.nn.Parameter(torch.zeros(1)),
]
weights[0].grad = torch.full((2, 3), mine)
weights[1].grad = torch.arange(4.0) * mine  # weights[2] has none
seconds = distributed.average(weights, 10.0 * mine)
running, count = torch.full((3,), mine), torch.tensor(7)
distributed.average_buffers([running, count])
assert weights[2].grad is None
found = {
    "first": weights[0].grad.tolist(),
    "second": weights[1].grad.tolist(),
    "seconds": seconds,
    "running": running.tolist(),
    "count": int(count),
}
Path(sys.argv[1], f"{distributed.rank()}.json").write_text(json.dumps(found))
distributed.leave()
