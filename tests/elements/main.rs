//! The elements, and whole pipelines of them.

#[cfg(feature = "v1_24")]
mod analytics;
mod overlay_element;
mod real_videos;
mod score_element;
mod score_errors;
mod score_live;
mod score_pipeline;
mod score_shots;
mod skim_element;
mod skim_encoded;
mod skim_sound;
mod torchscript;
mod unusual;
