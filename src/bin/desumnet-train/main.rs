//! Offline training of DeSumNet models: one file a verb.

mod pretrain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains DeSumNet models for the GStreamer element `desumnet`
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Pretrain(pretrain::Args),
}

/// Makes freed memory stay with the process. Training allocates the same hundreds of megabytes at every step; returned to
/// the system each time, their page faults cost more than the convolutions.
fn keep_memory() {
    // SAFETY: no other thread runs yet; the calls only change the allocator's thresholds and an own variable.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
        // libtorch: large tensors in large pages.
        std::env::set_var("THP_MEM_ALLOC_ENABLE", "1");
    }
}

fn main() -> ExitCode {
    keep_memory();
    let Cli { verb: Verb::Pretrain(args) } = Cli::parse();
    match pretrain::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("desumnet-train: {error}");
            ExitCode::FAILURE
        }
    }
}
