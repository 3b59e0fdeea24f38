//! Labelled videos for the tests of training: two kinds of pictures, easy to tell apart.

use std::path::Path;

use desumnet_train::training::data::{Dataset, source};

use test_support::render;

/// Folders `calm` and `wild` with three videos of 24 frames each, the same at every run; and a file that is no category.
pub fn render_labelled(folder: &Path) {
    for (category, patterns) in
        [("calm", ["smpte75", "solid-color", "gradient"]), ("wild", ["checkers-4", "zone-plate", "ball"])]
    {
        let videos = folder.join(category);
        std::fs::create_dir_all(&videos).unwrap();
        for pattern in patterns {
            render(&videos.join(format!("{pattern}.mp4")), pattern, 24);
        }
    }
    std::fs::write(folder.join("notes.txt"), "a file beside the categories is no category").unwrap();
}

/// [`render_labelled`], decoded.
pub fn labelled(folder: &Path) -> Dataset {
    let videos = folder.join("videos");
    render_labelled(&videos);
    open(&videos, &folder.join("cache"))
}

pub fn open(videos: &Path, cache: &Path) -> Dataset {
    Dataset::open(source::read(videos).unwrap().training, cache, |_, _| {}).unwrap()
}
