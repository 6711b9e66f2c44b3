"""Train the sample model: a small CNN on scikit-learn's handwritten digits (8 x 8 pixels, ten classes).

    python models/digits/train.py [FOLDER]

writes digits.pt (TorchScript), digits.pt2 (torch.export) and digits.onnx, each with a free batch dimension, and
samples.npz and labels.npz: held-out images under the name of the model's argument, and their classes. The seed is
fixed and one thread computes, so that a second run on the same machine with the same torch gives the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20261122
EPOCHS = 40
BATCH = 64
SAMPLES = 64


class Digits(nn.Module):
    """image: (N, 1, 8, 8) float32, pixels in [0, 1] -> probabilities: (N, 10) float32."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 4 * 4, 32), nn.ReLU(), nn.Linear(32, 10)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.classifier(self.features(image)), dim=1)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """As `forward`, before the softmax: what the loss wants."""
        return self.classifier(self.features(image))


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images and labels to train on, and those held out: a quarter, in the same proportion of classes."""
    images, labels = load_digits(return_X_y=True)
    pixels = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(pixels, labels.astype(np.int64), test_size=0.25, random_state=SEED, stratify=labels)
    train_x, test_x, train_y, test_y = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return train_x, train_y, test_x, test_y


def train(images: torch.Tensor, labels: torch.Tensor) -> Digits:
    """The trained model, in evaluation mode."""
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            loss = loss_of(model.logits(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of images whose most probable class is their label."""
    with torch.no_grad():
        return (model(image=images).argmax(dim=1) == labels).float().mean().item()


def write(model: Digits, images: torch.Tensor, labels: torch.Tensor, folder: Path) -> None:
    """The model in three formats, and the samples."""
    example = images[:2]
    with torch.no_grad():
        torch.jit.trace(model, example).save(str(folder / "digits.pt"))
        program = torch.export.export(model, (example,), dynamic_shapes={"image": {0: torch.export.Dim("batch")}})
        torch.export.save(program, folder / "digits.pt2")
        torch.onnx.export(
            model,
            (example,),
            folder / "digits.onnx",
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_axes={"image": {0: "batch"}, "probabilities": {0: "batch"}},
            dynamo=False,
        )
    np.savez_compressed(folder / "samples.npz", image=images[:SAMPLES].numpy())
    np.savez_compressed(folder / "labels.npz", label=labels[:SAMPLES].numpy())


def main(folder: Path) -> None:
    """Train, write all files into `folder` and print the accuracy on the held-out images."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_x, train_y, test_x, test_y = data()
    model = train(train_x, train_y)
    write(model, test_x, test_y, folder)
    right = accuracy(model, test_x, test_y)
    print(f"held-out accuracy: {right:.4f} ({round(right * len(test_y))} of {len(test_y)})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
