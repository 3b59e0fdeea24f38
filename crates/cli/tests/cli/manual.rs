//! Man pages and shell completions.

use std::{fs, path::Path, process::Command};

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn there_are_pages_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_desumnet");
    assert!(Command::new(program).arg("manual").arg(folder.path()).status().unwrap().success());
    let pages = folder.path().join("man/man1");
    let there = names(&pages);
    for page in ["desumnet.1", "desumnet-skim.1"] {
        assert!(there.iter().any(|name| name == page), "{page} of {there:?}");
    }
    // What packages need is no verb for users.
    assert!(!there.iter().any(|name| name.ends_with("-manual.1") || name.contains("-help")), "{there:?}");
    let page = fs::read_to_string(pages.join("desumnet-skim.1")).unwrap();
    assert!(page.contains("\\-\\-length") && page.contains("Longest the skim may be"), "{page}");
    assert_eq!(names(&folder.path().join("bash-completion/completions")), ["desumnet"]);
    assert_eq!(names(&folder.path().join("zsh/site-functions")), ["_desumnet"]);
    assert_eq!(names(&folder.path().join("fish/vendor_completions.d")), ["desumnet.fish"]);
    let script = folder.path().join("bash-completion/completions/desumnet");
    let complete = format!(
        "source {}; COMP_WORDS=(desumnet skim --len); COMP_CWORD=2; _desumnet desumnet --len skim; echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--length", "{output:?}");
}
