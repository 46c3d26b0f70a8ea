"""
Your own network
================

A network is one entry in a registry: the function that builds it, the layer with the feature maps,
and the normalization of its input. Cross-validation, Grad-CAM, t-SNE and export then work.
"""

import torch
from torch import nn

import covidct


def three_stages(width: int) -> nn.Sequential:
    """Build a plain network of three stages."""
    stages = nn.Sequential()
    for k in range(3):
        stage = nn.Sequential(
            nn.Conv2d(width << (k - 1) if k else 3, width << k, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width << k),
            nn.ReLU(inplace=True),
        )
        stages.add_module(f"stage{k}", stage)
    return stages


# %%
# Sizes are (height, width). The defaults of ``mean`` and ``std`` are those of ImageNet.

info = covidct.ArchitectureInfo(
    name="three-stages",
    title="Three stages",
    source="this example",
    builder=three_stages,
    options={"width": 16},
    cam_layer="stage2",
    custom_size=(112, 160),
)
covidct.register_model(info)
model = covidct.create_model("three-stages", weights=None)
print(model(torch.zeros(2, 1, 112, 160)).shape, model.features(torch.zeros(2, 1, 112, 160)).shape)

# %%
# It trains like every other network. So does any convolutional network of timm, as
# ``"timm:NAME"``.

slices = covidct.load_dataset("phantom", n=40, seed=0)
recipe = covidct.Recipe.demo().replace(batch_size=4)
cv = covidct.CrossValidator("three-stages", recipe, cv=2, groups="patient", weights=None)
print(cv.run(slices))
