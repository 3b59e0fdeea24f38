#!/usr/bin/env python3
"""Prints what desumnet says of every frame and segment of a video. From the source tree, after `cargo build`:

    GST_PLUGIN_PATH=target/debug /usr/bin/python3 examples/read_meta.py [VIDEO] [--model FILE]
"""

import argparse
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst

TEST_PICTURE = "videotestsrc num-buffers=40 pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1"


def seconds(time):
    """Times are ints, ns. One that is not known is there all the same, as GST_CLOCK_TIME_NONE."""
    return "-" if time == Gst.CLOCK_TIME_NONE else f"{time / Gst.SECOND:.3f}"


def nicks(structure):
    """Names of the flags that are set: padded, carried, late, failed, unscored.

    get_value() makes the value a GObject.GFlags of the plugin's type, which knows the names; `int(flags) & 1` tests
    for one (1 is padded, then 2, 4, 8, 16). get_uint() fails here: GFlags is a type of its own."""
    return "+".join(structure.get_value("flags").value_nicks) or "none"


def print_frame(buffer):
    meta = buffer.get_custom_meta("DeSumNetImportanceMeta")
    if meta is None:
        sys.exit("a buffer without the meta: is desumnet's mode other than annotate?")
    # The structure belongs to the buffer: take its values out while you hold the buffer.
    structure = meta.get_structure()
    get = structure.get_value
    print(f"frame {seconds(buffer.pts)} shot {get('shot')}{' starts' if get('shot-start') else ''}",
          f"segment {get('segment')} [{get('frame')}/{get('segment-frames')}]",
          f"from {seconds(get('segment-start'))} for {seconds(get('segment-duration'))}",
          f"importance {get('importance'):.3f} score {get('segment-score'):.3e} frame-score {get('frame-score'):.3e}",
          f"category {get('category')} ({get('confidence'):.2f}) flags {nicks(structure)}")


def print_segment(structure):
    get = structure.get_value
    print(f"segment {get('segment')} from {seconds(get('start'))} for {seconds(get('duration'))}",
          f"frames {get('frames')} importance {get('importance'):.3f} score {get('score'):.3e}",
          f"frame-scores {len(get('frame-scores'))} category {get('category')} flags {nicks(structure)}")


def read_messages(bus):
    kinds = Gst.MessageType.ELEMENT | Gst.MessageType.ERROR
    while message := bus.pop_filtered(kinds):
        if message.type == Gst.MessageType.ERROR:
            error, details = message.parse_error()
            sys.exit(f"{message.src.get_name()}: {error.message}\n{details}")
        if message.get_structure().get_name() == "desumnet-segment":
            print_segment(message.get_structure())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", help="file [a moving ball]")
    parser.add_argument("--model", help="model file [the plugin's own]")
    parser.add_argument("--category", default="auto", help="category to score for [auto: the one that leads so far]")
    parser.add_argument("--through", default="queue", help="elements behind desumnet; the meta survives them [queue]")
    args = parser.parse_args()

    Gst.init(None)
    source = f"uridecodebin uri={Path(args.video).resolve().as_uri()}" if args.video else TEST_PICTURE
    pipeline = Gst.parse_launch(f"{source} ! desumnet name=score post-messages=true ! {args.through} "
                                "! appsink name=sink sync=false max-buffers=4")
    score, sink, bus = pipeline.get_by_name("score"), pipeline.get_by_name("sink"), pipeline.get_bus()
    score.set_property("category", args.category)
    if args.model:
        score.set_property("model", args.model)

    pipeline.set_state(Gst.State.PLAYING)
    try:
        # A model that can't be used is reported before anything flows.
        read_messages(bus)
        # A segment's message comes before its frames: it is posted once the score is there, and they waited for that.
        while not sink.get_property("eos"):
            sample = sink.emit("try-pull-sample", 100 * Gst.MSECOND)
            read_messages(bus)
            if sample:
                print_frame(sample.get_buffer())
    finally:
        pipeline.set_state(Gst.State.NULL)


main()
