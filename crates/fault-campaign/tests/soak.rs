//! Short versions of the soak.

use fault_campaign::launch::{Launcher, Limits};
use fault_campaign::soak::{self, Findings};
use std::path::Path;
use std::time::Duration;

#[track_caller]
fn expect_clean(findings: &Findings, rounds: u64) {
    assert_eq!(findings.violations, Vec::<String>::new());
    assert_eq!(findings.rounds, rounds);
    // Else nothing is shown: some in time, some late, some so late that rounds passed meanwhile.
    assert!(findings.accepted > rounds / 4, "{findings:?}");
    assert!(findings.late > rounds / 4, "{findings:?}");
    assert!(findings.behind > rounds / 20, "{findings:?}");
    assert!(
        findings.growth().iter().all(|bytes| *bytes < 8 << 20),
        "{findings:?}"
    );
}

#[test]
fn in_process() {
    expect_clean(&soak::in_process(20_000).expect("a soak"), 20_000);
}

#[test]
fn over_mpi() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let directory = scratch.path();
    let words = [
        "soak-rank",
        "300",
        "0.01",
        "20000",
        &directory.display().to_string(),
    ];
    let words = words.map(str::to_owned);
    let limits = Limits {
        job: Duration::from_secs(120),
    };
    let program = Path::new(env!("CARGO_BIN_EXE_fault-campaign"));
    let launcher = Launcher::find().expect("mpirun, or set MPIEXEC");
    let ended = launcher
        .run(5, program, &words, directory, limits)
        .expect("a job");
    assert!(ended.code == Some(0) && !ended.hung, "{}", ended.output);
    let findings = soak::collect(directory).expect("findings");
    expect_clean(&findings, 300);
    assert_eq!(findings.memory_late.len(), 5);
}
