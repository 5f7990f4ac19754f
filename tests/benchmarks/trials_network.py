"""The residual network of the recipes in PyTorch, with what trials change, and its optimizers."""

import math

import torch
from torch import nn
from torch.nn import functional

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
LAST = torch.channels_last
ACTIVATIONS = {"relu": functional.relu, "silu": functional.silu}


def _convolution(before, after, *, side=3, stride=1):
    padding = 1 if side > 1 else 0
    layer = nn.Conv2d(before, after, side, stride=stride, padding=padding, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (before * side * side)))
    return layer


def _normalisation(n):
    return nn.BatchNorm2d(n, eps=1e-3, momentum=0.1)  # as Keras has them


class Block(nn.Module):
    """Convolution, pooling if asked for, normalisation, activation."""

    def __init__(self, before, after, trial, *, pool="", **shape):
        super().__init__()
        self.convolution, self.norm = _convolution(before, after, **shape), _normalisation(after)
        self.activation, self.pool = ACTIVATIONS[trial.activation], pool
        if pool == "blur":
            row = torch.tensor([1.0, 2.0, 1.0]) / 4
            self.register_buffer("kernel", (row[:, None] * row).repeat(after, 1, 1, 1))

    def forward(self, x):
        """Return the activations."""
        x = self.convolution(x)
        if self.pool == "max":
            x = functional.max_pool2d(x, 2)
        if self.pool == "blur":
            x = functional.max_pool2d(x, 2, stride=1)
            kernel = self.kernel.to(x.dtype)
            x = functional.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
        return self.activation(self.norm(x))


class PreBlock(nn.Module):
    """Normalisation, activation, convolution."""

    def __init__(self, n, trial):
        super().__init__()
        self.norm, self.convolution = _normalisation(n), _convolution(n, n)
        self.activation = ACTIVATIONS[trial.activation]

    def forward(self, x):
        """Return what the convolution gives."""
        return self.convolution(self.activation(self.norm(x)))


class Squeeze(nn.Module):
    """Scale each channel by what all channels' means say."""

    def __init__(self, n):
        super().__init__()
        self.down, self.up = nn.Linear(n, max(4, n // 4)), nn.Linear(max(4, n // 4), n)

    def forward(self, x):
        """Return the scaled activations."""
        scales = self.up(functional.relu(self.down(x.mean((2, 3)))))
        return x * torch.sigmoid(scales)[:, :, None, None]


class Pair(nn.Module):
    """A residual pair of convolutions."""

    def __init__(self, n, trial, drop):
        super().__init__()
        pre = trial.order == "pre"
        blocks = [PreBlock(n, trial) if pre else Block(n, n, trial) for _ in range(2)]
        self.body = nn.Sequential(*blocks, Squeeze(n) if trial.squeeze else nn.Identity())
        self.drop = drop

    def forward(self, x):
        """Return the sum of both ways."""
        y = self.body(x)
        if self.drop and self.training:
            kept = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * kept.to(y.dtype) / (1 - self.drop)
        return x + y


class Residual(nn.Module):
    """The residual network of the recipes, with what a trial changes."""

    def __init__(self, trial):
        super().__init__()
        stem = trial.filters[0]
        halves = trial.stem == "s2d"
        shape = {"side": 4, "stride": 2} if halves else {}
        layers, before, n_pairs = [Block(1, stem, trial, **shape)], stem, sum(trial.pairs)
        for stage, (n, count) in enumerate(zip(trial.filters, trial.pairs, strict=True)):
            if stage:
                pool = "" if halves and stage == 1 else trial.pool
                layers.append(Block(before, n, trial, pool=pool))
            for _ in range(count):
                done = 1 + sum(isinstance(layer, Pair) for layer in layers)
                layers.append(Pair(n, trial, trial.drop_path * done / n_pairs))
            before = n
        if trial.order == "pre":
            layers += [_normalisation(before), nn.SiLU()]
        self.body, self.head = nn.Sequential(*layers), trial.head
        self.classifier = nn.Linear(before * (2 if trial.head == "both" else 1), 10)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x):
        """Return the logits of images of shape (n, 1, 28, 28), from 0 to 1."""
        x = self.body(x).flatten(2)
        # Of amax, compiled, no gradient comes back where x, computed anew, is rounded otherwise.
        pooled = {"max": [x.max(2).values], "avg": [x.mean(2)]}
        x = torch.cat(pooled.get(self.head) or [*pooled["max"], *pooled["avg"]], 1)
        return self.classifier(x)


def operations_by_layer(network):
    """Return the operations of one answer, layer by layer, as fmnist_utils.operations has them."""
    found = []

    def count(layer, _inputs, outputs):
        positions = outputs.shape[2] * outputs.shape[3] if outputs.ndim == 4 else 1
        found.append(2 * positions * layer.weight.numel())

    counted = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in counted]
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, 1, 28, 28, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    network.train()
    return found


# --- The optimizer --------------------------------------------------------------------------------


def orthogonal(matrices):
    """Return fmnist_utils.optimizers.orthogonal of a stack, in bfloat16 on a GPU."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.bfloat16() if CUDA else x
    for _ in range(5):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, polynomial, x, beta=3.4445)
    return (x.mT if tall else x).float()


class Optimizer:
    """Muon or SGD as fmnist_utils has them, with a running average of the weights.

    It moves several networks of a trial at once: most of its time a GPU only starts small kernels.
    """

    def __init__(self, trial, networks):
        self.trial, together = trial, nn.ModuleList(networks)
        self.weights = list(together.parameters())
        muon = trial.optimizer == "muon"
        self.decayed = [w for w in self.weights if w.ndim > 1]
        norms = [layer for layer in together.modules() if isinstance(layer, nn.BatchNorm2d)]
        self.scales = [norm.weight for norm in norms]
        self.momentums = [torch.zeros_like(w) for w in self.weights]
        self.average = [w.detach().clone() for w in self.weights]
        self.by_shape, self.others = {}, []
        for index, w in enumerate(self.weights):
            if muon and w.ndim == 4 and w.shape[1] > 1:
                self.by_shape.setdefault(w.shape, []).append(index)
            else:
                self.others.append(index)
        self.factor = 2.0 if muon else 1.0

    @torch.no_grad()
    def update(self, gradients, rate):
        """Move the weights; kernels of one shape together, as their matrices are small."""
        torch._foreach_mul_(self.decayed, 1 - rate * self.trial.weight_decay)

        def step(indices, momentum):
            found = [[values[i] for i in indices] for values in (self.momentums, gradients)]
            torch._foreach_mul_(found[0], momentum)
            torch._foreach_add_(found[0], found[1])
            return torch._foreach_add(found[1], found[0], alpha=momentum)

        steps = step(self.others, 0.9)
        torch._foreach_mul_(steps, -self.factor * rate)
        torch._foreach_add_([self.weights[i] for i in self.others], steps)
        for indices in self.by_shape.values():
            directions = orthogonal(torch.stack(step(indices, self.trial.momentum)).flatten(2))
            kernels = torch.stack([self.weights[i] for i in indices])
            moved = kernels.flatten(2) - rate * directions
            moved = moved * (kernels.shape[1] ** 0.5 / moved.norm(dim=(1, 2), keepdim=True))
            for i, kernel in zip(indices, moved.view_as(kernels), strict=True):
                self.weights[i].copy_(kernel)
        torch._foreach_clamp_min_(self.scales, 0.0)
        torch._foreach_lerp_(self.average, self.weights, 1 - self.trial.ema)

    @torch.no_grad()
    def show_average(self):
        """Put the running average into the networks."""
        torch._foreach_copy_(self.weights, self.average)
