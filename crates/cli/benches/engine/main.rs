//! How fast scoring is: `make bench`. Ratios in one run: each way of computing a segment takes its turns with the others.
//!
//! Prints the tables of docs/PERFORMANCE.md and writes them to `out/bench.json`. The parts run in processes of their own, so that each
//! has its own peak of memory.

mod cameras;
mod gpu;
mod live;
mod network;
mod pipeline;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};

/// What the parts report: keys of `out/bench.json`.
type Report = Map<String, Value>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let report = match words[..] {
        ["part", "network"] => network::measure(),
        ["part", "gpu"] => gpu::measure(),
        ["part", "pipeline", stage, video] => pipeline::measure(stage, Path::new(video)),
        ["part", "live", streams, interval] => {
            live::measure(streams.parse().expect("a number"), interval.parse().expect("a number"))
        }
        ["part", "cameras", cameras, video] => cameras::measure(cameras.parse().expect("a number"), Path::new(video)),
        ["live"] => return in_time(),
        [] => return whole(),
        _ => panic!("usage: cargo bench -p desumnet-cli --bench engine [live]"),
    };
    println!("{}", Value::Object(report));
}

/// Runs a part of this program in a process of its own.
fn part(words: &[&str]) -> Report {
    eprintln!("+ {}", words.join(" "));
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).arg("part").args(words).output().expect("this program runs");
    assert!(output.status.success(), "{words:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a part prints JSON")
}

fn whole() {
    let out = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../out");
    std::fs::create_dir_all(&out).expect("out/ can be made");
    let mut report = Report::new();
    report.insert("machine".into(), machine().into());
    report.extend(part(&["network"]));
    report.extend(part(&["gpu"]));
    report.insert("pipelines".into(), pipeline::all(&out).into());
    report.extend(streams(&out));
    let path = out.join("bench.json");
    let text = serde_json::to_string_pretty(&report).expect("plain values");
    std::fs::write(&path, text + "\n").unwrap_or_else(|error| panic!("{} can't be written: {error}", path.display()));
    let mut tables = format!("{}\n\n", machine());
    for table in [
        network::table(&report),
        gpu::table(&report),
        pipeline::table(&report),
        live::table(&report),
        cameras::table(&report),
    ] {
        let _ = writeln!(tables, "{table}");
    }
    println!("{tables}");
}

/// What has to be scored in time.
fn streams(out: &Path) -> Report {
    let mut report = live::all();
    report.insert("cameras".into(), cameras::all(out).into());
    report
}

/// That part of it alone.
fn in_time() {
    let report = streams(&std::env::temp_dir());
    println!("{}\n\n{}\n{}", machine(), live::table(&report), cameras::table(&report));
}

/// Processor and number of threads.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let flags = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
    let has: Vec<&str> = flags.into_iter().filter(|flag| cpus.split_whitespace().any(|word| word == *flag)).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({}), {threads} threads", model.trim_start_matches(['\t', ' ', ':']), has.join(", "))
}

/// Most memory that a process had, MB: `self`, or a number.
fn peak_memory_of(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// A table in Markdown.
fn markdown<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String; N]| format!("| {} |\n", cells.join(" | "));
    let rule = line(&std::array::from_fn(|_| "---".to_string()));
    let mut text = line(&head.map(String::from)) + &rule;
    rows.into_iter().for_each(|row| text += &line(&row));
    text
}

/// A number that a part reported.
fn number(report: &Report, key: &str) -> f64 {
    report.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// One entry of a report.
fn entry(key: &str, value: f64) -> (String, Value) {
    (key.into(), json!((value * 1000.0).round() / 1000.0))
}
