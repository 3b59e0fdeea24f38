/* Prints what desumnet says of every frame and segment of a video. From the source tree, after `cargo build`:
 *
 *     cc examples/read_meta.c -o read_meta $(pkg-config --cflags --libs gstreamer-1.0 gstreamer-app-1.0)
 *     GST_PLUGIN_PATH=target/debug ./read_meta VIDEO [MODEL]
 *
 * Without a header of ours: the meta is a custom meta, whose content is a GstStructure, as is the message's.
 */
#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>

static void print_frame(GstBuffer *buffer)
{
    GstCustomMeta *meta = gst_buffer_get_custom_meta(buffer, "DeSumNetImportanceMeta");
    guint64 segment;
    guint frame;
    double importance, score, confidence;
    const char *category;

    if (!meta) {
        fprintf(stderr, "a buffer without the meta: is desumnet's mode other than annotate?\n");
        exit(1);
    }
    /* The structure belongs to the buffer: take its values out while you hold the buffer. */
    GstStructure *content = gst_custom_meta_get_structure(meta);
    if (!gst_structure_get(content, "segment", G_TYPE_UINT64, &segment, "frame", G_TYPE_UINT, &frame, "importance",
                           G_TYPE_DOUBLE, &importance, "segment-score", G_TYPE_DOUBLE, &score, "confidence", G_TYPE_DOUBLE,
                           &confidence, NULL)) {
        fprintf(stderr, "the meta is of another version of desumnet than this program\n");
        exit(1);
    }
    category = gst_structure_get_string(content, "category");
    printf("frame %.3f segment %" G_GUINT64_FORMAT " [%u] importance %.3f score %.3e category %s (%.2f)\n",
           (double)GST_BUFFER_PTS(buffer) / GST_SECOND, segment, frame, importance, score, category, confidence);
}

/* A segment's message comes before its frames. */
static void read_messages(GstBus *bus)
{
    GstMessage *message;

    while ((message = gst_bus_pop_filtered(bus, GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR))) {
        const GstStructure *content = gst_message_get_structure(message);
        guint64 segment;
        double score;

        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
            GError *error = NULL;
            gst_message_parse_error(message, &error, NULL);
            fprintf(stderr, "%s: %s\n", GST_MESSAGE_SRC_NAME(message), error->message);
            exit(1);
        }
        if (gst_structure_has_name(content, "desumnet-segment") &&
            gst_structure_get(content, "segment", G_TYPE_UINT64, &segment, "score", G_TYPE_DOUBLE, &score, NULL))
            printf("segment %" G_GUINT64_FORMAT " score %.3e\n", segment, score);
        gst_message_unref(message);
    }
}

int main(int argc, char **argv)
{
    GstElement *pipeline, *source, *score, *sink;
    GError *error = NULL;
    GstBus *bus;

    gst_init(&argc, &argv);
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: read_meta VIDEO [MODEL]\n");
        return 2;
    }
    pipeline = gst_parse_launch("filesrc name=source ! decodebin ! desumnet name=score post-messages=true "
                                "! appsink name=sink sync=false max-buffers=4", &error);
    if (!pipeline) {
        fprintf(stderr, "%s: is the plugin in GST_PLUGIN_PATH?\n", error->message);
        return 1;
    }
    source = gst_bin_get_by_name(GST_BIN(pipeline), "source");
    score = gst_bin_get_by_name(GST_BIN(pipeline), "score");
    sink = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
    bus = gst_element_get_bus(pipeline);
    g_object_set(source, "location", argv[1], NULL);
    if (argc == 3)
        g_object_set(score, "model", argv[2], NULL);

    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    /* A model that can't be used is reported before anything flows. */
    read_messages(bus);
    while (!gst_app_sink_is_eos(GST_APP_SINK(sink))) {
        GstSample *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), 100 * GST_MSECOND);
        read_messages(bus);
        if (sample) {
            print_frame(gst_sample_get_buffer(sample));
            gst_sample_unref(sample);
        }
    }

    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(bus);
    gst_object_unref(sink);
    gst_object_unref(score);
    gst_object_unref(source);
    gst_object_unref(pipeline);
    return 0;
}
