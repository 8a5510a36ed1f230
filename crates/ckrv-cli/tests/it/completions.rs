//! What packagers take from the program.

use crate::program::Place;

#[test]
fn every_shell_gets_a_script() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = place.ckrv(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains("ckrv") && run.stdout.len() > 1000, "{shell}");
    }
}

#[test]
fn every_command_gets_a_manual_page() {
    let place = Place::new();
    let folder = place.path().join("man");
    assert_eq!(place.ckrv(&["man", "--dir", folder.to_str().unwrap()]).code, 0);
    for page in ["ckrv.1", "ckrv-run.1", "ckrv-dev-stop.1", "ckrv-cloud-credentials-add.1", "ckrv-org-join.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    assert!(place.ckrv(&["man"]).stdout.contains(".TH ckrv"));
}
