"""
Single parts in plain PyTorch
=============================

Use parts of covidct in your own PyTorch code. ``AspectPreservingPad`` is a torchvision transform,
``Lamb`` is a PyTorch optimizer, and ``GradCAM`` explains any module with one logit.
"""

import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import covidct


class Slices(torch.utils.data.Dataset):
    """A dataset of your own, with a transform of covidct."""

    def __init__(self) -> None:
        self.phantoms = covidct.load_dataset("phantom", n=32, seed=0)
        self.transform = v2.Compose(
            [
                covidct.AspectPreservingPad((112, 160)),
                v2.Grayscale(3),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.phantoms)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, float]:
        image, target = self.phantoms[i]
        return self.transform(image), float(target)


# %%
# A network and a training loop of your own, with an optimizer of covidct.

torch.manual_seed(0)
network = torchvision.models.resnet18(num_classes=1)
optimizer = covidct.Lamb(network.parameters(), lr=1e-2, weight_decay=0.01)
for epoch in range(2):
    losses = []
    for images, targets in DataLoader(Slices(), batch_size=8, shuffle=True):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images)[:, 0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}")

# %%
# Maps of this network; name the layer to explain.

maps = covidct.explain.GradCAM(network, layer="layer4")(images)
print(maps.shape, float(maps.max()))
