"""What a competent user would write without autokd: Optuna, a DataLoader, the teacher on every batch, fvcore.

    python plain_script.py data.npz teacher.safetensors --trials 100 --seed 0

`data.npz` holds grey images (N, 1, S, S) uint8 and labels of train and val. The space is that of search_spaces/quickstart.yaml
without assistants. Prints a JSON line a student: seconds since the start, val accuracy, MACs, whether they are within the
budget. Nothing of autokd is used. With `--inherit` ResNets start from the teacher's weights, evenly spaced along each axis
(Xu et al., "Initializing Models with Larger Ones", 2024).
"""

import argparse
import json
import math
import time

import numpy as np
import optuna
import timm
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

EPOCHS, BATCH = 12, 64


class Images(Dataset):
    def __init__(self, images, labels, mean, std, *, augment):
        self.images = ((torch.from_numpy(images).float() / 255) - mean) / std
        self.labels = torch.from_numpy(labels)
        size = images.shape[-1]
        crop = v2.RandomCrop(size, padding=size // 8, padding_mode="reflect")
        self.augment = crop if augment else None

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        return (self.augment(image) if self.augment else image), self.labels[i]


def resnet(width, depth, stem_stride):
    """A ResNet for small images: three stages, no pooling in the stem."""
    model = timm.create_model(
        "resnet18", layers=(depth,) * 4, channels=tuple(width * 2**i for i in range(4)),
        stem_type="deep", stem_width=width // 2, num_classes=10, in_chans=1,
    )  # fmt: skip
    model.maxpool, model.layer4 = nn.Identity(), nn.Identity()
    if stem_stride == 1:
        model.conv1[0].stride = (1, 1)
    model.num_features = width * 4
    model.reset_classifier(10)
    return model


def convnext(width):
    dims = tuple(width * 2**i for i in range(4))
    return timm.create_model(
        "convnext_atto", depths=(1, 1, 3, 1), dims=dims, patch_size=1, num_classes=10, in_chans=1
    )


def suggest_student(trial):
    if trial.suggest_categorical("model", ["resnet", "convnext"]) == "convnext":
        return convnext(trial.suggest_int("convnext_width", 8, 24, step=8))
    return resnet(
        trial.suggest_int("resnet_width", 8, 32, step=8),
        trial.suggest_categorical("depth", [1, 2]),
        trial.suggest_categorical("stem_stride", [1, 2]),
    )


def inherit(student, donor):
    """What is not in the donor, or larger than in it, stays as it is."""
    weights = donor.state_dict()
    for name, own in student.state_dict().items():
        given = weights.get(name)
        if given is None or any(a < b for a, b in zip(given.shape, own.shape, strict=True)):
            continue
        for axis, size in enumerate(own.shape):
            places = torch.linspace(0, given.shape[axis] - 1, size).round().long()
            given = given.index_select(axis, places)
        own.copy_(given)


def count(model, size):
    model.eval()
    flops = FlopCountAnalysis(model, torch.zeros(1, 1, size, size))
    flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return flops.total(), sum(p.numel() for p in model.parameters())


def accuracy(model, loader):
    model.eval()
    with torch.inference_mode():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in loader)
    return right / len(loader.dataset)


def train(student, teacher, train_loader, val_loader, *, rate, decay, t, weight, label_weight):
    """Best val accuracy of all epochs."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=decay)
    steps = EPOCHS * len(train_loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1
    )
    best = 0.0
    for _ in range(EPOCHS):
        student.train()
        for x, y in train_loader:
            with torch.inference_mode():
                p = F.log_softmax(teacher(x) / t, dim=1)
            logits = student(x)
            kd = F.kl_div(
                F.log_softmax(logits / t, dim=1), p.clone(), log_target=True, reduction="batchmean"
            )
            loss = label_weight * F.cross_entropy(logits, y) + weight * t**2 * kd
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        best = max(best, accuracy(student, val_loader))
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("teacher")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-macs", type=float, default=1e6)
    parser.add_argument("--max-params", type=float, default=1e5)
    parser.add_argument(
        "--count", choices=["last", "first"], default="last", help="first: what is over budget is not trained"
    )  # fmt: skip
    parser.add_argument("--inherit", action="store_true", help="ResNets start from the teacher")
    args = parser.parse_args()
    start = time.perf_counter()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    data = np.load(args.data)
    mean, std = data["train_images"].mean() / 255, data["train_images"].std() / 255
    teacher = resnet(width=32, depth=1, stem_stride=1)
    teacher.load_state_dict(load_file(args.teacher))
    teacher.eval()
    sets = {
        augment: Images(data["train_images"], data["train_labels"], mean, std, augment=augment)
        for augment in (True, False)
    }
    val = DataLoader(Images(data["val_images"], data["val_labels"], mean, std, augment=False), 256)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=args.seed)
    )
    trained = 0
    while trained < args.trials:
        trial = study.ask()
        student = suggest_student(trial)
        settings = {
            "rate": trial.suggest_float("rate", 3e-3, 3e-2, log=True),
            "decay": trial.suggest_float("decay", 1e-3, 0.1, log=True),
            "t": trial.suggest_float("temperature", 1, 8, log=True),
            "weight": trial.suggest_float("weight", 0.3, 3, log=True),
            "label_weight": trial.suggest_categorical("label_weight", [0.1, 0.5, 1.0]),
        }
        augment = trial.suggest_categorical("augmentation", ["light", "none"]) == "light"
        macs, params = count(student, data["train_images"].shape[-1])
        within = macs <= args.max_macs and params <= args.max_params
        trial.set_constraint("macs", math.log(macs / args.max_macs))
        trial.set_constraint("params", math.log(params / args.max_params))
        if args.count == "first" and not within:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        if args.inherit and isinstance(student, type(teacher)):
            inherit(student, teacher)
        loader = DataLoader(sets[augment], batch_size=BATCH, shuffle=True)
        best = train(student, teacher, loader, val, **settings)
        study.tell(trial, [best, macs])
        trained += 1
        seconds = time.perf_counter() - start
        record = {"seconds": seconds, "val_accuracy": best, "macs": macs, "within": within}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
