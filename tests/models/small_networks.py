"""Every architecture at a size that builds and runs in milliseconds."""

FEATURES = 9
SMALL = {
    "xvector": {"channels": 8, "pooling_channels": 12, "embedding": 6},
    "etdnn": {"channels": 8, "pooling_channels": 12, "embedding": 6},
    "dtdnn": {"channels": 8, "growth": 4, "bottleneck": 6, "blocks": [2, 3], "embedding": 6},
    "camplus": {
        "map_channels": 4,
        "channels": 8,
        "growth": 4,
        "bottleneck": 6,
        "blocks": [2, 1, 3],
        "embedding": 6,
    },
    "ecapa": {"channels": 8, "scale": 4, "pooling_channels": 12, "bottleneck": 5, "embedding": 6},
    "resnet": {"channels": 4, "blocks": [1, 2, 1, 1], "bottleneck": False, "embedding": 6},
    "samresnet": {"channels": 4, "blocks": [1, 2, 1, 1], "bottleneck": False, "attention": 5, "embedding": 6},
    "res2net": {"channels": 6, "blocks": [1, 2, 1, 1], "scale": 3, "embedding": 6},
    "conformer": {"channels": 8, "blocks": 2, "heads": 2, "hidden": 12, "kernel": 3, "embedding": 6},
    "mobilenet": {"channels": 4, "expansion": 2, "embedding": 6},
    "fc8": {"channels": 8, "layers": 3, "embedding": 6},
}
SMALL["redimnet"] = {"channels": 8, "strides": [1, 3], "blocks": [1, 2], "expansions": [2, 1]}
SMALL["redimnet"] |= {"reductions": [0, 3], "kind": "resnet_se", "group": 2, "bottleneck": 5, "embedding": 6}
SMALL["conformer"] |= {"subsampling": 4, "bottleneck": 5, "dropout": 0.1}
SMALL = {arch: {"arch": arch, **settings} for arch, settings in SMALL.items()}
