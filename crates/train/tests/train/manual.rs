//! Man pages.

use std::{fs, process::Command};

#[test]
fn a_page_tells_a_verbs_own_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_desumnet-train");
    assert!(Command::new(program).arg("manual").arg(folder.path()).status().unwrap().success());
    let pages = folder.path().join("man/man1");
    assert!(pages.join("desumnet-train.1").exists());
    let page = fs::read_to_string(pages.join("desumnet-train-finetune.1")).unwrap();
    assert!(page.contains("0.0003"), "{page}");
}
