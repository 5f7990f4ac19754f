"""Trials of the search behind the recipes, for an accelerator, in PyTorch alone.

A trial trains the residual network of the recipes with some changes, on all training images but a
fold's, and answers the fold's; the test set is not read. Its folds train side by side, each on a
stream of its own, in one CUDA graph.

    python tests/benchmarks/trials.py DATA.npz
    python tests/benchmarks/trials.py DATA.npz FOLDER SECONDS

The first writes all training images into one file, for a machine without this package. The second
runs what `PLAN` has and FOLDER/trials.json has not, and adds it there, and to FOLDER/trials.npz
which images were answered right; figures/predictions has those published. A trial of two folds
takes a minute and a half on an H200, with three others beside it.
"""

import json
import math
import multiprocessing
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from trials_network import CUDA, DEVICE, LAST, Optimizer, Residual, operations_by_layer

N_FOLDS = 5
WORKERS = 4


@dataclass(frozen=True)
class Trial:
    """What is trained; where the names are those of a recipe, so is the meaning."""

    filters: tuple[int, ...] = (16, 32, 64, 128)
    pairs: tuple[int, ...] = (0, 1, 1, 1)
    activation: str = "silu"
    stem: str = "conv"  # or s2d, which halves the image at once
    squeeze: bool = False  # squeeze and excite behind each pair (arXiv 1709.01507)
    head: str = "max"  # global pooling: max, avg or both
    pool: str = "max"  # or blur (arXiv 1904.11486)
    order: str = "post"  # or pre: normalise and activate before each convolution of a pair
    operations: float = 2e14  # that each fold's training may take, teachers included
    batch_size: int = 256
    optimizer: str = "muon"
    learning_rate: float = 0.05
    momentum: float = 0.6  # of Muon
    weight_decay: float = 0.005
    label_smoothing: float = 0.1
    late_smoothing: float | None = None  # in the last quarter of the epochs
    ema: float = 0.995
    selection: float = 0.5
    hardest: float = 0.7  # of what is selected
    shift: int = 1
    erase: int = 12
    noise: bool = False  # erase boxes of any shape, of half of the images, by noise (1708.04896)
    mixup: float = 0.0
    cutmix: bool = False  # areas from Beta(1, 1) (arXiv 1905.04899)
    drop_path: float = 0.0  # of the last pair, in proportion of the others (arXiv 1603.09382)
    plain_last: float = 0.0  # share of the epochs, the last, without augmentation
    warmup: float = 0.25  # share of the updates in which the rate rises
    sam: float = 0.0  # radius (arXiv 2010.01412), which costs a second pass
    teachers: int = 0  # parts of the training images; each is answered by a network of the others
    teacher_share: float = 0.5  # of these answers in the labels
    seed: int = 0


_NARROW = {"filters": (16, 24, 48, 96)}
# The recipes' names; each trial of theirs changes what its name says.
_SMALL = {
    "filters": (16, 24, 32, 46),
    "pairs": (1, 1, 1, 1),
    "learning_rate": 0.03,
    "ema": 0.998,
    "selection": 1 / 3,
    "erase": 8,
    "shift": 2,
}
_NO_PAIR = _SMALL | {"filters": (16, 24, 32, 48), "pairs": (0, 1, 1, 1)}
_SHORT = {
    "operations": 3.7e13,  # for as long as Keras's fit takes for the classic network
    "activation": "relu",
    "learning_rate": 0.1,
    "weight_decay": 0.01,
    "ema": 0.99,
    "selection": 1 / 3,
    "erase": 8,
    "shift": 2,
}
_ACCURATE = {
    "operations": 2e15,
    "filters": (32, 64, 128, 224),
    "pairs": (1, 2, 1, 1),
    "ema": 0.998,
    "shift": 2,
}
PLAN = {
    "base": {},
    "base, seed 1": {"seed": 1},
    "base, seed 2": {"seed": 2},
    "narrower": _NARROW,
    "wider": {"filters": (24, 48, 96, 192)},
    "all shown": {"selection": 1.0},
    "a third shown": {"selection": 0.34},
    "squeeze and excite": {"squeeze": True},
    "teachers": {"teachers": 4},
    "two pairs at 14x14": {"pairs": (0, 2, 1, 1)},
    "two pairs at 7x7 and 3x3": {"pairs": (0, 1, 2, 2)},
    "a pair at 28x28": {"pairs": (1, 1, 1, 1)},
    "max and mean pooled": {"head": "both"},
    "mean pooled": {"head": "avg"},
    "rate 0.03": {"learning_rate": 0.03},
    "rate 0.08": {"learning_rate": 0.08},
    "rate 0.08, a pair at 28x28": {"learning_rate": 0.08, "pairs": (1, 1, 1, 1)},
    "rate 0.08, pairs 1-2-1-1": {"learning_rate": 0.08, "pairs": (1, 2, 1, 1)},
    "relu": {"activation": "relu"},
    "shift 2": {"shift": 2},
    "cutmix": {"cutmix": True},
    "pairs 1-2-1-1": {"pairs": (1, 2, 1, 1)},
    "mixup 0.2": {"mixup": 0.2},
    "SGD": {"optimizer": "sgd", "learning_rate": 0.2},
    "SAM": {"sam": 0.05},
    "space to depth, wider": {"stem": "s2d", "filters": (32, 48, 96, 192)},
    "blurred pooling": {"pool": "blur"},
    "no augmentation at the end": {"plain_last": 0.1},
    "no smoothing at the end": {"late_smoothing": 0.0},
    "pre-activation": {"order": "pre"},
    "drop path 0.1": {"drop_path": 0.1},
    "erase 16": {"erase": 16},
    "smoothing 0.2": {"label_smoothing": 0.2},
    "half of the selected hardest": {"hardest": 0.5},
    "average 0.998": {"ema": 0.998},
    "accurate": _ACCURATE,
    "accurate, all shown": _ACCURATE | {"selection": 1.0},
    "accurate, all shown, mixup 0.2": _ACCURATE | {"selection": 1.0, "mixup": 0.2},
    "accurate, all shown, rate 0.1": _ACCURATE | {"selection": 1.0, "learning_rate": 0.1},
    "accurate, no stage at 3x3": _ACCURATE | {"filters": (32, 64, 128), "pairs": (2, 2, 2)},
    "accurate, erased by noise": _ACCURATE | {"noise": True},
    "accurate, teachers": _ACCURATE | {"teachers": 4},
    "accurate, half of the selected hardest": _ACCURATE | {"hardest": 0.5},
    "accurate, rate 0.08": _ACCURATE | {"learning_rate": 0.08},
    "accurate, drop path 0.1": _ACCURATE | {"drop_path": 0.1},
    "accurate, seed 1": _ACCURATE | {"seed": 1},
    "accurate, seed 2": _ACCURATE | {"seed": 2},
    "accurate, no augmentation at the end": _ACCURATE | {"plain_last": 0.1},
    "accurate, relu": _ACCURATE | {"activation": "relu"},
    "accurate, blurred pooling": _ACCURATE | {"pool": "blur"},
    "accurate, rate 0.03": _ACCURATE | {"learning_rate": 0.03},
    "accurate, a third shown": _ACCURATE | {"selection": 1 / 3},
    "small, no pair at 28x28": _NO_PAIR,
    "small": _SMALL,
    "small, no pair at 28x28, half shown": _NO_PAIR | {"selection": 0.5},
    "small, no pair at 28x28, relu": _NO_PAIR | {"activation": "relu"},
    "small, no pair at 28x28, rate 0.05": _NO_PAIR | {"learning_rate": 0.05},
    "small, half shown": _SMALL | {"selection": 0.5},
    "small, no stage at 3x3": _SMALL | {"filters": (16, 26, 52), "pairs": (1, 2, 1)},
    "small, shift 1": _SMALL | {"shift": 1},
    "short": _SHORT,
    "short, seed 1": _SHORT | {"seed": 1},
    "short, no augmentation at the end": _SHORT | {"plain_last": 0.2},
    "short, no smoothing at the end": _SHORT | {"late_smoothing": 0.0},
    "short, shift 1, erase 4": _SHORT | {"shift": 1, "erase": 4},
    "short, shift 1": _SHORT | {"shift": 1},
    "short, erase 4": _SHORT | {"erase": 4},
    "short, half shown": _SHORT | {"selection": 0.5},
    "short, half of the selected hardest": _SHORT | {"hardest": 0.5},
    "short, rate 0.07": _SHORT | {"learning_rate": 0.07},
    "short, average 0.98": _SHORT | {"ema": 0.98},
    "short, a pair at 28x28": _SHORT | {"pairs": (1, 1, 1, 1)},
    "short, narrower": _SHORT | _NARROW,
    "short, batch 128": _SHORT | {"batch_size": 128, "learning_rate": 0.07, "ema": 0.995},
    "short, batch 512": _SHORT | {"batch_size": 512, "learning_rate": 0.14, "ema": 0.98},
    "short, short warm-up": _SHORT | {"warmup": 0.1},
    "short, shift 1, narrower": _SHORT | _NARROW | {"shift": 1},
    "short, shift 1, erase 4, narrower": _SHORT | _NARROW | {"shift": 1, "erase": 4},
    "short, shift 1, no augmentation at the end": _SHORT | {"shift": 1, "plain_last": 0.2},
    "short, shift 1, erase 4, rate 0.07": _SHORT | {"shift": 1, "erase": 4, "learning_rate": 0.07},
    "short, shift 1, erase 4, short warm-up": _SHORT | {"shift": 1, "erase": 4, "warmup": 0.1},
    "short, shift 1, nothing erased": _SHORT | {"shift": 1, "erase": 0},
    "short, no shift": _SHORT | {"shift": 0},
    "short, shift 1, a quarter shown": _SHORT | {"shift": 1, "selection": 0.25},
    "short, shift 1, silu": _SHORT | {"shift": 1, "activation": "silu"},
    "short, shift 1, batch 128, short warm-up": _SHORT
    | {"shift": 1, "batch_size": 128, "learning_rate": 0.07, "ema": 0.995, "warmup": 0.1},
    "short, shift 1, smoothing 0.05": _SHORT | {"shift": 1, "label_smoothing": 0.05},
}


# --- A training -----------------------------------------------------------------------------------


def _losses(network, x, labels, smoothing):
    """Return the mean smoothed loss, and each image's plain cross-entropy."""
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=CUDA):
        logits = network(x)
    logs = functional.log_softmax(logits.float(), 1)
    plain = -(labels * logs).sum(1)
    return ((1 - smoothing) * plain - smoothing * logs.mean(1)).mean(), plain.detach()


losses = torch.compile(_losses, dynamic=False) if CUDA else _losses


class Training:
    """One network on some images; a batch is made of device operations alone, for a graph."""

    def __init__(self, trial, images, labels, seed):
        torch.manual_seed(seed)
        margin = ((0, 0), (trial.shift, trial.shift), (trial.shift, trial.shift))
        self.trial, self.n = trial, len(images)
        self.images = torch.from_numpy(np.pad(images, margin)).to(DEVICE)
        self.labels = torch.from_numpy(labels.astype(np.float32)).to(DEVICE)
        self.network = Residual(trial).to(DEVICE).to(memory_format=LAST)
        layers = operations_by_layer(self.network)
        each = (3 * sum(layers) - layers[0]) * (2 if trial.sam else 1)
        batch = trial.batch_size
        self.first, self.later = self.n // batch, max(1, round(trial.selection * self.n)) // batch
        shown_later = self.later * batch
        self.epochs = max(2, 1 + round((trial.operations / each - self.n) / shown_later))
        self.operations = each * (self.n + (self.epochs - 1) * shown_later)
        self.weights = list(self.network.parameters())
        self.rates = self._rates(self.first + (self.epochs - 1) * self.later)
        self.difficulty = torch.full((self.n,), torch.inf, device=DEVICE)
        self.coin = torch.rand(self.n, device=DEVICE) < 0.5
        self.order = torch.zeros(self.n, dtype=torch.long, device=DEVICE)
        self.shown, self.updates, self.augments = (
            torch.zeros(1, dtype=torch.long, device=DEVICE) for _ in range(3)
        )
        self.odd = torch.zeros((), dtype=torch.bool, device=DEVICE)
        self.smoothing = torch.full((), trial.label_smoothing, device=DEVICE)
        self.rows = torch.arange(batch, device=DEVICE)
        self.pixels = torch.arange(28, device=DEVICE)
        self.stream = torch.cuda.Stream() if CUDA else None

    def _rates(self, updates):
        rising = max(1, int(self.trial.warmup * updates))
        i = torch.arange(updates, dtype=torch.float32)
        fall = 0.5 * (1 + torch.cos(math.pi * (i - rising) / max(1, updates - rising)))
        shape = torch.where(i < rising, 0.1 + 0.9 * i / rising, fall)
        return (self.trial.learning_rate * shape).to(DEVICE)

    def begin_epoch(self, epoch):
        """Choose what the epoch shows; return its number of updates."""
        trial, all_shown = self.trial, epoch == 0 or self.trial.selection == 1
        if all_shown:
            chosen = torch.arange(self.n, device=DEVICE)
        else:
            n_shown = self.later * trial.batch_size
            by_difficulty = self.difficulty.argsort(descending=True)
            n_hardest = round(trial.hardest * n_shown)
            rest = by_difficulty[n_hardest:]
            drawn = rest[torch.randperm(len(rest), device=DEVICE)[: n_shown - n_hardest]]
            chosen = torch.cat([by_difficulty[:n_hardest], drawn])
        self.order[: len(chosen)] = chosen[torch.randperm(len(chosen), device=DEVICE)]
        self.shown.zero_()
        self.odd.fill_(bool(epoch % 2))
        self.augments.fill_(int(epoch < self.epochs * (1 - trial.plain_last)))
        if trial.late_smoothing is not None and epoch >= 0.75 * self.epochs:
            self.smoothing.fill_(trial.late_smoothing)
        return self.first if all_shown else self.later

    def batch(self):
        """Return the next images, augmented, their labels and which they are."""
        trial, n, shift = self.trial, self.trial.batch_size, self.trial.shift
        index = self.order[self.shown + self.rows]
        flipped = (self.coin[index] ^ self.odd)[:, None]
        dx, dy = (
            torch.randint(-shift, shift + 1, (n, 1), device=DEVICE) * self.augments
            for _ in range(2)
        )
        columns = torch.where(flipped, 27 - self.pixels, self.pixels) + shift + dx
        rows = self.pixels + shift + dy
        x = self.images[index[:, None, None], rows[:, :, None], columns[:, None, :]].float() / 255
        y = self.labels[index]
        if trial.cutmix:
            side = (28 * torch.rand(n, 1, device=DEVICE).sqrt()).round()
            inside = self._boxes(side, side)
            x = torch.where(inside, x.roll(-1, 0), x)
            share = inside.float().mean((1, 2))[:, None]
            y = (1 - share) * y + share * y.roll(-1, 0)
        if trial.mixup:
            both = torch._standard_gamma(torch.full((2, n, 1), trial.mixup, device=DEVICE))
            share = both[0] / (both[0] + both[1]).clamp_min(1e-30)
            x = share[:, :, None] * x + (1 - share[:, :, None]) * x.roll(-1, 0)
            y = share * y + (1 - share) * y.roll(-1, 0)
        if trial.noise:
            share, shape, coin = torch.rand(3, n, 1, device=DEVICE)
            area, ratio = 784 * (0.02 + 0.38 * share), 0.3 + 3.0 * shape
            inside = self._boxes((area * ratio).sqrt().round(), (area / ratio).sqrt().round())
            erased = inside & (coin < 0.5)[:, :, None] & (self.augments > 0)
            x = torch.where(erased, torch.rand_like(x), x)
        elif trial.erase:
            side = torch.full((n, 1), float(trial.erase), device=DEVICE)
            x = x * ~(self._boxes(side, side) & (self.augments > 0))
        return x[:, None].contiguous(memory_format=LAST), y, index

    def _boxes(self, height, width):
        def within(side):
            start = (torch.rand(len(side), 1, device=DEVICE) * 28).floor() - (side / 2).floor()
            return (self.pixels >= start) & (self.pixels < start + side)

        return within(height)[:, :, None] & within(width)[:, None, :]

    def gradients(self):
        """Show a batch. No value may be looked at on the way: a graph cannot."""
        x, y, index = self.batch()
        loss, now = losses(self.network, x, y, self.smoothing)
        gradients = torch.autograd.grad(loss, self.weights)
        if self.trial.sam:
            with torch.no_grad():
                norm = torch.stack(torch._foreach_norm(gradients)).norm() + 1e-12
                moves = torch._foreach_mul(gradients, self.trial.sam / norm)
                torch._foreach_add_(self.weights, moves)
            loss, _ = losses(self.network, x, y, self.smoothing)
            gradients = torch.autograd.grad(loss, self.weights)
            with torch.no_grad():
                torch._foreach_sub_(self.weights, moves)
        before = self.difficulty[index]
        self.difficulty[index] = torch.where(before.isinf(), now, (before + now) / 2)
        self.shown += self.trial.batch_size
        self.updates += 1
        return gradients

    @torch.no_grad()
    def answers(self, images):
        """Return probabilities, plain and averaged with the mirror images'."""
        self.network.eval()
        found = []
        for part in torch.from_numpy(images).to(DEVICE).split(2000):
            x = (part.float() / 255)[:, None].contiguous(memory_format=LAST)
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=CUDA):
                one, other = (self.network(side).float().softmax(1) for side in (x, x.flip(3)))
            found.append(torch.stack([one, (one + other) / 2]))
        answers = torch.cat(found, 1)
        if not answers.isfinite().all():
            raise FloatingPointError(f"Its network answers NaN: {self.trial}.")
        return answers


def train(trainings):
    """Train networks of one trial side by side, to the last epoch."""
    optimizer = Optimizer(trainings[0].trial, [one.network for one in trainings])

    def update():
        rate = trainings[0].rates.gather(0, trainings[0].updates)[0]
        gradients = []
        main = torch.cuda.current_stream() if CUDA else None
        for one in trainings:
            if CUDA:
                one.stream.wait_stream(main)
            with torch.cuda.stream(one.stream):  # of None, nothing changes
                gradients += one.gradients()
        for one in trainings:
            if CUDA:
                main.wait_stream(one.stream)
        optimizer.update(gradients, rate)

    graph, before_it = None, 3  # updates in which kernels are compiled and chosen
    for epoch in range(trainings[0].epochs):
        updates = [one.begin_epoch(epoch) for one in trainings]
        for _ in range(updates[0]):
            if not CUDA or before_it:
                before_it -= CUDA
                update()
                continue
            if graph is None:
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    update()
            graph.replay()
    optimizer.show_average()


# --- A trial --------------------------------------------------------------------------------------


def pack(path):
    """Write all images to train on, in the order that gives the folds."""
    from fmnist_utils import data  # which the other machine has not

    given = data.load_training()
    images, labels = zip(given.train, given.validation, strict=True)
    np.savez_compressed(path, images=np.concatenate(images), labels=np.concatenate(labels))


def load(path):
    """Return the images and labels that `pack` wrote."""
    with np.load(path) as arrays:
        return arrays["images"], arrays["labels"]


def folds(n):
    """Return which images belong to each fold."""
    return np.array_split(np.random.default_rng(0).permutation(n), N_FOLDS)


def run(trial, images, labels, chosen=(0, 1)):
    """Return a trial's row, and which images of its folds were answered right."""
    start, parts, one_hot = time.time(), folds(len(images)), np.eye(10)[labels]
    rest = [np.setdiff1d(np.arange(len(images)), parts[fold]) for fold in chosen]
    targets, spent = [one_hot[indices] for indices in rest], 0.0
    if trial.teachers:
        half = trial.operations / 2
        teacher = replace(trial, teachers=0, operations=half / trial.teachers)
        taught = [_taught(teacher, trial, images[i], one_hot[i]) for i in rest]
        targets, (spent, *_) = [t for t, _ in taught], [s for _, s in taught]
        trial = replace(trial, operations=half)
    made = [
        Training(trial, images[indices], target, 1000 * trial.seed + fold)
        for fold, indices, target in zip(chosen, rest, targets, strict=True)
    ]
    train(made)
    right = np.concatenate(
        [
            (one.answers(images[parts[fold]]).argmax(2).cpu().numpy() == labels[parts[fold]])
            for one, fold in zip(made, chosen, strict=True)
        ],
        axis=1,
    )
    row = {
        "folds": list(chosen),
        "accuracy": (100 * right.mean(axis=1)).round(3).tolist(),  # plain, mirrored
        "parameters": sum(weight.numel() for weight in made[0].network.parameters()),
        "operations": made[0].operations + spent,
        "epochs": made[0].epochs,
        "seconds": round(time.time() - start, 1),
        "device": torch.cuda.get_device_name() if CUDA else "CPU",
    }
    return row, right


def _taught(teacher, trial, images, one_hot):
    """Return labels mixed with answers of networks that did not see the image, and their cost."""
    n, answers = len(images), np.zeros_like(one_hot)
    parts = np.array_split(np.random.default_rng(1).permutation(n), trial.teachers)
    seen = [np.setdiff1d(np.arange(n), part) for part in parts]
    shortest = min(map(len, seen))  # side by side, all take as many updates
    made = [
        Training(teacher, images[indices[:shortest]], one_hot[indices[:shortest]], 100 + number)
        for number, indices in enumerate(seen)
    ]
    train(made)
    for one, part in zip(made, parts, strict=True):
        answers[part] = one.answers(images[part])[1].cpu().numpy()
    mixed = (1 - trial.teacher_share) * one_hot + trial.teacher_share * answers
    return mixed, sum(one.operations for one in made)


# --- All trials -----------------------------------------------------------------------------------

_DATA = {}  # of a worker, read once


def _work(job):
    name, changes, data = job
    if not _DATA:
        _DATA["given"] = load(data)
    row, right = run(Trial(**changes), *_DATA["given"])
    if CUDA:
        torch.cuda.empty_cache()
    return {"name": name, **row, "trial": asdict(Trial(**changes))}, right


def main(data, folder, seconds):
    """Run what is planned and not done, as long as there is time, and keep each trial's result."""
    end = time.time() + seconds
    table, answers = folder / "trials.json", folder / "trials.npz"
    rows = json.loads(table.read_text(encoding="utf-8")) if table.exists() else []
    kept = dict(np.load(answers)) if answers.exists() else {}
    jobs = [(name, changes, data) for name, changes in PLAN.items() if name not in kept]
    with multiprocessing.get_context("spawn").Pool(WORKERS if CUDA else 1) as pool:
        results = pool.imap_unordered(_work, jobs)
        for _ in jobs:
            try:
                row, right = results.next(end - time.time())
            except multiprocessing.TimeoutError:
                print("No time is left for the others.")
                break
            except FloatingPointError as error:
                print(error, flush=True)
                continue
            rows.append(row)
            kept[row["name"]] = np.packbits(right, axis=1)
            table.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            np.savez_compressed(answers, **kept)
            print(row["name"], row["accuracy"], f"{row['seconds']} s", flush=True)


if __name__ == "__main__":
    if sys.argv[2:]:
        main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
    else:
        pack(Path(sys.argv[1]))
