#!/usr/bin/env python3
"""Exports one of torchvision's video classifiers for the element `desumnet`: MODEL.pt, the network as TorchScript, and
MODEL.json beside it, which says what it takes and what its outputs mean.

    examples/export_torchvision.py r3d_18 r3d_18.pt
    gst-launch-1.0 -m filesrc location=in.mp4 ! decodebin ! videoconvert ! desumnet model=r3d_18.pt post-messages=true ! fakesink
"""

import argparse
import json
import sys
from pathlib import Path

try:
    import torch
    from torchvision.models import get_model, get_model_weights
except ImportError as error:
    sys.exit(f"{error}: install it with `pip install torch==2.11.0 torchvision`")

CLIP_LENGTH = 16


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["r3d_18", "mc3_18", "r2plus1d_18"])
    parser.add_argument("output", type=Path, help="file to write, MODEL.pt; MODEL.json comes beside it")
    parser.add_argument("--weights", choices=["default", "none"], default="default",
                        help="default: trained on Kinetics-400, downloaded; none: random [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of random weights [%(default)s]")
    parser.add_argument("--categories", nargs="+", metavar="NAME",
                        help="names of the outputs of a network with random weights [Kinetics-400's]")
    args = parser.parse_args()
    if args.categories and args.weights == "default":
        parser.error("--categories needs --weights none: the trained weights have categories of their own")
    if args.output.suffix == ".json":
        parser.error("MODEL.json is written beside the output: name that MODEL.pt")
    return args


def main(args):
    weights = get_model_weights(args.network).DEFAULT
    categories = args.categories or weights.meta["categories"]
    torch.manual_seed(args.seed)
    if args.weights == "default":
        try:
            network = get_model(args.network, weights=weights)
        except OSError as error:
            sys.exit(f"{weights.url} can't be fetched: {error}; check the network, or take --weights none")
    else:
        network = get_model(args.network, weights=None, num_classes=len(categories))
    pictures = weights.transforms()
    [height, width], [resize_height, resize_width] = pictures.crop_size, pictures.resize_size
    clip = torch.zeros(1, 3, CLIP_LENGTH, height, width)
    # Dropout and batch normalisation are recorded as they are in this mode.
    torch.jit.trace(network.eval(), clip).save(args.output)
    sidecar = {
        "categories": categories,
        "clip_length": CLIP_LENGTH,
        "size": [height, width],
        "resize": [resize_height, resize_width],
        "mean": pictures.mean,
        "std": pictures.std,
    }
    fields = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sidecar.items())
    args.output.with_suffix(".json").write_text("{\n" + fields + "\n}\n")


if __name__ == "__main__":
    main(arguments())
