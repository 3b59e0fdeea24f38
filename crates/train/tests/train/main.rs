//! Training and evaluation: the library, and `desumnet-train` as people use it.

mod compose;
mod evaluate_command;
mod evaluation;
mod exactness;
mod import;
mod labelled;
mod localise;
mod manual;
mod pages;
mod shots;
mod train_command;
mod training;
mod training_data;
