"""Contenders in PyTorch: the same network, channels last, eager or compiled."""

import torch
from contest import BATCH, IMAGES, LABELS, filters, timed
from torch import nn

from fmnist_utils.series.speed import convolutions

LAST = torch.channels_last


def _block(before, after, *, pool=False):
    layers = [nn.Conv2d(before, after, 3, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*layers, nn.BatchNorm2d(after), nn.ReLU())


class Residual(nn.Module):
    """The residual network, pooling first as in ours."""

    def __init__(self, width):
        super().__init__()
        stem, *stages = filters(width)
        self.stem = _block(1, stem)
        self.scaled = nn.ModuleList()
        self.pairs = nn.ModuleList()
        for before, after in zip([stem, *stages], stages, strict=False):
            self.scaled.append(_block(before, after, pool=True))
            self.pairs.append(nn.Sequential(_block(after, after), _block(after, after)))
        self.head = nn.Linear(stages[-1], 10)

    def forward(self, images):
        """Return the logits of raw images."""
        x = self.stem((images / 255).to(memory_format=LAST))
        for scaled, pair in zip(self.scaled, self.pairs, strict=True):
            x = scaled(x)
            x = x + pair(x)
        return self.head(x.amax((2, 3)))


def version():
    """Return a call that returns PyTorch's version."""
    return lambda: torch.__version__


def update(width, *, bfloat16, compiled):
    """Update it as PyTorch's own tutorials do."""
    model = Residual(width).to(memory_format=LAST)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    network = torch.compile(model) if compiled else model
    images, labels = torch.tensor(IMAGES[:, None]), torch.tensor(LABELS)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def answer(width, n, *, bfloat16):
    """Answer as trained, in evaluation mode."""
    model = Residual(width).to(memory_format=LAST).eval()
    images = torch.tensor(IMAGES[:n, None])

    def call():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return model(images).softmax(1).float().numpy()

    return call


def kernels(width, dtype):
    """Return a call that times the kernels of each convolution, by side, channels and filters."""
    dtype = getattr(torch, dtype)

    def of(side, channels, n_filters):
        def random(*shape):
            return torch.randn(shape).to(dtype).contiguous(memory_format=LAST)

        x, upstream = random(BATCH, channels, side, side), random(BATCH, n_filters, side, side)
        kernel = random(n_filters, channels, 3, 3)

        def backward(*wanted):
            torch.ops.aten.convolution_backward(
                upstream, x, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
            )

        calls = {
            "forward, PyTorch": lambda: torch.conv2d(x, kernel, None, 1, 1),
            "kernel, PyTorch": lambda: backward(False, True, False),
        }
        if channels > 1:
            calls["input, PyTorch"] = lambda: backward(True, False, False)
        return timed(calls)

    return lambda: {shape: of(*shape) for shape in set(convolutions(width))}
